"""Flow in Middlebury's .flo files."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import torch
from torch import Tensor

from kdvideo.files import read_limited, write_atomic
from kdvideo.flow.fields.transforms import check_flow

MAGIC = b"PIEH"  # 202021.25 as a little-endian float32
UNKNOWN = 1e9
LARGEST = 2**29  # bytes, of 8192 x 8192 pixels


def is_known(flow: Tensor) -> Tensor:
    """Find the pixels whose flow is known: finite and below 1e9, as Middlebury marks it.

    Args:
        flow: (...,2,H,W) in pixels.

    Returns:
        bool, (...,H,W).

    Examples:
        >>> is_known(torch.tensor([0.0, 1e10]).view(2, 1, 1))
        tensor([[False]])
    """
    return (flow.abs() < UNKNOWN).all(-3)


def read_flo(path: str | os.PathLike[str]) -> Tensor:
    """Read flow from a .flo file; `is_known` gives the mask of its known pixels.

    Args:
        path: of the file.

    Returns:
        (2,H,W), float32 pixels, u first.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not a .flo file, or is truncated (the message names it).

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_flo(f"{folder}/a.flo", torch.tensor([3.0, -4.0]).view(2, 1, 1))
        ...     read_flo(f"{folder}/a.flo").flatten()
        tensor([ 3., -4.])
    """
    data = read_limited(Path(path), LARGEST)
    if data[:4] != MAGIC or len(data) < 12:
        raise ValueError(f"{path} is not a .flo file: it must begin with {MAGIC!r} and its size")
    width, height = struct.unpack("<ii", data[4:12])
    if width < 1 or height < 1 or len(data) != 12 + 8 * width * height:
        raise ValueError(f"{path} must hold {width}x{height} flow vectors, got {len(data)} bytes")
    values = torch.frombuffer(bytearray(data), dtype=torch.float32, offset=12)
    return values.view(height, width, 2).permute(2, 0, 1).contiguous()


def write_flo(path: str | os.PathLike[str], flow: Tensor) -> None:
    """Write flow as a .flo file, whole or not at all.

    Args:
        path: of the file.
        flow: (2,H,W) in pixels, u first.

    Raises:
        ValueError: the flow has another shape.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_flo(folder + "/a.flo", torch.ones(2, 3, 4))
        ...     read_flo(folder + "/a.flo").shape
        torch.Size([2, 3, 4])
    """
    check_flow(flow)
    if flow.ndim != 3:
        raise ValueError(f"flow of a .flo file must be (2,H,W), got {tuple(flow.shape)}")
    height, width = flow.shape[-2:]
    values = flow.detach().float().cpu().permute(1, 2, 0).contiguous()
    header = MAGIC + struct.pack("<ii", width, height)
    write_atomic(Path(path), header + values.numpy().tobytes())
