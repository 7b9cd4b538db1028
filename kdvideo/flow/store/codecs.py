"""Codecs of a `FlowStore`: 8-bit flow compressed without loss, as lossless or near-lossless video, or as it is.

Legend: N flows of a clip, H W space.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, ClassVar, Protocol, runtime_checkable

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from kdvideo.flow.store import gray_video
from kdvideo.flow.store.zstd import Zstd


@runtime_checkable
class FlowCodec(Protocol):
    """One way to store quantized flow; `str()` of it, which sidecars hold, says everything that decides the bytes.

    Examples:
        >>> import tempfile
        >>> codec, flow = Raw(), torch.full((3, 2, 8, 8), 128, dtype=torch.uint8)
        >>> with tempfile.NamedTemporaryFile(suffix=codec.suffix) as file:
        ...     with codec.writer(file, flows=3, size=(8, 8)) as add:
        ...         add(flow)
        ...     file.flush()
        ...     codec.read(Path(file.name), range(1, 3), (8, 8)).shape
        torch.Size([2, 2, 8, 8])
    """

    @property
    def suffix(self) -> str:
        """Extension of the files."""
        ...

    def writer(
        self, file: BinaryIO, flows: int, size: tuple[int, int]
    ) -> AbstractContextManager[Callable[[Tensor], None]]:
        """Write a file, which is whole after the context.

        Args:
            file: open for writing.
            flows: how many will be appended.
            size: their (H, W).

        Returns:
            A context manager; it gives a function that appends flow (N,2,H,W), uint8.
        """
        ...

    def read(self, path: Path, window: range, size: tuple[int, int]) -> Tensor:
        """Read a part of a file; ValueError names a file that is damaged.

        Args:
            path: of the file.
            window: numbers of the flows, consecutive.
            size: their (H, W).

        Returns:
            (N,2,H,W), uint8, N the length of the window.
        """
        ...


@dataclass(frozen=True)
class GrayFFV1:
    """Lossless: one gray FFV1 video per clip, u above v, every picture coded by itself.

    Examples:
        >>> import tempfile
        >>> from kdvideo.flow import FlowStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = FlowStore(folder, codec=GrayFFV1())
        ...     store.write("a", torch.zeros(3, 2, 16, 16))
        ...     store.path("a").name, store.read("a", start=1).shape
        ('a.flow.mkv', torch.Size([2, 2, 16, 16]))
    """

    suffix: ClassVar[str] = ".mkv"

    def writer(
        self, file: BinaryIO, flows: int, size: tuple[int, int]
    ) -> AbstractContextManager[Callable[[Tensor], None]]:
        """Write a file, see `FlowCodec.writer`."""
        # Without checksums of slices: the sidecar has one of every flow.
        options = {"level": "3", "context": "0", "slices": "4", "slicecrc": "0"}
        return _stacked(gray_video.writer(file, "ffv1", _stack(size), gop=1, options=options))

    def read(self, path: Path, window: range, size: tuple[int, int]) -> Tensor:
        """Read a part of a file, see `FlowCodec.read`."""
        return gray_video.read(path, window, _stack(size)).reshape(len(window), 2, *size)


@dataclass(frozen=True)
class GrayH264(GrayFFV1):
    """Near-lossless: one gray H.264 video per clip, u above v.

    Args:
        crf: x264's quality, 0 (lossless) to 51; every 6 about halve the size.
        gop: flows from one that is coded by itself to the next, at least 1; reading a window starts at such a flow.

    Raises:
        ValueError: a number is out of its range.

    Examples:
        >>> GrayH264(crf=12)
        GrayH264(crf=12, gop=8)
    """

    crf: int = 16
    gop: int = 8

    def __post_init__(self) -> None:
        if not 0 <= self.crf <= 51 or self.gop < 1:
            raise ValueError(f"crf must be in 0..51 and gop at least 1, got {self.crf} and {self.gop}")

    def writer(
        self, file: BinaryIO, flows: int, size: tuple[int, int]
    ) -> AbstractContextManager[Callable[[Tensor], None]]:
        """Write a file, see `FlowCodec.writer`."""
        # x264's macroblock trees and vector units would make the bytes depend on the machine.
        options = {"crf": str(self.crf), "preset": "medium", "x264-params": "mbtree=0:cpu-independent=1"}
        return _stacked(gray_video.writer(file, "libx264", _stack(size), gop=self.gop, options=options))


def _stack(size: tuple[int, int]) -> tuple[int, int]:
    return 2 * size[0], size[1]


@contextmanager
def _stacked(pictures: AbstractContextManager[Callable[[Tensor], None]]) -> Iterator[Callable[[Tensor], None]]:
    with pictures as add:
        yield lambda values: add(values.flatten(1, 2))


@dataclass(frozen=True)
class Raw:
    """Uncompressed: one safetensors file per clip, with the tensor `flow` (N,2,H,W) uint8.

    Examples:
        >>> import tempfile
        >>> from kdvideo.flow import FlowStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = FlowStore(folder, codec=Raw())
        ...     store.write("a", torch.zeros(3, 2, 16, 16))
        ...     store.path("a").name, store.read("a", start=1).shape
        ('a.flow.safetensors', torch.Size([2, 2, 16, 16]))
    """

    suffix: ClassVar[str] = ".safetensors"

    @contextmanager
    def writer(self, file: BinaryIO, flows: int, size: tuple[int, int]) -> Iterator[Callable[[Tensor], None]]:
        """Write a file, see `FlowCodec.writer`."""
        # Not by safetensors itself: it would need the whole clip at once.
        shape = [flows, 2, *size]
        layout = {"flow": {"dtype": "U8", "shape": shape, "data_offsets": [0, flows * 2 * size[0] * size[1]]}}
        text = json.dumps(layout, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 8)  # safetensors aligns the data to 8 bytes
        file.write(len(text).to_bytes(8, "little") + text)

        def add(values: Tensor) -> None:
            file.write(values.contiguous().numpy().data)

        yield add

    def read(self, path: Path, window: range, size: tuple[int, int]) -> Tensor:
        """Read a part of a file, see `FlowCodec.read`."""
        try:
            with safe_open(path, framework="pt") as file:
                values: Tensor = file.get_slice("flow")[window.start : window.stop]
        except (SafetensorError, OSError) as error:
            raise ValueError(f"{path} is not a readable flow file: {error}") from error
        if tuple(values.shape) != (len(window), 2, *size) or values.dtype != torch.uint8:
            raise ValueError(
                f"{path} must hold uint8 flow {(len(window), 2, *size)} at {window}, got {values.dtype} "
                f"{tuple(values.shape)}"
            )
        return values


LOSSLESS = Zstd()
"""The default: no loss beyond that of 8 bits, an endpoint error of 0.053 pixels on 13 real clips at a bound of 20."""

NEAR_LOSSLESS = GrayH264()
"""4.2 kB per frame pair of 256 x 340 pixels and an endpoint error of 0.059 pixels on the same clips.

Lossless video of them took 7.2 kB.
"""

UNCOMPRESSED = Raw()
"""2 H W bytes per frame pair, read as fast as the disk is."""

# By the suffix of a file; the reader of lossless video reads near-lossless video too.
READERS: dict[str, FlowCodec] = {codec.suffix: codec for codec in (LOSSLESS, GrayFFV1(), UNCOMPRESSED)}
