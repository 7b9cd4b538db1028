"""Flow that `kdvideo extract` wrote: opened, and checked before anything is trained on it."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from accelerate import Accelerator
from accelerate.utils import gather_object

from examples.d3d.config import Config, Input
from kdvideo import flow

SIDES = ("train", "test")
NAMED = 5  # clips without flow that an error names


def command(config: Config, side: str, folder: Path | None) -> str:
    """Return the line that extracts the flow of the training or the test clips as these settings need it.

    Args:
        config: the settings; without clips the line shows where they go.
        side: "train" or "test".
        folder: `--flow-dir`; None: the line shows where it goes.
    """
    seen, clips = config.input, getattr(config, side) or side.upper()
    words = ["kdvideo", "extract", str(clips), str((folder or Path("FLOW")) / side)]
    words += ["--root", str(config.root)] if config.root else []
    words += ["--fps", f"{seen.fps:g}", "--short-side", str(seen.short_side), "--bound", f"{seen.flow_bound:g}"]
    return shlex.join([*words, "--preset", config.flow_preset, "--device", "cuda"])


def check(store: flow.FlowStore, clips: list[str], seen: Input, accelerator: Accelerator) -> None:
    """Raise `ValueError` unless a store holds the flow of all clips, made with the settings of this run.

    The processes share the reading of the status files, and all of them raise.

    Args:
        store: of these settings, in a folder of `kdvideo extract`.
        clips: the ids.
        seen: of it the short side counts; the store knows the rest.
        accelerator: the one of the run.
    """
    _check_settings(store, seen)
    mine = clips[accelerator.process_index :: accelerator.num_processes]
    missing: list[str] = gather_object([clip for clip in mine if clip not in store])
    if missing:
        names = ", ".join(missing[:NAMED]) + (", ..." if len(missing) > NAMED else "")
        raise ValueError(
            f"{store.folder} must hold the flow of all {len(clips)} clips, but {len(missing)} are missing or failed "
            f"({names}): run `kdvideo extract` again, or leave them out of the list"
        )


def _check_settings(store: flow.FlowStore, seen: Input) -> None:
    path = store.folder / "extraction.json"
    if not path.is_file():
        raise ValueError(f"{store.folder} must be a folder that `kdvideo extract` wrote, but it has no {path.name}")
    try:
        found = dict(json.loads(path.read_bytes()))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged: {error}") from error
    wanted = {
        "estimator": store.fingerprint,
        "bound": store.bound,
        "fps": store.fps,
        "short_side": seen.short_side,
    }
    differ = [f"{name} {found.get(name)}, not {value}" for name, value in wanted.items() if found.get(name) != value]
    if differ:
        raise ValueError(f"{store.folder} must hold flow as this run sees it, got {'; '.join(differ)}")
