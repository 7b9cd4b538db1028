"""What a student is taught with: the teacher on flow, stored or computed on the way, or its outputs on disk."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from accelerate import Accelerator

import kdvideo as kd
from examples.d3d import progress
from examples.d3d.batches import Batch, unchanged
from examples.d3d.config import Config
from examples.d3d.data import Clips, fingerprint, prepare
from examples.d3d.loading import loader_of, named
from examples.d3d.processes import once
from examples.d3d.training import any_process
from kdvideo import data, flow
from kdvideo.training import StopRequest, Watched, settings_hash

Target = Callable[[Batch], kd.Output]


def online(clips: Clips) -> Callable[[Batch], Batch]:
    """Return what adds, on the device, the flow of its RGB to a batch."""
    compute = flow.OnlineFlow(clips.estimator, bound=clips.input.flow_bound)
    return lambda batch: batch | {"flow": compute(batch["rgb"], batch["length"])}


@dataclass(frozen=True)
class Teaching:
    """How a student's views come to the outputs of its teacher.

    Attributes:
        views: the training views of the student; they have the teacher's input where it runs live.
        on_device: what happens to a batch on its device.
        target: from a batch to the teacher's outputs.
    """

    views: data.PairedClips
    on_device: Callable[[Batch], Batch]
    target: Target


def teach(
    teacher: kd.Teacher,
    clips: Clips,
    config: Config,
    seed: int,
    accelerator: Accelerator,
    *,
    stream: str = "flow",
    features: Sequence[str] = (),
) -> Teaching:
    """Prepare the teaching that the settings ask for: from a store, online, or from a cache.

    Args:
        teacher: the frozen teacher.
        clips: its `train` is what the student learns from.
        config: of it `flow_from`, `cache_flow`, `distinct_views`, batch and steps count.
        seed: of the views.
        accelerator: the one of the run.
        stream: what the teacher sees, "flow" or "rgb"; one that sees RGB needs no flow.
        features: roles that are taught besides the logits, so that a cache holds them.
    """
    teacher = teacher.to(accelerator.device)
    live: Target = lambda batch: teacher(batch[stream])  # noqa: E731
    options: dict[str, Any] = {"train": True, "seed": seed, "distinct_views": config.distinct_views}
    if config.flow_from == "cache":
        views = clips.views(clips.train, **options)
        clips.check_flow(accelerator)
        cache = _Pass(teacher, clips, config, accelerator, stream, tuple(features), options).run(views)
        device = accelerator.device
        return Teaching(views, unchanged, lambda batch: cache.read(batch["clip"], batch["view"], device=device))
    if stream == "rgb":
        return Teaching(clips.views(clips.train, **options), unchanged, live)
    if config.flow_from == "online":
        return Teaching(clips.views(clips.train, **options), online(clips), live)
    source = prepare(clips, clips.train, accelerator)
    return Teaching(clips.views(clips.train, source, **options), unchanged, live)


@dataclass(frozen=True)
class _Pass:
    """One pass of flow and teacher over every view of a training, into a cache; it continues where it was stopped."""

    teacher: kd.Teacher
    clips: Clips
    config: Config
    accelerator: Accelerator
    stream: str
    features: tuple[str, ...]
    options: dict[str, Any]

    def run(self, views: data.PairedClips) -> kd.TeacherCache:
        config, accelerator, ids = self.config, self.accelerator, self.clips.train["clip"][:]
        cache = self._cache(views)
        epochs = math.ceil(config.optimizer.steps * config.optimizer.batch_size / len(views))
        pairs = [(clip, view) for view in range(min(epochs, config.distinct_views or epochs)) for clip in ids]
        mine = pairs[accelerator.process_index :: accelerator.num_processes]
        missing = cache.missing(*zip(*mine, strict=True)) if mine else []
        if any_process(accelerator, bool(missing)):  # all of them look for the flow together, or none
            from_rgb = self.stream == "rgb" or config.cache_flow == "online"
            source = None if from_rgb else self._as_stored()
            if missing:
                self._write(cache, missing, source)
        accelerator.wait_for_everyone()
        return cache

    def _cache(self, views: data.PairedClips) -> kd.TeacherCache:
        """Features take much more room than logits: at 2C of the paper's clips 39 MB a view."""
        described = f"{self.clips.estimator.fingerprint} of {self.config.cache_flow}"
        says = {
            "teacher": kd.cache.weights_fingerprint(self.teacher.model),
            "flow": described if self.stream == "flow" else "none",
            "views": views.view_fingerprint,
            "clips": fingerprint(self.clips.train),
            "precision": self.config.mixed_precision,
            **{f"feature {number}": role for number, role in enumerate(self.features)},
        }
        folder = self.config.work_dir / "teacher" / settings_hash(says)
        return kd.TeacherCache(folder, fingerprint=says, features=self.features)

    def _write(
        self,
        cache: kd.TeacherCache,
        missing: list[tuple[str, int]],
        source: flow.FlowStore | flow.EstimatorSource | None,
    ) -> None:
        accelerator, from_rgb = self.accelerator, source is None
        views = self.clips.views(self.clips.train, source, rgb=from_rgb, **self.options)
        rows = {clip: row for row, clip in enumerate(self.clips.train["clip"][:])}
        deadline, workers = self.config.clip_deadline, self.config.num_workers
        watched = Watched(self.clips.readable(views), deadline=deadline, workers=workers)
        loader = loader_of(
            watched,
            batch_size=max(1, self.config.optimizer.batch_size // accelerator.num_processes),
            sampler=[(view, rows[clip]) for clip, view in missing],
            num_workers=workers,
            pin_memory=accelerator.device.type == "cuda",
        )
        add_flow = online(self.clips) if from_rgb and self.stream == "flow" else unchanged
        complete = lambda batch: add_flow(data.to_float(batch))  # noqa: E731
        shown = progress.bar(loader, desc="outputs of the teacher")
        with StopRequest() as stop, named(watched), cache.writer() as writer:
            for batch in flow.prefetch_to_device(shown, complete, device=accelerator.device):
                with accelerator.autocast():
                    writer.add(batch["clip"], batch["view"], self.teacher(batch[self.stream]))
                if stop:
                    break
        if stop:
            accelerator.print("\nstopped in the pass of the teacher; the same command continues from here")
            sys.exit(stop.exit_code)

    def _as_stored(self) -> flow.FlowStore | flow.EstimatorSource:
        """The store where it knows of every clip; else flow as it would come from there, computed when asked for."""
        store, ids = self.clips.store(self.clips.train), self.clips.train["clip"][:]
        if once(lambda: all(_is_known(store, clip) for clip in ids)):
            return store
        return flow.EstimatorSource(self.clips.estimator, bound=self.clips.input.flow_bound)


def _is_known(store: flow.FlowStore, clip: str) -> bool:
    """Return whether the flow of a clip is done, or is known not to be possible."""
    try:
        return store.info(clip) is not None
    except ValueError:  # a damaged sidecar
        return False
