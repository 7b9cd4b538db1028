"""Scores of a trained network on test clips: the mean softmax over the views of a clip.

python -m examples.d3d.evaluate pocket --weights runs/d3d/student.safetensors
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, tqdm
from datasets import Dataset
from safetensors.torch import load_file, save
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from examples.d3d import clips, networks
from examples.d3d.config import Config, parse, plain_errors
from examples.d3d.predicted_flow import FlowPredictor
from examples.d3d.train import make_accelerator
from kdvideo import models
from kdvideo.files import write_atomic
from kdvideo.training import accuracy, confusion_matrix, ignore_signals


@torch.no_grad()
def scores(network: models.Network, dataset: Any, stream: str, config: Config, accelerator: Accelerator) -> Tensor:
    """Mean softmax over the views of every clip, (clips, K), the same on all processes."""
    network = network.to(accelerator.device).eval()
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    loader = DataLoader(
        Subset(dataset, list(mine)),
        batch_size=max(1, config.optimizer.batch_size // accelerator.num_processes),
        num_workers=config.num_workers,
        worker_init_fn=ignore_signals,
    )
    rows: list[tuple[int, list[float]]] = []
    for batch in tqdm(loader, desc=f"scores ({stream})", leave=False):
        with accelerator.autocast():
            logits = network(networks.seen(network, batch[stream].to(accelerator.device)))
        rows += zip(batch["index"].tolist(), logits.float().softmax(1).tolist(), strict=True)
    return _mean_by_clip(gather_object(rows))


def _mean_by_clip(rows: list[tuple[int, list[float]]]) -> Tensor:
    index = torch.tensor([row[0] for row in rows])
    score = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    clips_seen = int(index.max()) + 1
    total = torch.zeros(clips_seen, score.shape[1], dtype=torch.float64).index_add_(0, index, score)
    return total / torch.bincount(index, minlength=clips_seen)[:, None]


def weights_scores(path: Path, config: Config, test: Dataset, store: Any, accelerator: Accelerator) -> Tensor:
    """Scores of the weights in a file on the test clips."""
    network, info = networks.load(path)
    stream = networks.stream(network, info)
    if isinstance(network, FlowPredictor):
        raise ValueError(f"{path} predicts flow, not actions: it is a part of the method CNN_FLOW")
    clips.check_classes(path, info["classes"], test)
    if stream == "flow":
        clips.check_flow(path, info["input"], config)
    dataset = clips.views(config, test, store if stream == "flow" else None, train=False, rgb=stream == "rgb")
    return scores(network, dataset, stream, config, accelerator)


def cached_scores(path: Path, config: Config, test: Dataset, store: Any, accelerator: Accelerator) -> Tensor:
    """The same, computed once."""
    settings = [
        clips.file_hash(path),
        clips.fingerprint(test),
        asdict(config.input),
        clips.estimator(config).fingerprint,
    ]
    key = hashlib.sha256(json.dumps(settings).encode()).hexdigest()[:16]
    cached = config.work_dir / "scores" / f"{key}.safetensors"
    if not cached.exists():
        result = weights_scores(path, config, test, store, accelerator)
        if accelerator.is_main_process:
            cached.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(cached, save({"scores": result}))
        accelerator.wait_for_everyone()
    return load_file(cached)["scores"]


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Print the accuracy, overall and per class, of one file of weights."""
    config = parse(arguments)
    if config.weights is None:
        raise SystemExit("error: give the network, as in --weights runs/d3d/student.safetensors")
    accelerator = make_accelerator(config)
    _, test = clips.manifests(config)
    network, info = networks.load(config.weights)
    clips.check_classes(config.weights, info["classes"], test)
    flow = networks.stream(network, info) == "flow"
    store = clips.prepare(config, test, accelerator, what="test clips") if flow else None
    result = weights_scores(config.weights, config, test, store, accelerator)
    label = torch.tensor(test["label"])
    counts = confusion_matrix(result.argmax(1), label, result.shape[1])
    accelerator.print(f"top-1 {accuracy(result, label):.3f} on {len(label)} clips")
    for name, row, correct in zip(info["classes"], counts, counts.diagonal(), strict=True):
        accelerator.print(f"  {name:20s} {int(correct)}/{int(row.sum())}")


if __name__ == "__main__":
    main()
