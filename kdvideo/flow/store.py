"""Flow on disk, one file per clip, 8 bit per component."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kdvideo.flow._files import write_atomic
from kdvideo.flow.estimators import FlowEstimator, TVL1Estimator
from kdvideo.flow.quantize import dequantize, quantize
from kdvideo.flow.transforms import check_bound, check_flow

SUFFIX = ".flow.safetensors"


class FlowStore:
    """A folder of quantised flow, one file per clip, each written whole or not at all.

    Every file says with which bound, estimator, frame rate and frame size it was made; reading one that
    differs from the store's own settings raises. A store is also a `FlowSource`.

    Arguments:
        folder: made on the first write.
        bound: components are truncated to [-bound, bound] pixels.
        estimator: what makes the flow; its fingerprint is compared. The default is TV-L1.
        fps: frame rate of the clips; `None` where none is defined.
        size: (H, W) of the flow; `None` lets every clip have its own.

    >>> import tempfile, torch
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     store = FlowStore(folder, fps=25)
    ...     store.write("run/clip 1.mp4", torch.zeros(3, 2, 8, 8))
    ...     "run/clip 1.mp4" in store, store.read("run/clip 1.mp4").shape
    (True, torch.Size([3, 2, 8, 8]))
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        bound: float = 20.0,
        estimator: FlowEstimator | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
    ) -> None:
        check_bound(bound)
        self.folder = Path(folder)
        self.bound, self.fps, self.size = float(bound), fps, size
        self.fingerprint = (TVL1Estimator() if estimator is None else estimator).fingerprint

    def path(self, clip_id: str) -> Path:
        """The file of a clip. Raises ValueError for an id that is not a plain relative path."""
        parts = clip_id.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in clip_id or "\\" in clip_id:
            raise ValueError(
                f"clip id must be a relative path with forward slashes, without '.', '..' or empty parts, "
                f"got {clip_id!r}"
            )
        return self.folder / PurePosixPath(clip_id + SUFFIX)

    def __contains__(self, clip_id: str) -> bool:
        return self.path(clip_id).is_file()

    def __iter__(self) -> Iterator[str]:
        """The ids of all clips, sorted."""
        found = self.folder.rglob("*" + SUFFIX)
        return iter(sorted(p.relative_to(self.folder).as_posix()[: -len(SUFFIX)] for p in found))

    def write(self, clip_id: str, flow: Tensor) -> None:
        """Truncate, quantise and store flow (T-1,2,H,W) in pixels; replaces what was there.

        Raises:
            ValueError: wrong shape or size, or a component that is NaN or infinite.
        """
        path = self.path(clip_id)
        check_flow(flow)
        if flow.ndim != 4:
            raise ValueError(f"flow of a clip must be (T-1,2,H,W), got {tuple(flow.shape)}")
        self._compare(clip_id, "size", _text(tuple(flow.shape[-2:])), self._settings()["size"])
        meta = self._settings() | {"size": _text(tuple(flow.shape[-2:])), "frames": str(len(flow) + 1)}
        write_atomic(path, save({"flow": quantize(flow, self.bound).cpu().contiguous()}, meta))

    def read(self, clip_id: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Flow (T-1,2,H,W) float32 in pixels, or that of `start:stop` alone.

        Raises:
            KeyError: the store has no such clip.
            ValueError: the file is damaged or was made with other settings (both are named).
        """
        path = self.path(clip_id)
        if not path.is_file():
            raise KeyError(f"no flow of clip {clip_id!r} in {self.folder}")
        try:
            with safe_open(path, framework="pt") as file:
                meta, values = file.metadata() or {}, file.get_slice("flow")[start:stop]
        except SafetensorError as error:
            raise ValueError(f"{path} is not a readable flow file: {error}") from error
        for name, wanted in self._settings().items():
            self._compare(clip_id, name, meta.get(name, "nothing"), wanted)
        return dequantize(values, self.bound)

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """The stored flow of a clip, checked against its frames (T,3,H,W): a `FlowSource`."""
        flow = self.read(clip_id)
        expected = (len(frames) - 1, 2, *frames.shape[-2:])
        if tuple(flow.shape) != expected:
            raise ValueError(
                f"stored flow of {clip_id!r} is {tuple(flow.shape)} but frames {tuple(frames.shape)} "
                f"need {expected}: were they resized or sampled differently?"
            )
        return flow

    def _settings(self) -> dict[str, str]:
        values = {"bound": self.bound, "estimator": self.fingerprint, "fps": self.fps, "size": self.size}
        return {name: _text(value) for name, value in values.items()}

    def _compare(self, clip_id: str, name: str, found: str, wanted: str) -> None:
        if found != wanted and not (name == "size" and self.size is None):
            raise ValueError(f"flow of clip {clip_id!r} has {name} {found}, but the store expects {wanted}")


def _text(value: object) -> str:
    return str(float(value)) if isinstance(value, int) else str(value)
