"""How well a flow decoder reads motion out of a layer: Table 1, Figures 3 and 4.

The paper leaves open the decoder's layers, its optimiser and its rate. Ours: the widths of kdvideo's `FlowDecoder`
times the network's depth multiplier; AdamW with the recipe's warm-up and decay, at the network's own rate where that is
AdamW's too (on a development seed of the scale pocket 3e-3 was as good as 4e-3 and better than 1e-3 and 1e-2), else at
1e-3; the published proportion of decoder steps to network steps (100k of 140k), batches of the published 12 clips.
Fine-tuning trains the network at the same rate.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from accelerate import Accelerator
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Subset

from benchmarks.paper.tables.decoder_training import Training
from benchmarks.paper.tables.flow_reader import FlowReader, Zeros
from benchmarks.paper.tables.table import Measured, Row
from examples.d3d import clips
from examples.d3d.config import Config, Optimizer
from examples.d3d.losses import flow_target
from examples.d3d.methods import Method
from examples.d3d.networks import load
from examples.d3d.students import train_method
from kdvideo import flow
from kdvideo.files import write_atomic
from kdvideo.training import step_seed

WIDTHS = (128, 128, 96, 64, 32)
RATE = 1e-3


@dataclass(frozen=True)
class Features:
    """A layer of a trained network, which stays as it is or learns with the decoder; no method: zeros are predicted."""

    method: Method | None
    layer: str = "3A"
    fine_tune: bool = False


def measure(row: Row, config: Config, seed: int, accelerator: Accelerator) -> Measured:
    """Endpoint error, in pixels of the input, on the test clips."""
    (features,) = row.of
    if features.method is None:
        return Measured(_error(Zeros(config, features.layer), "rgb", config, accelerator), 0)
    reader, stream, folder = trained(features, config, seed, accelerator)
    known = folder / "error.json"
    if not known.exists():
        error = _error(reader, stream, config, accelerator)
        if accelerator.is_main_process:
            write_atomic(known, json.dumps({"error": error}).encode())
        accelerator.wait_for_everyone()
    return Measured(json.loads(known.read_text())["error"], optimizer(config).steps)


def optimizer(config: Config) -> Optimizer:
    """The decoder's schedule."""
    own = config.optimizer
    steps, batch = max(1, round(own.steps * 100 / 140)), min(12, own.batch_size)
    rate = own.lr if own.name == "adamw" else RATE
    return dataclasses.replace(own, name="adamw", lr=rate, steps=steps, batch_size=batch, reference_batch=batch)


def trained(features: Features, config: Config, seed: int, accelerator: Accelerator) -> tuple[FlowReader, str, Path]:
    """(reader, its input, its folder): trained now, unless that was done before."""
    assert features.method is not None
    path = train_method(config, features.method, seed, accelerator)
    network, info = load(path)
    stream = info["input"]["stream"]
    settings = _settings(features, config, seed, path, accelerator)
    key = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]
    folder = config.work_dir / "decoders" / key
    if features.fine_tune and config.network.fast_start:
        for module in network.modules():
            if isinstance(module, nn.BatchNorm3d):
                module.momentum = 0.1  # as in the network's own training; a file of weights does not say
    torch.manual_seed(step_seed(seed, 0))
    reader = FlowReader(network, features.layer, fine_tune=features.fine_tune, widths=settings["widths"])
    weights = folder / "reader.safetensors"
    if not weights.exists():
        name = f"flow from {features.method.name} at {features.layer}, seed {seed}"
        state = Training(reader, stream, config, optimizer(config), seed, accelerator, folder, name).run()
        if accelerator.is_main_process:
            _save(folder, state, settings)
        accelerator.wait_for_everyone()
    reader.load_state_dict(load_file(weights))
    return reader, stream, folder


def _settings(features: Features, config: Config, seed: int, path: Path, accelerator: Accelerator) -> dict[str, Any]:
    train, test = clips.manifests(config)
    return {
        "network": clips.file_hash(path),
        "layer": features.layer,
        "fine_tune": features.fine_tune,
        "seed": seed,
        "data": [clips.fingerprint(train), clips.fingerprint(test)],
        "input": dataclasses.asdict(config.input),
        "flow": [clips.estimator(config).fingerprint, config.stores_flow],
        "optimizer": dataclasses.asdict(optimizer(config)),
        "widths": [max(8, round(width * config.network.depth_multiplier)) for width in WIDTHS],
        "mixed_precision": config.mixed_precision,
        "processes": accelerator.num_processes,
    }


def _save(folder: Path, state: dict[str, Tensor], settings: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "settings.json").write_text(json.dumps(settings, indent=2))
    bare = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    write_atomic(folder / "reader.safetensors", safetensors.torch.save(bare))


@torch.no_grad()
def predictions(reader: nn.Module, stream: str, batch: dict[str, Any], config: Config, accelerator: Accelerator) -> Any:
    """(predicted, target): encodings of the flow of a batch."""
    with accelerator.autocast():
        predicted = reader(batch[stream].to(accelerator.device))
    return predicted, flow_target(config, predicted, batch["flow"].to(accelerator.device))


def test_views(config: Config, accelerator: Accelerator) -> Any:
    """RGB and flow of the test clips."""
    _, test = clips.manifests(config)
    return clips.views(config, test, clips.prepare(config, test, accelerator, what="test clips"), train=False)


def _error(reader: nn.Module, stream: str, config: Config, accelerator: Accelerator) -> float:
    """Mean over all test clips and pixels; the clips of all processes are counted together."""
    dataset, reader = test_views(config, accelerator), reader.to(accelerator.device).eval()
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    loader = DataLoader(Subset(dataset, list(mine)), batch_size=12, num_workers=config.num_workers)
    total = torch.zeros(2, dtype=torch.float64)
    for batch in loader:
        error = flow.decoder_epe(*predictions(reader, stream, batch, config, accelerator))
        total += torch.tensor([float(error) * len(batch["label"]), len(batch["label"])], dtype=torch.float64)
    total = accelerator.reduce(total.to(accelerator.device), "sum")
    return float(total[0] / total[1])
