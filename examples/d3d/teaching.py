"""What a student is taught with: the teacher on flow, stored or computed on the way, or its outputs on disk."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Callable
from typing import Any

import torch
from accelerate.utils import tqdm
from torch.utils.data import DataLoader

import kdvideo as kd
from examples.d3d import clips, networks, taps
from examples.d3d.config import Config
from examples.d3d.runs import Run
from kdvideo import data, flow
from kdvideo.training import StopRequest, ignore_signals

Batch = dict[str, Any]
Target = Callable[[Batch], kd.Output]


def training_views(run: Run) -> data.PairedClips:
    """The views of a training, with RGB where it learns from it or flow is computed from it."""
    source = None
    if run.flow_from == "store":
        source = clips.prepare(run.config, run.train, run.accelerator, what="training clips")
    return _views(run, source, rgb=run.stream == "rgb" or run.flow_from == "online")


def _views(run: Run, source: Any, *, rgb: bool) -> data.PairedClips:
    settings = {"seed": run.seed, "distinct_views": run.distinct_views}
    return clips.views(run.config, run.train, source, train=True, rgb=rgb, **settings)


def add_flow(config: Config, *, online: bool) -> Callable[[Batch], Batch]:
    """From a batch on the device to one with the flow of its RGB, if that is computed online."""
    if not online:
        return lambda batch: batch
    compute = flow.OnlineFlow(clips.estimator(config), bound=config.input.flow_bound)
    return lambda batch: batch | {"flow": compute(batch["rgb"], batch["length"])}


def target(run: Run, views: data.PairedClips) -> Target | None:
    """From a batch to what the teacher says of it: the teacher itself, or its outputs read back."""
    if run.teacher is None or not run.distills:
        return None
    network, layer = networks.load(run.teacher)[0], run.method.layer
    options = taps.tap(network, layer)
    if layer != "logits":
        options |= {"logits": None, "early_exit": True}
    teacher = kd.Teacher(network, **options).to(run.accelerator.device)
    if run.flow_from != "cache":
        return lambda batch: teacher(batch[run.teacher_stream])
    cache = _filled(run, teacher, views)
    return lambda batch: cache.read(batch["clip"], batch["view"], device=run.accelerator.device)


def _filled(run: Run, teacher: kd.Teacher, views: data.PairedClips) -> kd.TeacherCache:
    """The cache with the outputs for every view of the training; those that are missing are computed now."""
    config, accelerator = run.config, run.accelerator
    cache = _cache(run, teacher, views)
    epochs = math.ceil(config.optimizer.steps * config.optimizer.batch_size / len(views))
    count = min(epochs, run.distinct_views or epochs)
    pairs = [(clip, view) for view in range(count) for clip in run.train["clip"]]
    mine = pairs[accelerator.process_index :: accelerator.num_processes]
    missing = cache.missing(*zip(*mine, strict=True)) if mine else []
    if missing:
        _write(run, teacher, cache, missing)
    accelerator.wait_for_everyone()
    return cache


def _cache(run: Run, teacher: kd.Teacher, views: data.PairedClips) -> kd.TeacherCache:
    """As far as it is filled. Features take much more room than logits: at 2C of the paper's clips 39 MB a view."""
    config, spatial, layer = run.config, run.teacher_stream == "rgb", run.method.layer
    fingerprint = {
        "teacher": kd.cache.weights_fingerprint(teacher.model),
        "flow": "none" if spatial else f"{clips.estimator(config).fingerprint} of {config.cache_flow}",
        "views": views.view_fingerprint,
        "clips": clips.fingerprint(run.train),
        "precision": config.mixed_precision,
    }
    if layer != "logits":
        fingerprint["layer"] = layer
    name = hashlib.sha256(json.dumps(fingerprint, sort_keys=True).encode()).hexdigest()[:16]
    features = () if layer == "logits" else (layer,)
    return kd.TeacherCache(config.work_dir / "teacher" / name, fingerprint=fingerprint, features=features)


def _write(run: Run, teacher: kd.Teacher, cache: kd.TeacherCache, missing: list[tuple[str, int]]) -> None:
    """One pass of flow and teacher; stopped at any point, the same command goes on from there."""
    accelerator = run.accelerator
    spatial = run.teacher_stream == "rgb"
    online = run.config.cache_flow == "online" and not spatial
    views = _views(run, None if online or spatial else _as_stored(run), rgb=online or spatial)
    loader, compute = _loader(run, views, missing), add_flow(run.config, online=online)
    batches = flow.prefetch_to_device(loader, compute, device=accelerator.device)
    with StopRequest() as stop, cache.writer() as writer:
        for batch in batches:
            with accelerator.autocast():
                writer.add(batch["clip"], batch["view"], teacher(batch[run.teacher_stream]))
            if stop:
                break
    if stop:
        accelerator.print("\nstopped while the teacher's outputs were written; the same command continues from here")
        sys.exit(stop.exit_code)


def _loader(run: Run, views: data.PairedClips, missing: list[tuple[str, int]]) -> Any:
    rows = {clip: row for row, clip in enumerate(run.train["clip"])}
    batch_size = max(1, run.config.optimizer.batch_size // run.accelerator.num_processes)
    loader = DataLoader(
        views,
        batch_size=batch_size,
        sampler=[(view, rows[clip]) for clip, view in missing],
        num_workers=run.config.num_workers,
        worker_init_fn=ignore_signals,
        pin_memory=run.accelerator.device.type == "cuda",
    )
    return tqdm(loader, desc=f"outputs of the teacher, seed {run.seed}", unit="batch")


def _as_stored(run: Run) -> Any:
    """The store where it holds every clip; else flow as it would come from there, computed when asked for."""
    store = clips.flow_store(run.config, run.train)
    if all(clip in store for clip in run.train["clip"]):
        return store
    return _Quantized(clips.estimator(run.config), run.config.input.flow_bound)


class _Quantized(flow.EstimatorSource):
    """Flow with the rounding of a store, so that a cache does not depend on whether there was one."""

    def __init__(self, estimator: flow.FlowEstimator, bound: float) -> None:
        super().__init__(estimator)
        self.bound = bound

    def __call__(self, clip_id: str, frames: torch.Tensor) -> torch.Tensor:
        computed = super().__call__(clip_id, frames)
        return flow.dequantize(flow.quantize(computed, self.bound), self.bound)
