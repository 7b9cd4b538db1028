"""Files of torch.save: nothing in them is run, damage is seen where it can be, and none asks for more than it holds."""

import errno
import pickletools
import re
import struct
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

LARGEST_PICKLE = 2**24  # bytes of names and shapes; the numbers lie elsewhere
MOST_MEMBERS = 65_534  # more need a 64-bit count
END_OF_ARCHIVE, CHUNK = b"PK\5\6", 2**20
EXPANSION = 8  # tensors may share memory, such as tied weights


def load_torch(path: Path) -> Any:
    """Read what torch.save wrote, tensors and plain containers only.

    Files of the zip kind, which is today's, hold a checksum of every part, and all are compared. Older ones hold none.

    Raises:
        ValueError: truncated, damaged, compressed, or with code in it; the file is named.
    """
    try:
        check_archive(path)
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a damaged pickle can raise nearly anything
        if isinstance(error, OSError) and error.errno != errno.EINVAL:  # that is a seek to before the beginning
            raise
        wanted = _first_import(path, str(error))
        if wanted is None:
            reason = str(error).rpartition("WeightsUnpickler error: ")[2].strip().partition("\n")[0]
            reason = reason[:200] or type(error).__name__
            raise ValueError(f"{path}: truncated, damaged, or no file of torch.save ({reason})") from error
        raise ValueError(
            f"{path}: holds more than weights: it wants to import {wanted}, which was not run. Ask its author "
            "for the bare state dict, or, if you trust the file, load it yourself and save only that"
        ) from error


def check_archive(path: Path) -> None:
    """Raise an error where a zip of torch.save is damaged or unpacks to more than it is; other files pass."""
    with open(path, "rb") as file:
        if file.read(4) != b"PK\3\4":
            return
        size = file.seek(0, 2)
        file.seek(max(0, size - 2**16 - 22))
        tail = file.read()
    end = tail.rfind(END_OF_ARCHIVE)
    if end < 0 or len(tail) < end + 22:
        raise ValueError("its archive has no end")
    (directory,) = struct.unpack_from("<I", tail, end + 12)
    if directory > min(size, LARGEST_PICKLE):  # Python would first make an object of every member
        raise ValueError(f"its archive lists more than {MOST_MEMBERS} members")
    with zipfile.ZipFile(path) as archive:
        _check_members(archive.infolist(), size)
        if not any(member.CRC for member in archive.infolist()):
            return  # written without checksums, as torch.serialization.set_crc32_options(False) has it
        for member in archive.infolist():
            with archive.open(member) as part:
                while part.read(CHUNK):  # compares the checksum at the end
                    pass


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    if len(members) > MOST_MEMBERS:
        raise ValueError(f"its archive lists {len(members)} members, more than {MOST_MEMBERS}")
    unpacked = sum(member.file_size for member in members)
    if unpacked > size:
        raise ValueError(f"its {size:,} bytes unpack to {unpacked:,}: save it with torch.save, which does not compress")
    if any(member.filename.endswith(".pkl") and member.file_size > LARGEST_PICKLE for member in members):
        raise ValueError(f"its pickle has more than {LARGEST_PICKLE:,} bytes: keep tensors only")


def check_tensors(tensors: Iterable[Tensor], size: int) -> None:
    """Raise `ValueError` unless tensors are plain ones, which hold about what their file of `size` bytes does.

    Tensors may repeat the same bytes without end, as `expand` does, and would be as large as they say once copied.
    """
    total = 0
    for tensor in tensors:
        if type(tensor) not in (Tensor, torch.nn.Parameter) or tensor.layout != torch.strided or not tensor.is_cpu:
            raise ValueError(f"the weights must be plain tensors, got {type(tensor).__name__}, {tensor.layout}")
        total += tensor.numel() * tensor.element_size()
    if total > EXPANSION * size:
        raise ValueError(f"its tensors claim {total:,} bytes, the file has {size:,}: save copies, such as .clone()")


def _first_import(path: Path, message: str) -> str | None:
    """Return what a refused pickle wanted to import: PyTorch says it, but for newer pickles of other programs."""
    named = re.search(r"GLOBAL ([\w.]+)", message)
    if named or zipfile.is_zipfile(path) or path.stat().st_size > LARGEST_PICKLE:
        return named and named[1]
    words: list[str] = []
    try:
        for operation, argument, _ in pickletools.genops(path.read_bytes()):
            if operation.name == "STACK_GLOBAL":
                return ".".join(words[-2:])
            if isinstance(argument, str):
                words.append(argument)
    except Exception:  # no pickle at all
        return None
    return None
