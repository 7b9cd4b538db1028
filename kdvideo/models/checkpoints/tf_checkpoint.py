"""Reading of TensorFlow's checkpoint files (prefix.index, prefix.data-00000-of-0000N) without TensorFlow.

The index is a LevelDB table whose keys are variable names and whose values are small protocol buffers (type,
shape, shard, offset, size); the data files are raw arrays. Nothing in the files is executed.
"""

import math
import re
import struct
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor

from kdvideo.files import check_regular, read_limited

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
DTYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
SLOTS = (
    r"/(Momentum|Adam|AMSGrad|RMSProp|Adagrad|Ftrl|ExponentialMovingAverage)(_\d+)?$|(^|/)(global_step|beta[12]_power)$"
)
# An index of a thousand variables has 100 kB, three files and names of 100 letters. Far more is meant to take memory.
LARGEST_INDEX, LONGEST_NAME, MOST_SHARDS, MOST_AXES = 2**22, 2**12, 10_000, 16
VARINT = 10  # bytes of a 64-bit number
Value = TypeVar("Value")
Message = dict[int, list[int | bytes]]  # field number -> values, in order


def read_tf(prefix: str | Path) -> dict[str, Tensor]:
    """Read all variables of a TensorFlow checkpoint, in TensorFlow's layout.

    Args:
        prefix: the path without ".index", e.g. "model.ckpt" for model.ckpt.index and model.ckpt.data-00000-of-00001.

    Returns:
        Name -> tensor, on the CPU.

    Raises:
        FileNotFoundError: an index or data file is missing.
        ValueError: a file is truncated or foreign, or holds variables that are not plain numbers. Lengths and the
            index are checked; the checksums of the data are not.

    Examples:
        >>> state = from_tf_slim(read_tf("model.ckpt"), models.s3dg())  # doctest: +SKIP
    """
    prefix = Path(prefix)
    index = prefix.with_name(prefix.name + ".index")
    check_regular(index)  # its error is no ValueError where there is none
    try:
        entries = {key: _message(value) for key, value in _table(read_limited(index, LARGEST_INDEX))}
        shards = _int(entries.pop(b""), 1, default=1)
        if not 1 <= shards <= MOST_SHARDS:
            raise ValueError(f"it must name 1 to {MOST_SHARDS:,} data files, got {shards:,}")
        variables = {key.decode(): _entry(message) for key, message in entries.items()}
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{index}: not a TensorFlow checkpoint index, or damaged") from error
    except ValueError as error:
        raise ValueError(f"{index}: {error}") from error
    files = {i: prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{shards:05d}") for i in _used(variables.values())}
    _check_files(index, files, variables, shards)
    return {name: _read(files[place.shard], place) for name, place in variables.items()}


class _Place(NamedTuple):
    """Where the values of a variable are, and what they are."""

    dtype: torch.dtype
    shape: list[int]
    shard: int
    offset: int
    size: int


def _used(variables: Iterable[_Place]) -> list[int]:
    return sorted({place.shard for place in variables})


def _check_files(index: Path, files: Mapping[int, Path], variables: Mapping[str, _Place], shards: int) -> None:
    """Raise an error unless the data files are plain ones beside the index, and hold what it says, once."""
    sizes = {}
    for shard, file in files.items():
        if shard >= shards:
            raise ValueError(f"{index}: damaged: it names data file {shard} of {shards}")
        check_regular(file)
        if file.resolve().parent != index.resolve().parent:  # in the Hub's cache both are links into one folder
            raise ValueError(f"{file}: must lie beside its index, got a link to another folder")
        sizes[shard] = file.stat().st_size
    for name, place in variables.items():
        if place.offset + place.size > sizes[place.shard]:
            raise ValueError(f"{files[place.shard]}: too short for {name} (truncated, or not the file of this index)")
    claimed = sum(place.size for place in variables.values())
    if claimed > sum(sizes.values()):
        raise ValueError(f"{index}: its variables claim {claimed:,} bytes, the data files have {sum(sizes.values()):,}")


def _read(file: Path, place: _Place) -> Tensor:
    data = bytearray(place.size)
    with open(file, "rb") as stream:
        stream.seek(place.offset)
        read = stream.readinto(data)
    if read != place.size:
        raise ValueError(f"{file}: changed while it was read")
    return torch.frombuffer(data, dtype=place.dtype).reshape(place.shape)


def drop_optimizer_state(variables: Mapping[str, Value]) -> dict[str, Value]:
    """Leave out what the optimizer keeps: momenta, moving averages of the weights, step counts.

    To use the moving averages instead of the weights, put them under the weights' names first:
    `{name.removesuffix("/ExponentialMovingAverage"): value for name, value in sorted(variables.items())}`.

    Args:
        variables: name -> value, as `read_tf` gives them.

    Returns:
        The other variables, in their order.

    Examples:
        >>> list(drop_optimizer_state({"conv/w": 1, "conv/w/Momentum": 2, "global_step": 3}))
        ['conv/w']
    """
    return {name: value for name, value in variables.items() if not re.search(SLOTS, name)}


def _entry(message: Message) -> _Place:
    """Read a BundleEntryProto."""
    code = _int(message, 1)
    if code not in DTYPES or 7 in message:
        raise ValueError(f"holds a variable of type {code} or a sliced one; only plain numeric ones are read")
    dims = [dim for shape in message.get(2, []) for dim in _message(_bytes(shape)).get(2, [])]
    if len(dims) > MOST_AXES:
        raise ValueError(f"damaged: a variable has {len(dims)} axes")
    shape = [_int(_message(_bytes(dim)), 1) for dim in dims]
    dtype, size = DTYPES[code], _int(message, 5)
    if math.prod(shape) * dtype.itemsize != size or size == 0:
        raise ValueError(f"damaged: a variable of shape {shape} and type {dtype} has {size} bytes")
    return _Place(dtype, shape, _int(message, 3), _int(message, 4), size)


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the (key, value) pairs of a LevelDB table."""
    if len(data) < FOOTER or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise ValueError("not a TensorFlow checkpoint index, or truncated")
    footer, position = data[-FOOTER:], 0
    for _ in range(2):  # the handle of an unused block
        _, position = _varint(footer, position)
    left = len(data)  # blocks do not overlap
    for _, handle in _block(data, footer[position:]):
        left -= _varint(handle, _varint(handle, 0)[1])[0]
        if left < 0:
            raise ValueError("damaged: its blocks overlap")
        yield from _block(data, handle)


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the (key, value) pairs of one block; of a key only what differs from the key before is stored."""
    offset, position = _varint(handle, 0)
    size, _ = _varint(handle, position)
    if offset + size > len(data):
        raise ValueError("truncated")
    block = data[offset : offset + size + 5]
    if len(block) < size + 5 or size < 4:
        raise ValueError("truncated")
    if block[size] != 0:
        raise ValueError("compressed index blocks are not read")
    if _masked_crc32c(block[: size + 1]) != struct.unpack_from("<I", block, size + 1)[0]:
        raise ValueError("damaged: a checksum is wrong")
    (restarts,) = struct.unpack_from("<I", block, size - 4)
    position, end, key = 0, size - 4 - 4 * restarts, b""
    while position < end:
        shared, position = _varint(block, position)
        unshared, position = _varint(block, position)
        length, position = _varint(block, position)
        if shared + unshared > LONGEST_NAME:
            raise ValueError(f"damaged: a name has more than {LONGEST_NAME} bytes")
        key = key[:shared] + block[position : position + unshared]
        position += unshared
        yield key, block[position : position + length]
        position += length


def _message(data: bytes) -> Message:
    """Return the fields of a protocol buffer, undecoded."""
    fields: Message = {}
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        value: int | bytes
        kind = tag & 7
        if kind == 0:
            value, position = _varint(data, position)
        else:
            length = {1: 8, 5: 4}.get(kind, 0)
            if kind == 2:
                length, position = _varint(data, position)
            elif not length:
                raise ValueError("damaged: an unknown field type")
            value, position = data[position : position + length], position + length
        fields.setdefault(tag >> 3, []).append(value)
    return fields


def _int(message: Message, field: int, default: int = 0) -> int:
    value = message.get(field, [default])[-1]
    if not isinstance(value, int):
        raise ValueError("damaged: a number was expected")
    return value


def _bytes(value: int | bytes) -> bytes:
    if not isinstance(value, bytes):
        raise ValueError("damaged: a message was expected")
    return value


def _varint(data: bytes, position: int) -> tuple[int, int]:
    """Return (value, next position) of a little-endian base-128 number."""
    value = 0
    for count in range(VARINT):
        byte = data[position + count]
        value |= (byte & 127) << 7 * count
        if byte < 128:
            return value, position + count + 1
    raise ValueError("damaged: a number has more than 64 bits")


def _crc32c_table() -> list[int]:
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


CRC32C = _crc32c_table()


def _masked_crc32c(data: bytes) -> int:
    """Return LevelDB's checksum: CRC-32C, rotated by 15 bits and offset."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc = CRC32C[(crc ^ byte) & 255] ^ crc >> 8
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF
