"""The files of a teacher cache, each with a row per item and its clip and view, and the index of the items."""

from __future__ import annotations

import ctypes
import hashlib
import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from kdvideo.files import check_regular, write_atomic

SUFFIX = ".safetensors"
BITS = 32  # a key is the clip's number and the view, a place the file's number and the row: 32 bits each
MAX_VIEW = 2**31
ANY = -1  # in a shape: the length of the item
# Ids are a tensor and not metadata: an open file keeps its metadata in memory.
_CLIP, _VIEW, LENGTH, _FINGERPRINT = "clip", "view", "length", "fingerprint"
_CHECKS, _KEYS = "crc32.", "crc32"  # before the name of a tensor: that of each item in it; that of the rest of the file


def write_shard(
    folder: Path, rows: Mapping[str, Tensor], ids: Sequence[str], views: Sequence[int], fingerprint: Mapping[str, str]
) -> Path:
    """Write a file named by the SHA-256 of its bytes: whole and on the disk, or not at all.

    Rows named "length" say how many rows of the other tensors an item has; without them every item has one.
    """
    text = bytearray(json.dumps(list(ids)).encode("ascii"))
    keys = {_CLIP: torch.frombuffer(text, dtype=torch.uint8), _VIEW: torch.tensor(views, dtype=torch.int64)}
    starts = _ends(rows[LENGTH]) if LENGTH in rows else None
    checks = {_CHECKS + name: _checks(values, starts) for name, values in rows.items() if name != LENGTH}
    tensors = {**keys, **rows, **checks}
    tensors[_KEYS] = torch.tensor([_check_of_keys(tensors)])
    data = save(tensors, {_FINGERPRINT: json.dumps(dict(fingerprint), sort_keys=True)})  # one entry: they have no order
    path = folder / (_digest(data) + SUFFIX)
    write_atomic(path, data)
    return path


def _checks(values: Tensor, starts: Tensor | None) -> Tensor:
    """Return the CRC-32 of each item."""
    ends = range(len(values) + 1) if starts is None else starts.tolist()
    return torch.tensor([_check(values[a:b]) for a, b in pairwise(ends)], dtype=torch.int64)


def _check(values: Tensor) -> int:
    return zlib.crc32(tensor_bytes(values))


def _check_of_keys(tensors: Mapping[str, Tensor]) -> int:
    """Return the CRC-32 of what is read when a file is opened: names, and all that says which item is where."""
    check = 0
    for name in sorted(tensors):
        check = zlib.crc32(name.encode(errors="surrogatepass"), check)
        if name in (_CLIP, _VIEW, LENGTH) or name.startswith(_CHECKS):
            check = zlib.crc32(tensor_bytes(tensors[name]), check)
    return check


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()[:32]


@dataclass(frozen=True)
class Shard:
    """A file written by `write_shard`, mapped into memory; it keeps no file descriptor."""

    path: Path
    fingerprint: dict[str, str]
    shapes: dict[str, tuple[int, ...]]
    starts: Tensor | None
    file: Any
    checks: dict[str, Tensor]

    def rows(self, name: str, number: int) -> Tensor:
        """Read the rows of one item, (1, ...), or (length, ...): nothing else of the file is read.

        Raises:
            ValueError: they are not those that were written; files without checksums are taken as they are.
        """
        start, stop = (number, number + 1) if self.starts is None else self.starts[number : number + 2].tolist()
        rows: Tensor = self.file.get_slice(name)[start:stop]
        if name in self.checks and _check(rows) != int(self.checks[name][number]):
            raise damaged(self.path, f"{name} of its item {number} is not what was written")
        return rows

    def checks_of(self, number: int) -> dict[str, int]:
        """Return the checksums of one item; none in an old file."""
        return {name: int(values[number]) for name, values in self.checks.items()}

    def verify(self) -> None:
        """Raise ValueError unless every byte is the one that was written."""
        if _digest(self.path.read_bytes()) + SUFFIX != self.path.name:
            raise damaged(self.path, "its bytes are not those that were written")


def open_shard(path: Path) -> tuple[Shard, list[str], Tensor]:
    """Open a file and return it with the clip and the view of each row; ValueError names it where it is damaged."""
    try:
        check_regular(path)
        file: Any = safe_open(path, framework="pt")
        fingerprint = dict(json.loads(file.metadata()[_FINGERPRINT]))
        ids, views = json.loads(tensor_bytes(file.get_tensor(_CLIP))), file.get_tensor(_VIEW)
        lengths = file.get_tensor(LENGTH) if LENGTH in file.keys() else None  # noqa: SIM118
        checks = _read_checks(file)
        keys = (_CLIP, _VIEW, LENGTH, _KEYS)
        names = [name for name in file.keys() if name not in keys and not name.startswith(_CHECKS)]  # noqa: SIM118
        sizes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise damaged(path, repr(error)) from error
    if not isinstance(ids, list) or not all(isinstance(clip, str) for clip in ids):
        raise damaged(path, "its clips are not texts")
    if views.dtype != torch.int64 or views.shape != (len(ids),) or bool(((views < 0) | (views >= MAX_VIEW)).any()):
        raise damaged(path, f"its views are not {len(ids)} numbers")
    starts = None if lengths is None else _starts(path, lengths, len(ids))
    rows = len(ids) if starts is None else int(starts[-1])
    if not sizes or any(size[:1] != (rows,) for size in sizes.values()):
        raise damaged(path, f"it has {sizes}, not {rows} rows for {len(ids)} items")
    length = () if starts is None else (ANY,)
    return (
        Shard(path, fingerprint, {name: length + size[1:] for name, size in sizes.items()}, starts, file, checks),
        ids,
        views,
    )


def _read_checks(file: Any) -> dict[str, Tensor]:
    """Return the checksums of the items by tensor, none in an old file; ValueError where the keys are damaged."""
    names = [name for name in file.keys() if name != _KEYS]  # noqa: SIM118
    if _KEYS not in file.keys():  # noqa: SIM118
        return {}
    read = [name for name in names if name in (_CLIP, _VIEW, LENGTH) or name.startswith(_CHECKS)]
    tensors = {name: file.get_tensor(name) if name in read else torch.empty(0) for name in names}
    if file.get_tensor(_KEYS).tolist() != [_check_of_keys(tensors)]:
        raise ValueError("its list of items is not the one that was written")
    return {name.removeprefix(_CHECKS): values for name, values in tensors.items() if name.startswith(_CHECKS)}


def _ends(lengths: Tensor) -> Tensor:
    return torch.cat([lengths.new_zeros(1), lengths.cumsum(0)])


def _starts(path: Path, lengths: Tensor, items: int) -> Tensor:
    """Return where the rows of each item begin, and where the last ones end."""
    if lengths.dtype != torch.int64 or lengths.shape != (items,) or bool(((lengths < 0) | (lengths >= MAX_VIEW)).any()):
        raise damaged(path, f"its lengths are not {items} numbers")
    return _ends(lengths)


def damaged(path: Path, reason: str) -> ValueError:
    """Return the error for a file that cannot be used."""
    return ValueError(f"{path} is damaged ({reason}): delete it, and write again what is then missing")


def tensor_bytes(tensor: Tensor) -> bytes:
    """Return the values of a tensor as bytes, without NumPy."""
    tensor = tensor.detach().cpu().contiguous()
    return ctypes.string_at(tensor.data_ptr(), tensor.nbytes) if tensor.nbytes else b""


class Index:
    """Map of (clip id, view) to a place, in two sorted arrays: Python objects would take 10 times as much."""

    def __init__(self) -> None:
        self._number: dict[str, int] = {}
        self._keys = self._places = torch.empty(0, dtype=torch.int64)
        self._new: list[tuple[Tensor, Tensor]] = []

    def __len__(self) -> int:
        self._sort()
        return len(self._keys)

    def add(self, shard: int, ids: Sequence[str], views: Tensor) -> None:
        """Add the rows of one file."""
        numbers = torch.tensor([self._number.setdefault(clip, len(self._number)) for clip in ids], dtype=torch.int64)
        self._new.append(((numbers << BITS) + views, (shard << BITS) + torch.arange(len(ids))))

    def find(self, ids: Sequence[str], views: Sequence[int]) -> list[int]:
        """Return the place of each pair, -1 where it is unknown."""
        self._sort()
        numbers = torch.tensor([self._number.get(clip, -1) for clip in ids], dtype=torch.int64)
        keys = (numbers << BITS) + torch.tensor(views, dtype=torch.int64)
        if not len(self._keys):
            return [-1] * len(ids)
        at = torch.searchsorted(self._keys, keys).clamp(max=len(self._keys) - 1)
        places: list[int] = torch.where(self._keys[at] == keys, self._places[at], -1).tolist()
        return places

    def twice(self) -> list[tuple[tuple[str, int], int, int]]:
        """Take in what was added since the last call; return the pairs that were there already and both places."""
        keys, first, other = self._sort()
        names = list(self._number) if len(keys) else []
        return [
            ((names[key >> BITS], key % 2**BITS), one, two)
            for key, one, two in zip(keys.tolist(), first.tolist(), other.tolist(), strict=True)
        ]

    def views(self, clip: str) -> list[int]:
        """Return all views of a clip, ascending."""
        number = self._number.get(clip, -1)
        views: list[int] = (self._keys[self._keys >> BITS == number] % 2**BITS).tolist()
        return views

    def _sort(self) -> tuple[Tensor, Tensor, Tensor]:
        """Merge what is new; return the keys that come more than once, the place that counts, and the other one."""
        if not self._new:
            return self._keys[:0], self._keys[:0], self._keys[:0]
        keys, places = (torch.cat(parts) for parts in zip((self._keys, self._places), *self._new, strict=True))
        keys, order = torch.sort(keys, stable=True)
        places = places[order]
        first = torch.ones_like(keys, dtype=torch.bool)  # of equal keys the one found earlier counts
        first[1:] = keys[1:] != keys[:-1]
        self._keys, self._places, self._new = keys[first], places[first], []
        return keys[~first], self._places[first.cumsum(0) - 1][~first], places[~first]
