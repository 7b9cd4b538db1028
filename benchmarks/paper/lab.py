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
from examples.d3d.methods import D3D, FLOW, RGB, Method


class Run:
    """The settings and the folder of one training.

    ``teacher`` is the file of the teacher's weights, ``predictor`` that of the flow prediction, where the method has
    them. ``method`` is by default the plain S3D-G of the stream or, with a teacher, D3D.
    """

    def __init__(
        self,
        config: Config,
        accelerator: Accelerator,
        stream: str,
        seed: int,
        train: Dataset,
        teacher: Path | None = None,
        *,
        method: Method | None = None,
        predictor: Path | None = None,
    ) -> None:
        self.config, self.accelerator, self.stream, self.seed = config, accelerator, stream, seed
        self.train, self.teacher, self.predictor = train, teacher, predictor
        self.method = method or (D3D if teacher else {"rgb": RGB, "flow": FLOW}[stream])
        self.distills = teacher is not None and self.method.distills
        self.distill_weight = config.distill_weight * self.method.distill_weight if self.distills else 0.0
        self.flow_from = _flow_from(config, self.method, self.distills)
        self.distinct_views = config.distinct_views if self.distills else 0
        self.settings = self._settings()
        self.key = hashlib.sha256(json.dumps(self.settings, sort_keys=True).encode()).hexdigest()[:16]
        self.folder = config.work_dir / "trained" / self.key
        self.weights = self.folder / "model.safetensors"
        self.log = self.folder / "log.jsonl"

    @property
    def name(self) -> str:
        """The run in the paper's words."""
        return f"{self.method.name} seed {self.seed}"

    @property
    def teacher_stream(self) -> str:
        """What the teacher sees."""
        return self.method.teacher.stream if self.method.teacher else "flow"

    def _settings(self) -> dict[str, Any]:
        config = self.config
        uses_flow = self.flow_from and not (self.distills and self.teacher_stream == "rgb")
        files = {"predictor": self.predictor, "init_from": config.init_from}
        return {
            "stream": self.stream,
            "seed": self.seed,
            "data": clips.fingerprint(self.train),
            "input": clips.seen(config),
            "optimizer": asdict(config.optimizer),
            "network": asdict(config.network),
            "flow_from": self.flow_from,
            "flow": clips.estimator(config).fingerprint if uses_flow else None,
            "cache_flow": config.cache_flow if uses_flow and self.flow_from == "cache" else None,
            "distinct_views": self.distinct_views,
            "teacher": clips.file_hash(self.teacher) if self.teacher else None,
            "distill_weight": self.distill_weight,
            "class_reduction": config.class_reduction if self.distills else None,
            "mixed_precision": config.mixed_precision,
            "processes": self.accelerator.num_processes,
            "accumulation": config.gradient_accumulation_steps,
            # What the first three methods lack is left out, so that their runs keep their names.
            **self.method.special,
            **{name: clips.file_hash(path) for name, path in files.items() if path},
        }


def _flow_from(config: Config, method: Method, distills: bool) -> str | None:
    """Where the flow, or what the teacher makes of its input, comes from in a training; None: neither is used."""
    if distills:
        spatial = method.teacher is not None and method.teacher.stream == "rgb"
        return config.flow_from if config.flow_from == "cache" or not spatial else None
    if method.stream != "flow" and not method.flow_loss_weight:
        return None
    return "store" if config.stores_flow else "online"
