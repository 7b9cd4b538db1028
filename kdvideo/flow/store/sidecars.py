"""The sidecars of a `FlowStore`, which hold the status of a clip, and the check of its file against them."""

from __future__ import annotations

import hashlib
import io
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from kdvideo.files import read_limited
from kdvideo.flow.store.codecs import READERS, FlowCodec

SUFFIX = ".flow.json"
MAX_PIXELS = 8192 * 4608  # a damaged size must not make a reader allocate all memory
CHUNK = 64  # flows read at a time from a whole file, for memory

SidecarInfo = dict[str, Any]


def to_json(info: SidecarInfo) -> bytes:
    """Return the bytes of a sidecar."""
    return json.dumps(info, ensure_ascii=True).encode() + b"\n"


def load(path: Path) -> SidecarInfo | None:
    """Read a sidecar; None where there is none.

    Raises:
        ValueError: it is damaged.
    """
    try:
        info = json.loads(read_limited(path))
        _check(info, path.name.removesuffix(SUFFIX))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"{path} is not a readable sidecar of flow: {type(error).__name__}: {error}") from error
    return dict(info)


def _check(info: SidecarInfo, name: str) -> None:
    status = info["status"]
    origin = info.get("origin")
    if origin is not None and not (isinstance(origin, dict) and isinstance(origin["place"], str)):
        raise TypeError("the origin must have a place")
    if origin is not None and len(origin) > 1 and not {"bytes", "mtime_ns", "sha256"} <= set(origin):
        raise KeyError("the origin must have bytes, mtime_ns and sha256")
    if status == "failed":
        if not isinstance(info["reason"], str):
            raise TypeError("the reason must be text")
        return
    if status != "done":
        raise ValueError(f"the status must be 'done' or 'failed', got {status!r}")
    flows, (height, width), file = info["flows"], info["size"], info["file"]
    numbers = (info["frames"], flows, height, width, info["bytes"], *info["crc32"])
    if not all(type(number) is int for number in numbers) or not isinstance(info["sha256"], str):
        raise TypeError("counts, sizes and checksums must be whole numbers, and sha256 text")
    if min(height, width) < 1 or height * width > MAX_PIXELS:
        raise ValueError(f"the size must be 1 to {MAX_PIXELS} pixels, got {(height, width)}")
    if flows < 0 or info["frames"] != flows + 1 or len(info["crc32"]) != flows:
        raise ValueError(
            f"flows must be one less than frames and have one checksum each, got {flows} flows, {info['frames']} "
            f"frames and {len(info['crc32'])} checksums"
        )
    if Path(file).name != file or not file.startswith(name + ".flow."):
        raise ValueError(f"the file must be that of this clip, got {file!r}")


def is_done(path: Path) -> bool:
    """Return whether there is a sidecar that says that its flow is done."""
    try:
        info = load(path)
    except ValueError:
        return False
    return info is not None and info["status"] == "done"


def describe(file: io.BufferedRandom, codec: FlowCodec, flows: int, size: tuple[int, int]) -> SidecarInfo:
    """Return codec, size and checksums of a file of flow just written.

    The checksums of the flows are those of what the codec reads back, so they also hold for near-lossless video.
    """
    file.seek(0)
    chunks = _chunks(codec, Path(file.name), flows, size)
    return {
        "codec": str(codec),
        "bytes": os.fstat(file.fileno()).st_size,
        "sha256": hashlib.file_digest(file, "sha256").hexdigest(),
        "crc32": [checksum for values in chunks for checksum in _checksums(values)],
    }


def _chunks(codec: FlowCodec, path: Path, flows: int, size: tuple[int, int]) -> Iterator[Tensor]:
    for start in range(0, flows, CHUNK):
        yield codec.read(path, range(flows)[start : start + CHUNK], size)


def _checksums(values: Tensor) -> list[int]:
    return [zlib.crc32(flow.contiguous().numpy().data) for flow in values]


def read(sidecar: Path, info: SidecarInfo, codec: FlowCodec, start: int | None, stop: int | None) -> Tensor:
    """Read quantized flow `start:stop` (N,2,H,W) uint8 of a clip that is done.

    Args:
        sidecar: its path.
        info: what it says.
        codec: reads files of its own suffix; files of other suffixes are read by `READERS`.
        start: the first flow.
        stop: the one after the last flow.

    Raises:
        ValueError: the file is missing, or damaged in size or in that flow.
    """
    path, window = sidecar.with_name(info["file"]), range(info["flows"])[start:stop]
    height, width = info["size"]
    if not path.is_file() or path.stat().st_size != info["bytes"]:
        found = f"has {path.stat().st_size} bytes" if path.is_file() else "is missing"
        raise ValueError(f"{path} is not a readable flow file: it {found}, its sidecar says {info['bytes']}")
    values = _codec(path, codec).read(path, window, (height, width))
    if _checksums(values) != info["crc32"][window.start : window.stop]:
        raise ValueError(f"{path} is not a readable flow file: its checksums differ from those in its sidecar")
    return values


def _codec(path: Path, own: FlowCodec) -> FlowCodec:
    known = {**READERS, own.suffix: own}
    if path.suffix not in known:
        raise ValueError(f"{path} must have a suffix in {sorted(known)}: open the store with the codec that wrote it")
    return known[path.suffix]


def verify(sidecar: Path, info: SidecarInfo, codec: FlowCodec) -> None:
    """Read and check all of the file of a clip that is done.

    Raises:
        ValueError: it is missing or damaged (the message says how).
    """
    path = sidecar.with_name(info["file"])
    for start in range(0, max(info["flows"], 1), CHUNK):
        read(sidecar, info, codec, start, start + CHUNK)
    with open(path, "rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != info["sha256"]:
            raise ValueError(f"{path} is damaged: its SHA-256 differs from that in its sidecar")
