"""The clips of a run: their manifests, their flow, and views of both."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset

from examples.d3d import extracted_flow
from examples.d3d.config import Config, Input
from examples.d3d.extracted_flow import SIDES
from examples.d3d.processes import once
from kdvideo import data, extraction, flow
from kdvideo.data import synthetic

# What `synthetic.write_dataset` writes for --videos; clips are counted by class.
SYNTHETIC: dict[str, dict[str, Any]] = {
    "independent": {"clips_per_class": {"train": 240, "val": 100, "test": 100}, "size": 48},
    "shortcut": {
        "clips_per_class": {"train": 20, "val": 20, "test": 40},
        "cues": synthetic.ShortcutCue(),
        "distractor": 0.5,
    },
}
FlowSource = flow.FlowStore | flow.EstimatorSource


@dataclass(frozen=True)
class Clips:
    """Training and test clips, what the networks see of them, and where their flow comes from."""

    train: Dataset
    test: Dataset
    input: Input
    estimator: flow.TVL1Estimator
    flow_folder: Path
    """Where stored flow lies."""
    stores_flow: bool
    """False: flow is computed from the frames whenever it is asked for."""
    in_memory: bool = False
    max_unreadable: float = 0.0
    """The largest fraction of the training clips that may be unreadable."""
    flow_dir: Path | None = None
    """Where `kdvideo extract` wrote the flow, of which none is then computed here."""
    _checked: set[str] = field(default_factory=set, repr=False)
    _opened: dict[tuple[object, ...], data.PairedClips] = field(default_factory=dict, repr=False)

    @property
    def classes(self) -> list[str]:
        """The class names in the order of the logits."""
        names: list[str] = self.train.features["label"].names
        return names

    def store(self, manifest: Dataset) -> flow.FlowStore:
        """The store of the clips' flow, filled by `prepare`, or by `kdvideo extract` before the run."""
        if self.flow_dir:
            return self._store(self.flow_dir / SIDES[manifest is not self.train])
        view, root = self.input, manifest[0]["path"].removesuffix(manifest[0]["clip"])
        place = hashlib.sha256(root.encode()).hexdigest()[:8]  # two data sets may name their clips alike
        return self._store(self.flow_folder / f"{view.short_side}px-{view.fps:g}fps-{place}")

    def _store(self, folder: Path) -> flow.FlowStore:
        return flow.FlowStore(folder, bound=self.input.flow_bound, estimator=self.estimator, fps=float(self.input.fps))

    def check_flow(self, accelerator: Accelerator) -> None:
        """Check, once, the extracted flow of all clips, where the settings name it; see `extracted_flow.check`."""
        for manifest in (self.train, self.test) if self.flow_dir else ():
            store = self.store(manifest)
            if store.folder.name not in self._checked:
                extracted_flow.check(store, list(manifest["clip"]), self.input, accelerator)
                self._checked.add(store.folder.name)

    def flow_of(self, manifest: Dataset) -> FlowSource:
        """The flow of whole frames: stored, or computed when it is asked for."""
        return self.store(manifest) if self.stores_flow else flow.EstimatorSource(self.estimator)

    def views(
        self,
        manifest: Dataset,
        source: Any = None,
        *,
        train: bool,
        rgb: bool = True,
        seed: int = 0,
        distinct_views: int = 0,
    ) -> data.PairedClips:
        """Views of RGB, of flow from a source, or of both, as bytes for `kdvideo.data.to_float` on a device.

        With `in_memory` equal ones share the decoded clips.
        """
        kind = source and (type(source), source.fingerprint, getattr(source, "folder", None))
        key = (manifest._fingerprint, train, rgb, kind)
        if key not in self._opened:
            count = 1 if train else self.input.test_views
            options = {"flow": source, "rgb": rgb, "views": count, "in_memory": self.in_memory}
            options |= {"dtype": torch.uint8}
            self._opened[key] = data.PairedClips(manifest, train=train, **self._view, **options)
        return self._opened[key].with_seed(seed, distinct_views=distinct_views or None)

    def readable(self, views: data.PairedClips) -> data.PairedClips | data.ReadableClips:
        """Training views, in which another clip takes the place of one that cannot be read, where that is allowed."""
        return data.ReadableClips(views, most=self.max_unreadable) if self.max_unreadable else views

    def seen(self, stream: str) -> dict[str, Any]:
        """What a network is trained on, as its file records it."""
        return {"stream": stream, "range": [-1.0, 1.0], "flow": self.estimator.fingerprint, **self._view}

    @property
    def _view(self) -> dict[str, Any]:
        """What of the input concerns trainings too."""
        return {name: value for name, value in asdict(self.input).items() if not name.startswith("test_")}


def open_clips(config: Config) -> Clips:
    """Read the manifests that the settings name; the synthetic videos are written at the first call.

    Raises:
        ValueError: training and test clips have other classes.
    """
    if config.train is None or config.test is None:
        folder = config.work_dir / "synthetic" / f"{config.videos}_seed{config.data_seed}"
        root = synthetic.write_dataset(folder, seed=config.data_seed, **SYNTHETIC[config.videos])
        train, test = (data.from_folder(root / split) for split in ("train", config.split))
    else:
        train, test = once(lambda: [_manifest(config, side) for side in ("train", "test")])
    names = [manifest.features["label"].names for manifest in (train, test)]
    if names[0] != names[1]:
        raise ValueError(f"the test clips must have the classes of the training clips, {names[0]}, got {names[1]}")
    return Clips(
        train,
        test,
        config.input,
        flow.TVL1Estimator(flow.PRESETS[config.flow_preset]),
        config.work_dir / "flow" / config.flow_preset,
        config.stores_flow,
        config.in_memory,
        config.max_unreadable,
        config.flow_dir,
    )


def _manifest(config: Config, side: str) -> Dataset:
    path: Path = getattr(config, side)
    if path.is_dir():
        return data.from_folder(path)
    missing = config.work_dir / "missing" / f"{side}.csv"
    return data.from_csv(path, root=config.root, allow_missing=config.allow_missing, missing_list=missing)


def fingerprint(manifest: Dataset) -> str:
    """Hash what a manifest lists: clip, label and size of every file."""
    rows = list(zip(*(manifest[name][:] for name in ("clip", "label", "bytes")), strict=True))
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


def prepare(clips: Clips, manifest: Dataset, accelerator: Accelerator, **options: Any) -> FlowSource:
    """Store the flow of every clip that has none yet, where flow is stored; processes share the work.

    Args:
        clips: where flow is stored, and at which size and rate.
        manifest: the clips.
        accelerator: the one of the run.
        options: of `extraction.extract`, such as `workers` and `devices`.

    Raises:
        ClipError: the flow of a clip cannot be computed; of training clips, that of more than may be unreadable.
        ValueError: `clips.flow_dir` does not hold the flow of all clips, made with these settings.
    """
    clips.check_flow(accelerator)
    source = clips.flow_of(manifest)
    if (
        not clips.flow_dir
        and isinstance(source, flow.FlowStore)
        and not once(lambda: all(clip in source for clip in manifest["clip"][:]))
    ):
        accelerator.print(f"flow of {len(manifest)} clips:")
        progress = accelerator.is_main_process
        side = clips.input.short_side
        shard = (accelerator.process_index + 1, accelerator.num_processes)
        options |= {"shard": shard, "retry_failed": True, "progress": progress}
        extraction.extract(manifest, source, short_side=side, **options)
        accelerator.wait_for_everyone()
        done = extraction.extract(manifest, source, short_side=side)  # nothing is left to do: all know what failed
        allowed = clips.max_unreadable * len(manifest) if manifest is clips.train else 0
        if len(done.failed) > allowed:
            named = "; ".join(f"{clip}: {reason}" for clip, reason in list(done.failed.items())[:10])
            raise data.ClipError(named, f"no flow of {len(done.failed)} of {len(manifest)} clips can be computed")
    accelerator.wait_for_everyone()
    return source
