"""Clips that can be told apart, and an estimator that knows which one it sees: quick, and bad on demand."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from kdvideo import flow as kf
from tests.data.videos import numbers, picture, write_video

RATE = 10


@dataclass(frozen=True)
class Fake:
    """Flow that is a function of the numbers that the frames show.

    `bad` says what happens at the clip that begins with a number; `log` takes one line per call.
    """

    bad: Mapping[int, str] = field(default_factory=dict)
    log: str | None = None
    pause: float = 0.0

    @property
    def fingerprint(self) -> str:
        return "Fake()"

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        if tuple(frames.shape[-2:]) == (128, 128):  # the trial run
            return torch.zeros(len(frames) - 1, 2, *frames.shape[-2:])
        seen = numbers(frames)
        if self.log is not None:
            note(self.log, f"{seen[0]}")
        time.sleep(self.pause)
        self._misbehave(self.bad.get(seen[0], ""))
        value = torch.tensor(seen[1:], dtype=torch.float32) / 16
        scale = torch.nan if self.bad.get(seen[0]) == "nan" else 1.0
        return (value[:, None, None, None] * scale).expand(-1, 2, *frames.shape[-2:]).clone()

    def _misbehave(self, how: str) -> None:
        if how == "error":
            raise RuntimeError("no such texture\nand more")
        if how == "memory":
            raise torch.OutOfMemoryError("CUDA out of memory")
        if how == "hang":
            while True:
                time.sleep(60)
        if how == "native hang":
            ctypes.PyDLL(None).sleep(100)  # with the interpreter's lock held
        if how == "exit":
            os._exit(7)
        if how == "interrupt":
            raise KeyboardInterrupt
        if how in ("SIGSEGV", "SIGKILL"):
            os.kill(os.getpid(), getattr(signal, how))


def note(log: str, text: str) -> None:
    """Append a line, at one stroke also among processes."""
    handle = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(handle, f"{text}\n".encode())
    os.close(handle)


def write_clip(path: Path, first: int, frames: int = 5) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_video(path, [picture(first + i) for i in range(frames)], rate=RATE, options={"crf": "20"})


def row(root: Path, clip: str) -> dict[str, object]:
    return {"path": str(root / clip), "clip": clip, "start": None, "end": None}


def clips(root: Path, count: int = 4, *, frames: int = 5) -> list[dict[str, object]]:
    """Good clips, which begin with the numbers 10, 20, ..."""
    names = [f"{'ab'[i % 2]}/clip{i:03d}.mp4" for i in range(count)]
    for i, name in enumerate(names):
        write_clip(root / name, 10 * (i + 1) % 240, frames)
    return [row(root, name) for name in names]


def store(folder: Path, **options: object) -> kf.FlowStore:
    return kf.FlowStore(folder, **{"fps": RATE, "estimator": Fake()} | options)


def files(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
