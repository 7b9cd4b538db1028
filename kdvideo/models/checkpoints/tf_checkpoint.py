"""Reading of TensorFlow's checkpoint files (prefix.index, prefix.data-00000-of-0000N) without TensorFlow.

The index is a LevelDB table whose keys are variable names and whose values are small protocol buffers (type,
shape, shard, offset, size); the data files are raw arrays. Nothing in the files is executed.
"""

import re
import struct
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor

MAGIC = 0xDB4775248B80FB57
FOOTER = 48
DTYPES = {1: torch.float32, 2: torch.float64, 3: torch.int32, 9: torch.int64, 14: torch.bfloat16, 19: torch.float16}
SLOTS = (
    r"/(Momentum|Adam|AMSGrad|RMSProp|Adagrad|Ftrl|ExponentialMovingAverage)(_\d+)?$|(^|/)(global_step|beta[12]_power)$"
)
Value = TypeVar("Value")
Message = dict[int, list[int | bytes]]  # field number -> values, in order


def read_tf(prefix: str | Path) -> dict[str, Tensor]:
    """Read all variables of a TensorFlow checkpoint: name -> tensor, in TensorFlow's layout.

    Args:
        prefix: the path without ".index", e.g. "model.ckpt" for model.ckpt.index and model.ckpt.data-00000-of-00001.

    Raises:
        FileNotFoundError: an index or data file is missing.
        ValueError: a file is truncated or foreign, or holds variables that are not plain numbers. Lengths and the
            index are checked; the checksums of the data are not.

    Examples:
        >>> state = from_tf_slim(read_tf("model.ckpt"), models.s3dg())  # doctest: +SKIP
    """
    prefix = Path(prefix)
    index = prefix.with_name(prefix.name + ".index")
    try:
        entries = {key: _message(value) for key, value in _table(index.read_bytes())}
        shards = _int(entries.pop(b""), 1, default=1)
        variables = {key.decode(): _entry(message) for key, message in entries.items()}
    except (IndexError, KeyError, struct.error, UnicodeDecodeError) as error:
        raise ValueError(f"{index}: not a TensorFlow checkpoint index, or damaged") from error
    except ValueError as error:
        raise ValueError(f"{index}: {error}") from error
    files = [prefix.with_name(f"{prefix.name}.data-{i:05d}-of-{shards:05d}") for i in range(shards)]
    data = [file.read_bytes() for file in files]
    tensors = {}
    for name, (dtype, shape, shard, offset, size) in variables.items():
        if shard >= shards or offset + size > len(data[shard]):
            where = files[min(shard, shards - 1)]
            raise ValueError(f"{where}: too short for {name} (truncated, or not the file of this index)")
        flat = torch.frombuffer(bytearray(data[shard][offset : offset + size]), dtype=dtype)
        tensors[name] = flat.reshape(shape)
    return tensors


def drop_optimizer_state(variables: Mapping[str, Value]) -> dict[str, Value]:
    """Return the variables without what the optimizer keeps: momenta, moving averages of the weights, step counts.

    To use the moving averages instead of the weights, put them under the weights' names first:
    `{name.removesuffix("/ExponentialMovingAverage"): value for name, value in sorted(variables.items())}`.

    Examples:
        >>> list(drop_optimizer_state({"conv/w": 1, "conv/w/Momentum": 2, "global_step": 3}))
        ['conv/w']
    """
    return {name: value for name, value in variables.items() if not re.search(SLOTS, name)}


def _entry(message: Message) -> tuple[torch.dtype, list[int], int, int, int]:
    """Return (dtype, shape, shard, offset, size) of a BundleEntryProto."""
    code = _int(message, 1)
    if code not in DTYPES or 7 in message:
        raise ValueError(f"holds a variable of type {code} or a sliced one; only plain numeric ones are read")
    shape: list[int] = []
    for dims in message.get(2, []):
        for dim in _message(_bytes(dims)).get(2, []):
            shape.append(_int(_message(_bytes(dim)), 1))
    dtype, size = DTYPES[code], _int(message, 5)
    if torch.Size(shape).numel() * dtype.itemsize != size or size == 0:
        raise ValueError(f"damaged: a variable of shape {shape} and type {dtype} has {size} bytes")
    return dtype, shape, _int(message, 3), _int(message, 4), size


def _table(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the (key, value) pairs of a LevelDB table."""
    if len(data) < FOOTER or struct.unpack("<Q", data[-8:])[0] != MAGIC:
        raise ValueError("not a TensorFlow checkpoint index, or truncated")
    footer, position = data[-FOOTER:], 0
    for _ in range(2):  # the handle of an unused block
        _, position = _varint(footer, position)
    for _, handle in _block(data, footer[position:]):
        yield from _block(data, handle)


def _block(data: bytes, handle: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Iterate over the (key, value) pairs of one block; of a key only what differs from the key before is stored."""
    offset, position = _varint(handle, 0)
    size, _ = _varint(handle, position)
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
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return value, position


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
