"""Settings of the tiny runs."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from examples.ava.config import POCKET, Config, Input

INPUT = Input(frames=8, fps=10.0, short_side=48, crop=40)


def tiny(root: Path, work: Path, **change: Any) -> Config:
    optimizer = dataclasses.replace(POCKET.optimizer, steps=4, batch_size=2)
    places = {"root": root, "work_dir": work, "output_dir": work / "out"}
    settings = {**places, "input": INPUT, "optimizer": optimizer, "checkpointing_steps": 2}
    return dataclasses.replace(POCKET, **{**settings, **change})


def arguments(root: Path, work: Path, *more: str) -> list[str]:
    """The same on a command line."""
    view = ("--input.frames", "8", "--input.fps", "10", "--input.short-side", "48", "--input.crop", "40")
    steps = ("--optimizer.steps", "4", "--optimizer.batch-size", "2", "--checkpointing-steps", "2")
    places = ("--root", str(root), "--work-dir", str(work), "--output-dir", str(work / "out"))
    return ["pocket", *places, *view, *steps, *more]
