"""The job of optical flow: from the video file of a clip to its flow in the store."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdvideo._escaping import printable
from kdvideo.data import ClipError, ClipInfo, probe, read_frames
from kdvideo.extraction.job import FRAME_BYTES, ClipRow, Job, Outcome
from kdvideo.flow import FlowStore
from kdvideo.flow.store.origins import origin_of, what_changed

SETTINGS = "extraction.json"
PAIRS = 64  # whose flow is computed at once
_warned: set[bool] = set()


@dataclass(frozen=True, kw_only=True)
class FlowJob(Job):
    """Flow of clips into a `FlowStore`."""

    noun, unit, settings_file = "flow", "flows", SETTINGS
    store: FlowStore
    short_side: int | None

    @property
    def folder(self) -> Path:
        """That of the store."""
        return self.store.folder

    @property
    def settings(self) -> dict[str, Any]:
        """Those of the store, and the size of the frames."""
        store = self.store
        return {
            "bound": store.bound,
            "fps": None if store.fps is None else float(store.fps),
            "short_side": self.short_side,
            "size": None if store.size is None else list(store.size),
            "codec": str(store.codec),
            "estimator": store.fingerprint,
        }

    def warm_up(self) -> None:
        """Run the estimator once; ValueError says why it cannot run."""
        try:
            self.store.estimator(torch.zeros(2, 3, 128, 128, dtype=torch.uint8, device=self.device))
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"the estimator does not run on {self.device}: {type(error).__name__}: {error}") from error

    def file(self, row: ClipRow) -> Path:
        """Return the file of the flow of a clip."""
        return self.store.path(row["clip"])

    def fail(self, row: ClipRow, reason: str) -> None:
        """Record the failure in the store."""
        self.store.fail(row["clip"], reason, origin=origin_of(row["path"]))

    def known_outcome(self, row: ClipRow) -> Outcome | None:
        """Return the outcome in the store; ValueError for flow of other settings."""
        clip_id = row["clip"]
        try:
            info = self.store.info(clip_id)
        except ValueError:  # a damaged sidecar: the clip is computed again
            return None
        if info is None:
            return None
        if changed := what_changed(info.get("origin"), row["path"]):
            warnings.warn(
                f"{printable(row['path'])} is another file than before ({changed}): its flow is made anew", stacklevel=2
            )
            self.store.remove(clip_id)
            return None
        if info["status"] == "failed":
            return None if self.retry_failed else Outcome("failed", reason=info["reason"])
        self.store.check(clip_id, info)
        file = self.store.sidecar(clip_id).with_name(info["file"])
        whole = file.is_file() and file.stat().st_size == info["bytes"]
        return Outcome("done", info["flows"]) if whole else None

    def make(self, row: ClipRow) -> int:
        """Write the flow of a clip into the store and return the number of flows."""
        sampling = {"start": row["start"], "end": row["end"], "fps": self.store.fps, "short_side": self.short_side}
        origin = origin_of(row["path"])
        with _clip_errors(row):
            info = probe(row["path"], **sampling)
        size = (info.height, info.width)
        with self.store.writer(row["clip"], flows=info.length - 1, size=size, origin=origin) as add:
            for flow in self._flow(row, info, sampling):
                add(flow)
        return info.length - 1

    def _flow(self, row: ClipRow, info: ClipInfo, sampling: Mapping[str, Any]) -> Iterator[Tensor]:
        """Yield the flow of a clip in pieces of bounded memory: neighboring windows share one frame."""
        repeated = 0
        step = max(FRAME_BYTES // (3 * info.height * info.width), 2) - 1
        for start in range(0, info.length - 1, step):
            window = range(start, min(start + step + 1, info.length))
            with _clip_errors(row):
                frames = read_frames(row["path"], window=window, **sampling)
            repeated += int((frames[1:] == frames[:-1]).flatten(1).all(1).sum())
            for first in range(0, len(frames) - 1, PAIRS):
                with _clip_errors(row):
                    flow = self.store.estimator(frames[first : first + PAIRS + 1].to(self.device))
                yield flow
        if repeated * 2 >= max(info.length - 1, 2):
            native = {name: row[name] for name in ("start", "end")}
            _warn_of_repeats(row["clip"], repeated, info.length, probe(row["path"], **native).length)


@contextmanager
def _clip_errors(row: ClipRow) -> Iterator[None]:
    """Turn any error into a `ClipError` of this clip, except those that the next clip would meet too."""
    try:
        yield
    except (ClipError, ValueError, torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise ClipError(row["path"], f"{type(error).__name__}: {text}") from error


def _warn_of_repeats(clip: str, repeated: int, frames: int, native: int) -> None:
    """Warn, once in a process for either cause, that most flows of a clip are zero."""
    few = native < frames
    if few not in _warned:
        _warned.add(few)
        cause = f"its file has {native}: a lower rate, or --fps native, repeats none" if few else "so does its file"
        text = f"{repeated} of the {frames} frames of {clip!r} repeat the one before, so that flow is zero; {cause}"
        warnings.warn(text, stacklevel=2)
