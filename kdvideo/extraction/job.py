"""The work on one clip, from the video file to its flow in the store, and its outcome."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from kdvideo.data import ClipError, ClipInfo, probe, read_frames
from kdvideo.extraction.locks import Locks
from kdvideo.files import TEMPORARY
from kdvideo.flow import FlowStore
from kdvideo.flow.store.sidecars import tag

FRAME_BYTES = 256 * 2**20  # of the frames held at once: some 40 s at 25 fps and 256 x 340 pixels
PAIRS = 64  # whose flow is computed at once

ClipRow = Mapping[str, Any]


class Outcome(NamedTuple):
    """Status of a clip: `"busy"` where another process works on it; `new` where this job computed it."""

    status: Literal["done", "failed", "busy"]
    flows: int = 0
    reason: str = ""
    new: bool = False


@dataclass(frozen=True)
class Job:
    """Settings of an extraction, and the work on one clip."""

    store: FlowStore
    short_side: int | None
    retry_failed: bool = False
    device: str = "cpu"

    def warm_up(self) -> None:
        """Run the estimator once, so that an estimator that cannot run is not blamed on the clips.

        Raises:
            ValueError: it cannot run; says why.
        """
        try:
            self.store.estimator(torch.zeros(2, 3, 128, 128, dtype=torch.uint8, device=self.device))
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"the estimator does not run on {self.device}: {type(error).__name__}: {error}") from error

    def known_outcome(self, clip_id: str) -> Outcome | None:
        """Return the outcome of a clip that needs no work, or None.

        Raises:
            ValueError: its flow was made with other settings.
        """
        try:
            info = self.store.info(clip_id)
        except ValueError:  # a damaged sidecar: the clip is computed again
            return None
        if info is None:
            return None
        if info["status"] == "failed":
            return None if self.retry_failed else Outcome("failed", reason=info["reason"])
        self.store.check(clip_id, info)
        file = self.store.sidecar(clip_id).with_name(info["file"])
        whole = file.is_file() and file.stat().st_size == info["bytes"]
        return Outcome("done", info["flows"]) if whole else None

    def run(self, row: ClipRow, locks: Locks) -> Outcome:
        """Compute and store the flow of a clip, unless another process does so or has done so."""
        clip_id = row["clip"]
        with locks.try_lock(tag(clip_id)) as acquired:
            if not acquired:
                return Outcome("busy")
            known = self.known_outcome(clip_id)
            if known is not None:
                return known
            try:
                return Outcome("done", self._store_flow(row), new=True)
            except (ClipError, ValueError) as error:
                reason = error.reason if isinstance(error, ClipError) else str(error)
                self.store.fail(clip_id, reason)
                return Outcome("failed", reason=reason, new=True)

    def record_failure(self, row: ClipRow, reason: str, locks: Locks) -> Outcome:
        """Record the failure of a clip whose worker died."""
        clip_id = row["clip"]
        with locks.try_lock(tag(clip_id)) as acquired:
            if not acquired:
                return Outcome("busy")
            self.remove_temporary(clip_id)
            known = self.known_outcome(clip_id)
            if known is not None:
                return known
            self.store.fail(clip_id, reason)
            return Outcome("failed", reason=reason, new=True)

    def remove_temporary(self, clip_id: str) -> None:
        """Remove the temporary files of a clip, whose lock must be held."""
        for path in self.store.sidecar(clip_id).parent.glob(f"{TEMPORARY}{tag(clip_id)}*"):
            path.unlink(missing_ok=True)

    def _store_flow(self, row: ClipRow) -> int:
        """Write the flow of a clip into the store and return the number of flows."""
        sampling = {"start": row["start"], "end": row["end"], "fps": self.store.fps, "short_side": self.short_side}
        with _clip_errors(row):
            info = probe(row["path"], **sampling)
        size = (info.height, info.width)
        with self.store.writer(row["clip"], flows=info.length - 1, size=size) as add:
            for flow in self._flow(row, info, sampling):
                add(flow)
        return info.length - 1

    def _flow(self, row: ClipRow, info: ClipInfo, sampling: Mapping[str, Any]) -> Iterator[Tensor]:
        """Yield the flow of a clip in pieces of bounded memory: neighbouring windows share one frame."""
        step = max(FRAME_BYTES // (3 * info.height * info.width), 2) - 1
        for start in range(0, info.length - 1, step):
            window = range(start, min(start + step + 1, info.length))
            with _clip_errors(row):
                frames = read_frames(row["path"], window=window, **sampling)
            for first in range(0, len(frames) - 1, PAIRS):
                with _clip_errors(row):
                    flow = self.store.estimator(frames[first : first + PAIRS + 1].to(self.device))
                yield flow


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
