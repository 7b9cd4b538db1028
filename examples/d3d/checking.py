"""All clips that cannot be read, named or left out before anything is trained."""

from __future__ import annotations

import csv
import dataclasses
import io
from collections import Counter
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object
from datasets import Dataset

from examples.d3d.config import Config
from examples.d3d.data import Clips
from kdvideo import data
from kdvideo.files import write_atomic

SHOWN = 20


def checked(clips: Clips, config: Config, accelerator: Accelerator) -> Clips:
    """Look at every training and test clip, as `config.check_clips` says; return the clips that are to be used.

    The processes share the work. All unreadable clips are listed in `work_dir/unreadable/train.csv` and `test.csv`.

    Raises:
        ValueError: clips cannot be read: any test clip, or more training clips than `config.max_unreadable`; where they
            are to be left out, only if none is left.
    """
    if config.check_clips == "no" or config.train is None:  # the synthetic ones were written here
        return clips
    bad = {name: _unreadable(getattr(clips, name), accelerator) for name in ("train", "test")}
    places = {name: config.work_dir / "unreadable" / f"{name}.csv" for name in bad}
    if accelerator.is_main_process:
        for name, reasons in bad.items():
            _write(places[name], reasons)
    accelerator.wait_for_everyone()
    if not any(bad.values()):
        return clips
    if config.check_clips == "leave-out":
        said = f"left out, and listed in {places['train'].parent}{_by_class(bad['train'], clips)}"
        accelerator.print(f"{_words(bad, clips)}: {said}")
        return dataclasses.replace(clips, **{name: _without(clips, name, reasons) for name, reasons in bad.items()})
    if bad["test"] or len(bad["train"]) > config.max_unreadable * len(clips.train):
        lines = [f"  {name}: {clip}: {why}" for name, reasons in bad.items() for clip, why in reasons.items()]
        more = [f"  ... and {len(lines) - SHOWN} more"] if len(lines) > SHOWN else []
        advice = "repair them, or leave them out with --check-clips leave-out"
        where = f"all are in {places['train'].parent}; {advice}"
        raise ValueError("\n".join([f"{_words(bad, clips)} ({where})", *lines[:SHOWN], *more]))
    said = f"others will take their places in training{_by_class(bad['train'], clips)}"
    accelerator.print(f"{_words(bad, clips)}: {said}")
    return clips


def _unreadable(manifest: Dataset, accelerator: Accelerator) -> dict[str, str]:
    mine = range(accelerator.process_index, len(manifest), accelerator.num_processes)
    rows = manifest.select_columns(["path", "clip", "start", "end"]).select(mine)
    found: list[tuple[str, str]] = gather_object(list(data.unreadable_clips(rows).items()))
    return dict(sorted(found))


def _write(path: Path, reasons: dict[str, str]) -> None:
    if not reasons:
        path.unlink(missing_ok=True)
        return
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows([("clip", "reason"), *reasons.items()])
    write_atomic(path, text.getvalue().encode(errors="surrogateescape"))


def _words(bad: dict[str, dict[str, str]], clips: Clips) -> str:
    counts = [f"{len(reasons)} of {len(getattr(clips, name))} {name} clips" for name, reasons in bad.items() if reasons]
    return f"{' and '.join(counts)} cannot be read"


def _by_class(reasons: dict[str, str], clips: Clips) -> str:
    """Say which classes lose training clips, and how many of theirs: a class that loses most is another data set."""
    labels, names = clips.train["label"][:], clips.train["clip"][:]
    lost = Counter(label for label, clip in zip(labels, names, strict=True) if clip in reasons)
    of = Counter(labels)
    words = {label: name if (name := clips.classes[label]).isprintable() else repr(name) for label in lost}
    shown = [f"  {words[label]}: {count} of {of[label]}" for label, count in lost.most_common(SHOWN)]
    return "\n".join(["; by class", *shown]) if shown else ""


def _without(clips: Clips, name: str, reasons: dict[str, str]) -> Dataset:
    manifest: Dataset = getattr(clips, name)
    kept = [i for i, clip in enumerate(manifest["clip"][:]) if clip not in reasons]
    if not kept:
        raise ValueError(f"none of the {len(manifest)} {name} clips can be read, such as {next(iter(reasons.items()))}")
    return manifest.select(kept) if reasons else manifest
