"""The flow of one clip, from the video file into the store."""

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

FRAME_BYTES = 256 * 2**20  # of the frames that are held at once: some 40 s at 25 fps and 256 x 340 pixels
PAIRS = 64  # whose flow is computed at once

Row = Mapping[str, Any]


class Outcome(NamedTuple):
    """What became of a clip: "busy" means that another process is at it; `new` that this job made it."""

    status: Literal["done", "failed", "busy"]
    flows: int = 0
    reason: str = ""
    new: bool = False


@dataclass(frozen=True)
class Job:
    """What is to be done with every clip."""

    store: FlowStore
    short_side: int | None
    retry_failed: bool = False
    device: str = "cpu"

    def known(self, clip_id: str) -> Outcome | None:
        """The outcome of a clip that needs no work. Raises ValueError if it was made with other settings."""
        try:
            info = self.store.info(clip_id)
        except ValueError:  # damaged: it is made anew
            return None
        if info is None:
            return None
        if info["status"] == "failed":
            return None if self.retry_failed else Outcome("failed", reason=info["reason"])
        self.store.check(clip_id, info)
        file = self.store.sidecar(clip_id).with_name(info["file"])
        whole = file.is_file() and file.stat().st_size == info["bytes"]
        return Outcome("done", info["flows"]) if whole else None

    def run(self, row: Row, locks: Locks) -> Outcome:
        """Make the flow of a clip, unless somebody else is at it or was faster."""
        clip_id = row["clip"]
        with locks.held(tag(clip_id)) as mine:
            if not mine:
                return Outcome("busy")
            known = self.known(clip_id)
            if known is not None:
                return known
            try:
                return Outcome("done", self._make(row), new=True)
            except (ClipError, ValueError) as error:
                reason = error.reason if isinstance(error, ClipError) else str(error)
                self.store.fail(clip_id, reason)
                return Outcome("failed", reason=reason, new=True)

    def give_up(self, row: Row, reason: str, locks: Locks) -> Outcome:
        """Record the failure of a clip whose worker died."""
        clip_id = row["clip"]
        with locks.held(tag(clip_id)) as mine:
            if not mine:
                return Outcome("busy")
            self.clear(clip_id)
            known = self.known(clip_id)
            if known is not None:
                return known
            self.store.fail(clip_id, reason)
            return Outcome("failed", reason=reason, new=True)

    def clear(self, clip_id: str) -> None:
        """Remove the temporary files of a clip; its lock must be held."""
        for path in self.store.sidecar(clip_id).parent.glob(f"{TEMPORARY}{tag(clip_id)}*"):
            path.unlink(missing_ok=True)

    def _make(self, row: Row) -> int:
        with _as_failures(row):
            info = probe(row["path"], **self._sampling(row))
        size = (info.height, info.width)
        with self.store.writer(row["clip"], flows=info.length - 1, size=size) as add:
            for flow in self._flow(row, info):
                add(flow)
        return info.length - 1

    def _sampling(self, row: Row) -> dict[str, Any]:
        return {"start": row["start"], "end": row["end"], "fps": self.store.fps, "short_side": self.short_side}

    def _flow(self, row: Row, info: ClipInfo) -> Iterator[Tensor]:
        """The flow of a clip, piece by piece; whatever is wrong with the clip becomes a `ClipError`."""
        step = max(FRAME_BYTES // (3 * info.height * info.width), 2) - 1
        for start in range(0, info.length - 1, step):
            window = range(start, min(start + step + 1, info.length))
            with _as_failures(row):
                frames = read_frames(row["path"], window=window, **self._sampling(row))
            for first in range(0, len(frames) - 1, PAIRS):
                with _as_failures(row):
                    flow = self.store.estimator(frames[first : first + PAIRS + 1].to(self.device))
                yield flow

    def warm_up(self) -> None:
        """Run the estimator once: if it cannot run, that is no fault of the clips. Raises ValueError saying why."""
        try:
            self.store.estimator(torch.zeros(2, 3, 128, 128, dtype=torch.uint8, device=self.device))
        except ValueError:
            raise
        except Exception as error:
            raise ValueError(f"the estimator does not run on {self.device}: {type(error).__name__}: {error}") from error


@contextmanager
def _as_failures(row: Row) -> Iterator[None]:
    """Turns whatever goes wrong with a clip into a `ClipError`, but for what would go wrong with the next one too."""
    try:
        yield
    except (ClipError, ValueError, torch.OutOfMemoryError, torch.AcceleratorError):
        raise
    except Exception as error:
        text = str(error).strip().partition("\n")[0]
        raise ClipError(row["path"], f"{type(error).__name__}: {text}") from error
