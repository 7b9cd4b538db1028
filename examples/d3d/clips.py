"""The clips of a run: manifests, their flow on disk, and views of them."""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from accelerate import Accelerator
from datasets import Dataset

from examples.d3d.config import Config
from kdvideo import data, extraction, flow
from kdvideo.data import synthetic

SYNTHETIC = {"train": 20, "val": 20, "test": 40}


def synthetic_root(config: Config) -> Path:
    """Folder of the embedded synthetic videos, written at the first call."""
    root = config.work_dir / "synthetic" / f"seed{config.data_seed}"
    return synthetic.write_dataset(root, clips_per_class=SYNTHETIC, seed=config.data_seed)


def manifests(config: Config) -> tuple[Dataset, Dataset]:
    """(training clips, test clips), with the same classes."""
    if config.train is None or config.test is None:
        root = synthetic_root(config)
        train, test = (data.from_folder(root / split) for split in ("train", config.split))
    else:
        train, test = (_manifest(path, config.root) for path in (config.train, config.test))
    names = [manifest.features["label"].names for manifest in (train, test)]
    if names[0] != names[1]:
        raise ValueError(f"train has the classes {names[0]}, test has {names[1]}; they must agree")
    return train, test


def _manifest(path: Path, root: Path | None) -> Dataset:
    return data.from_folder(path) if path.is_dir() else data.from_csv(path, root=root)


_fingerprints: dict[str, str] = {}


def fingerprint(manifest: Dataset) -> str:
    """A hash of what a manifest lists: clip, label and size of every file."""
    known = manifest._fingerprint
    if known not in _fingerprints:
        rows = [(row["clip"], row["label"], Path(row["path"]).stat().st_size) for row in manifest]
        _fingerprints[known] = hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]
    return _fingerprints[known]


def file_hash(path: Path) -> str:
    """A hash of a file's bytes."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:16]


def estimator(config: Config) -> flow.TVL1Estimator:
    """What computes the flow of a run."""
    return flow.TVL1Estimator(flow.PRESETS[config.flow_preset])


def flow_source(config: Config, manifest: Dataset) -> flow.FlowStore | flow.EstimatorSource:
    """Where the flow of whole frames comes from."""
    return flow_store(config, manifest) if config.stores_flow else flow.EstimatorSource(estimator(config))


def flow_store(config: Config, manifest: Dataset) -> flow.FlowStore:
    """The store of the manifest's flow, filled by :func:`prepare`."""
    view = config.input
    name = f"{config.flow_preset}-{view.short_side}px-{view.fps:g}fps-{_root_name(manifest)}"
    return flow.FlowStore(
        config.work_dir / "flow" / name,
        bound=view.flow_bound,
        estimator=estimator(config),
        fps=view.fps,
    )


def _root_name(manifest: Dataset) -> str:
    first = manifest[0]
    root = first["path"].removesuffix(first["clip"])
    return hashlib.sha256(root.encode()).hexdigest()[:8]


def prepare(
    config: Config, manifest: Dataset, accelerator: Accelerator, *, what: str
) -> flow.FlowStore | flow.EstimatorSource:
    """Where flow is stored, extract that of every clip that has none yet; processes share the work."""
    store = flow_source(config, manifest)
    if isinstance(store, flow.FlowStore) and not all(clip in store for clip in manifest["clip"]):
        accelerator.print(f"flow of {what}:")
        side, main = config.input.short_side, accelerator.is_main_process
        done = extraction.extract(manifest, store, short_side=side, retry_failed=True, progress=main)
        for clip, reason in done.failed.items():
            raise data.ClipError(clip, f"{reason} ({len(done.failed)} of {len(manifest)} {what} failed)")
    accelerator.wait_for_everyone()
    return store


_opened: dict[tuple[object, ...], data.PairedClips] = {}


def views(
    config: Config,
    manifest: Dataset,
    source: Any,
    *,
    train: bool,
    rgb: bool = True,
    seed: int = 0,
    distinct_views: int = 0,
) -> data.PairedClips:
    """Views of the clips: RGB, flow from a source, or both of the same frames.

    With ``in_memory`` the trainings of one process share the decoded clips.
    """
    kind = None if source is None else (type(source), source.fingerprint, getattr(source, "folder", None))
    key = (fingerprint(manifest), config.input, train, rgb, kind)
    if not config.in_memory or key not in _opened:
        _opened[key] = _open(config, manifest, source, train=train, rgb=rgb)
    shared = copy.copy(_opened[key])
    shared.seed, shared.distinct_views = seed, distinct_views or None
    return shared


def _open(config: Config, manifest: Dataset, source: Any, *, train: bool, rgb: bool) -> data.PairedClips:
    view = config.input
    return data.PairedClips(
        manifest,
        frames=view.frames,
        fps=view.fps,
        short_side=view.short_side,
        crop=view.crop,
        train=train,
        flow=source,
        flow_bound=view.flow_bound,
        rgb=rgb,
        views=1 if train else view.test_views,
        flip=view.flip,
        in_memory=config.in_memory,
    )


def input_spec(config: Config, stream: str) -> dict[str, object]:
    """What a network was trained on, stored with its weights."""
    flow_settings = {"flow_preset": config.flow_preset, "flow": estimator(config).fingerprint}
    return {"stream": stream, "range": [-1.0, 1.0], **flow_settings, **seen(config)}


def seen(config: Config) -> dict[str, object]:
    """What a network sees of a clip in training."""
    return {name: value for name, value in asdict(config.input).items() if name != "test_views"}


def check_flow(weights: Path, recorded: dict[str, object], config: Config) -> None:
    """Raises ValueError unless the network of a file learned from the flow that this run computes."""
    wanted = input_spec(config, "flow")
    # Files from before estimators had fingerprints know the preset only.
    names = ["stream", "flow" if "flow" in recorded else "flow_preset", "flow_bound", "fps", "short_side"]
    differ = [
        f"{name} {recorded.get(name)}, not {wanted[name]}" for name in names if recorded.get(name) != wanted[name]
    ]
    if differ:
        raise ValueError(f"{weights} was trained on other flow than this run's: {'; '.join(differ)}")


def check_classes(weights: Path, classes: list[str] | None, manifest: Dataset) -> None:
    """Raises ValueError unless the network of a file knows the classes of the clips."""
    wanted = manifest.features["label"].names
    if classes is None:
        way = "kdvideo convert --classes writes a file that does"
        raise ValueError(f"{weights} does not name its classes, the clips have {wanted}; {way}")
    if classes != wanted:
        raise ValueError(f"{weights} knows the classes {classes}, the clips {wanted}")
