"""One training, named by everything that decides its outcome, so that an equal one is never done twice."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset

from examples.d3d import clips
from examples.d3d.config import Config


class Run:
    """The settings and the folder of one training; ``teacher`` is the file of the teacher's weights, if any."""

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        stream: str,
        seed: int,
        train: Dataset,
        teacher: Path | None = None,
    ) -> None:
        self.config, self.accelerator, self.stream, self.seed = config, accelerator, stream, seed
        self.train, self.teacher = train, teacher
        self.flow_from = config.flow_from if teacher else _own_flow(config, stream)
        self.distinct_views = config.distinct_views if teacher else 0
        self.settings: dict[str, Any] = {
            "stream": stream,
            "seed": seed,
            "data": clips.fingerprint(train),
            "input": clips.seen(config),
            "optimizer": asdict(config.optimizer),
            "network": asdict(config.network),
            "flow_from": self.flow_from,
            "flow": clips.estimator(config).fingerprint if self.flow_from else None,
            "cache_flow": config.cache_flow if self.flow_from == "cache" else None,
            "distinct_views": self.distinct_views,
            "teacher": clips.file_hash(teacher) if teacher else None,
            "distill_weight": config.distill_weight if teacher else 0.0,
            "class_reduction": config.class_reduction if teacher else None,
            "mixed_precision": config.mixed_precision,
            "processes": accelerator.num_processes,
            "accumulation": config.gradient_accumulation_steps,
        }
        self.key = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = config.work_dir / "trained" / self.key
        self.weights = self.folder / "model.safetensors"
        self.log = self.folder / "log.jsonl"

    @property
    def name(self) -> str:
        """The run in the paper's words."""
        return f"{'D3D' if self.teacher else 'S3D-G ' + self.stream} seed {self.seed}"


def _own_flow(config: Config, stream: str) -> str | None:
    if stream != "flow":
        return None
    return "store" if config.stores_flow else "online"
