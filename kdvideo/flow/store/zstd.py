"""Flow as Zstandard frames, each decoded by itself.

A file holds one frame for each flow, (2,H,W) bytes, and a skippable frame with the table of their lengths: any
decompressor gives the bytes of the whole clip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path
from struct import pack, unpack
from typing import Any, BinaryIO, ClassVar

import torch
from torch import Tensor

from kdvideo._extras import needed

SKIPPABLE = 0x184D2A50  # RFC 8878, section 3.1.2
NUMBER = 4  # bytes of a number of the table


@dataclass(frozen=True)
class Zstd:
    """Lossless: half as large again as lossless video of real clips, and quicker to read.

    Args:
        level: of the compression, 1 (fast) to 22 (small); reading takes as long at any.

    Raises:
        ValueError: the level is out of its range.

    Examples:
        >>> import tempfile
        >>> from kdvideo.flow import FlowStore
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = FlowStore(folder, codec=Zstd(level=3))
        ...     store.write("a", torch.zeros(3, 2, 16, 16))
        ...     store.path("a").name, store.read("a", start=1).shape
        ('a.flow.zst', torch.Size([2, 2, 16, 16]))

    Source:
        Y. Collet, M. Kucherawy, "Zstandard Compression and the 'application/zstd' Media Type", RFC 8878, 2021.
    """

    suffix: ClassVar[str] = ".zst"
    level: int = 9

    def __post_init__(self) -> None:
        if not 1 <= self.level <= 22:
            raise ValueError(f"level must be in 1..22, got {self.level}")

    @contextmanager
    def writer(self, file: BinaryIO, flows: int, size: tuple[int, int]) -> Iterator[Callable[[Tensor], None]]:
        """Write a file, see `FlowCodec.writer`."""
        codec = _codec(self.level)
        lengths: list[int] = []

        def add(values: Tensor) -> None:
            for flow in values.contiguous().numpy():
                packed = codec.compress(flow.tobytes(), asbytes=True)
                lengths.append(len(packed))
                file.write(packed)

        yield add
        count = len(lengths)
        file.write(pack(f"<II{count}II", SKIPPABLE, NUMBER * (count + 1), *lengths, count))

    def read(self, path: Path, window: range, size: tuple[int, int]) -> Tensor:
        """Read a part of a file, see `FlowCodec.read`."""
        codec, out = _codec(self.level), torch.empty(len(window), 2, *size, dtype=torch.uint8)
        if len(window) == 0:
            return out
        try:
            with open(path, "rb") as file:
                ends = list(accumulate(_lengths(file), initial=0))[window.start : window.stop + 1]
                if len(ends) != len(window) + 1:
                    raise ValueError(f"it does not hold the flows {window}")
                file.seek(ends[0])
                packed = memoryview(file.read(ends[-1] - ends[0]))
            for flow, start, stop in zip(out, ends, ends[1:], strict=False):
                values = codec.decompress(packed[start - ends[0] : stop - ends[0]], decompressed_size=flow.numel())
                flow.copy_(torch.frombuffer(values, dtype=torch.uint8).view(flow.shape))
        except (OSError, ValueError, RuntimeError) as error:
            raise ValueError(f"{path} is not a readable flow file: {error}") from error
        return out


def _codec(level: int) -> Any:
    with needed("flow in zstd files"):
        import pyarrow  # type: ignore[import-untyped,unused-ignore]

    return pyarrow.Codec("zstd", compression_level=level)


def _lengths(file: BinaryIO) -> tuple[int, ...]:
    """Read the table of the frames' lengths."""
    size = file.seek(0, 2)
    if size < 3 * NUMBER:
        raise ValueError("it has no table of lengths")
    file.seek(size - NUMBER)
    (count,) = unpack("<I", file.read(NUMBER))
    at = size - NUMBER * (count + 3)
    if at < 0:
        raise ValueError("its table of lengths is damaged")
    file.seek(at)
    magic, bytes_of_table, *lengths = unpack(f"<II{count}I", file.read(NUMBER * (count + 2)))
    if magic != SKIPPABLE or bytes_of_table != NUMBER * (count + 1) or sum(lengths) != at:
        raise ValueError("its table of lengths is damaged")
    return tuple(lengths)
