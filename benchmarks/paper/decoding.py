"""How well a flow decoder reads motion out of a layer: Table 1, Figures 3 and 4.

The decoder has the network's own hyperparameters but for 100k of 140k steps and batches of 12 clips, as the paper says.
SGD's rate is scaled with the batch, as everywhere in the recipe; AdamW's is not (ours: on a development seed of the
scale shortcut 3e-3 was as good as 4e-3 and better than 1e-3 and 1e-2). The paper leaves the decoder's layers open. Ours
are the widths of kdvideo's `FlowDecoder` times the network's depth multiplier. Fine-tuning has the same rate.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

from benchmarks.paper import training_log
from benchmarks.paper.flow_reader import FlowReader, Zeros
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import Method
from benchmarks.paper.tables.table import Measured, Row
from benchmarks.paper.terms import flow_loss, flow_target
from benchmarks.paper.training_log import Trainings
from examples.d3d.batches import Batch, Training
from examples.d3d.config import Config, Optimizer
from examples.d3d.data import fingerprint, prepare
from examples.d3d.evaluate import gather, whole_clips
from examples.d3d.networks import set_momentum
from examples.d3d.training import fit
from kdvideo import data, flow
from kdvideo.files import write_atomic
from kdvideo.training import claim_folder, settings_hash, step_seed

WIDTHS = (128, 128, 96, 64, 32)
BATCH = 12
CLIP_NORM = 1.0
"""Of the gradients under SGD, ours: on random features the loss, in squared pixels, was not finite after 5 steps."""


@dataclass(frozen=True)
class Features:
    """A layer of a trained network, which stays as it is or learns with the decoder; no method: zeros are predicted."""

    method: Method | None
    layer: str = "3A"
    fine_tune: bool = False


@dataclass(frozen=True)
class Reader:
    """A trained flow reader, the stream that it sees, its folder, and its training with those that it builds on."""

    module: nn.Module
    stream: str
    folder: Path
    trainings: Trainings


def measure(row: Row, lab: Lab, seed: int) -> Measured:
    """Compute the endpoint error, in pixels of the input, on the test clips."""
    (features,) = row.of
    if features.method is None:
        return Measured(_error(Zeros(lab.config, features.layer), "rgb", lab), 0)
    reader = trained(features, lab, seed)
    known = reader.folder / "error.json"
    if not known.exists():
        error = _error(reader.module, reader.stream, lab)
        if lab.accelerator.is_main_process:
            write_atomic(known, json.dumps({"error": error}).encode())
        lab.accelerator.wait_for_everyone()
    error = json.loads(known.read_text())["error"]
    return Measured(error, schedule(lab.config).steps, trainings=reader.trainings)


def schedule(config: Config) -> Optimizer:
    """Return the decoder's schedule."""
    own = config.optimizer
    steps, batch = max(1, round(own.steps * 100 / 140)), min(BATCH, own.batch_size)
    if own.name == "sgd":
        return dataclasses.replace(own, steps=steps, batch_size=batch, clip_norm=own.clip_norm or CLIP_NORM)
    return dataclasses.replace(own, steps=steps, batch_size=batch, reference_batch=batch)


def trained(features: Features, lab: Lab, seed: int) -> Reader:
    """Train a reader of some features, unless that was done."""
    assert features.method is not None
    config, clips, accelerator = lab.config, lab.clips, lab.accelerator
    source = lab.train(features.method, seed)
    optimizer = schedule(config)
    widths = [max(8, round(width * config.network.depth_multiplier)) for width in WIDTHS]
    settings = {
        "network": source.fingerprint,
        "layer": features.layer,
        "fine_tune": features.fine_tune,
        "seed": seed,
        "data": [fingerprint(clips.train), fingerprint(clips.test)],
        "input": asdict(config.input),
        "flow": [clips.estimator.fingerprint, clips.stores_flow],
        "optimizer": asdict(optimizer),
        "widths": widths,
        "mixed_precision": config.mixed_precision,
        **config.rounding,
    }
    folder = config.work_dir / "decoders" / settings_hash(settings)
    claim_folder(folder, settings)
    if features.fine_tune and config.network.fast_start:
        set_momentum(source.network)
    torch.manual_seed(step_seed(seed, 0))
    reader = FlowReader(source.network, features.layer, fine_tune=features.fine_tune, widths=widths)
    weights = folder / "reader.safetensors"
    if not weights.exists():
        name = f"flow from {features.method.name} at {features.layer}, seed {seed}"
        with training_log.timed(weights, accelerator):
            _fit(name, folder, reader, source.stream, optimizer, lab, seed)
        if accelerator.is_main_process:
            bare = {name: value.detach().cpu().contiguous() for name, value in reader.state_dict().items()}
            write_atomic(weights, safetensors.torch.save(bare))
        accelerator.wait_for_everyone()
    reader.load_state_dict(load_file(weights))
    return Reader(reader, source.stream, folder, source.trainings | training_log.about(folder))


def _fit(name: str, folder: Path, reader: nn.Module, stream: str, optimizer: Optimizer, lab: Lab, seed: int) -> None:
    clips, config = lab.clips, lab.config

    def losses(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        return {"flow": flow_loss(config, model(batch[stream]), batch["flow"])}

    source = prepare(clips, clips.train, lab.accelerator)
    views = clips.views(clips.train, source, train=True, seed=seed)
    training = Training(
        name,
        folder,
        reader.train(),
        losses,
        views,
        optimizer,
        seed,
        num_workers=config.num_workers,
        checkpointing_steps=config.checkpointing_steps,
        channels_last=config.channels_last,
        compile=config.compile,
    )
    fit(training, lab.accelerator)


def predictions(reader: nn.Module, stream: str, batch: dict[str, Any], lab: Lab) -> tuple[Tensor, Tensor]:
    """Predict the encoded flow of a batch, and return it beside what it should be."""
    device = lab.accelerator.device
    predicted = reader(batch[stream].to(device))
    return predicted, flow_target(lab.config, predicted, batch["flow"].to(device))


def test_windows(lab: Lab) -> data.PairedClips:
    """Return RGB and flow of windows of the test clips."""
    return lab.clips.views(lab.clips.test, prepare(lab.clips, lab.clips.test, lab.accelerator), train=False)


def _error(reader: nn.Module, stream: str, lab: Lab) -> float:
    """Mean over all test clips and pixels, of what the settings test; the processes' clips are counted together."""
    reader = reader.to(lab.accelerator.device).eval()

    def rows_of(batch: Batch) -> list[Any]:
        error, count = flow.decoder_epe(*predictions(reader, stream, batch, lab)), len(batch["flow"])
        return [(float(error) * count, count)]

    windows, protocol = test_windows(lab), whole_clips(lab.config.input)
    views: Dataset[Any] = data.MultiView(windows, protocol) if protocol else windows
    size = None if protocol else BATCH  # whole clips differ in length
    loading: dict[str, Any] = {"batch_size": size, "num_workers": lab.config.num_workers}
    rows = gather(views, rows_of, lab.accelerator, desc="errors of flow", **loading)
    total = torch.tensor(rows, dtype=torch.float64).sum(0)
    return float(total[0] / total[1])
