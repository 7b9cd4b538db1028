"""Index files of TensorFlow checkpoints, as far as a hostile one needs them."""

import struct
from pathlib import Path

from kdvideo.models.checkpoints.tf_checkpoint import MAGIC, _masked_crc32c

Entries = list[tuple[int, bytes, bytes]]  # (bytes shared with the key before, rest of the key, value)


def varint(number: int) -> bytes:
    out = b""
    while number > 127:
        out, number = out + bytes([number & 127 | 128]), number >> 7
    return out + bytes([number])


def field(number: int, value: int | bytes) -> bytes:
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    return varint(number << 3 | 2) + varint(len(value)) + value


def variable(dims: tuple[int, ...] = (1,), *, dtype: int = 1, shard: int = 0, offset: int = 0, size: int = 4) -> bytes:
    shape = b"".join(field(2, field(1, dim)) for dim in dims)
    return field(1, dtype) + field(2, shape) + field(3, shard) + field(4, offset) + field(5, size)


def block(entries: Entries) -> bytes:
    data = b"".join(varint(s) + varint(len(k)) + varint(len(v)) + k + v for s, k, v in entries)
    data += struct.pack("<II", 0, 1)
    return data + b"\0" + struct.pack("<I", _masked_crc32c(data + b"\0"))


def write_index(path: Path, entries: Entries, *, shards: int = 1, repeats: int = 1) -> None:
    """Write an index whose one block of variables is named `repeats` times."""
    data = block([(0, b"", field(1, shards)), *entries])
    handle = varint(0) + varint(len(data) - 5)
    top = block([(0, b"z%06d" % number, handle) for number in range(repeats)])
    foot = varint(0) + varint(0) + varint(len(data)) + varint(len(top) - 5)
    path.write_bytes(data + top + foot.ljust(40, b"\0") + struct.pack("<Q", MAGIC))
