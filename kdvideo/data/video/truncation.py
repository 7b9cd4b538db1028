"""Whether a video file ends before its container says so: the end of an interrupted download or copy is missing."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

TAIL = 2**18
ZEROS = 2**14  # so many at the end are no video: a download was given its room and not its contents
ASF_PROPERTIES = bytes.fromhex("a1dcab8c47a9cf118ee400c00c205365")


def is_cut(path: str | os.PathLike[str], container: str, *, raw_sound: bool = False) -> bool:
    """Return whether a file is shorter than its container's own sizes need.

    One rule holds for all containers: a file is cut short if its outermost unit of known size runs past its end, or if
    it ends in zeros where video should be, as a broken download does whose room was reserved. The number of frames in a
    header and a duration are not asked: plain files announce more frames than they hold (empty chunks of AVI), and a
    sound track may outlast the pictures.

    | container | unit |
    |---|---|
    | mp4, mov | samples of the table (counted where the packets are read), here the fragments |
    | avi | the list of frames or the index of each RIFF part |
    | mkv, webm | the segment; one of unknown size (live recordings) is never cut |
    | ts, mts, m2ts | the last packet of 188, 192 or 204 bytes |
    | mpg, vob | the last packet of the last pack |
    | ogg | the last page |
    | flv | the last tag |
    | asf, wmv | the file itself, whose size the header gives |
    | gif | the end mark |

    A stream without an outer size (ts, mpg, ogg, flv) that was cut between two of its units cannot be told from a
    shorter one.

    Args:
        path: the file.
        container: name of its format, as FFmpeg gives it.
        raw_sound: whether it has sound that is not coded, of which silence is zeros: an end of zeros is none then.
    """
    for name, ends_early in RULES.items():
        if container.startswith(name):
            with open(path, "rb") as file:
                size = os.fstat(file.fileno()).st_size
                return ends_early(file, size) or (not raw_sound and _zeros_where_video_should_be(file, size, name))
    return False


def _zeros_where_video_should_be(file: BinaryIO, size: int, name: str) -> bool:
    return _ends_in_zeros(file, size) and (name != "mov" or _ends_in_samples(file, size))


def _ends_in_zeros(file: BinaryIO, size: int) -> bool:
    return size > ZEROS and not any(_read(file, size - ZEROS, ZEROS))


def _mp4(file: BinaryIO, size: int) -> bool:
    at, boxes = _boxes(file, size)
    return b"moof" in boxes and at > size


def _ends_in_samples(file: BinaryIO, size: int) -> bool:
    """Return whether the last box holds samples, and no padding."""
    at, boxes = _boxes(file, size)
    return boxes[-1:] == [b"mdat"] or (b"moof" in boxes and at < size)


def _boxes(file: BinaryIO, size: int) -> tuple[int, list[bytes]]:
    """Return where the outermost boxes end, and their names; what follows may be no box."""
    at, names = 0, []
    while at + 8 <= size:
        head = _read(file, at, 16)
        length = int.from_bytes(head[:4], "big")
        length = int.from_bytes(head[8:], "big") if length == 1 else length
        if length < 8:  # to the end of the file, or no box
            break
        names.append(head[4:8])
        at += length
    return at, names


def _avi(file: BinaryIO, size: int) -> bool:
    at = 0
    while at + 12 <= size:
        head = _read(file, at, 12)
        name, length = head[:4], int.from_bytes(head[4:8], "little")
        if name == b"RIFF":
            at += 12
            continue
        if (name == b"LIST" and length < 4) or name not in (b"LIST", b"idx1", b"JUNK"):
            return False
        at += 8 + length + length % 2
    return at > size + 1


def _matroska(file: BinaryIO, size: int) -> bool:
    at = 0
    while at < size:
        head = _read(file, at, 12)
        width = 9 - head[0].bit_length()
        if width > 4 or len(head) <= width:
            return False
        wide = 9 - head[width].bit_length()
        length = int.from_bytes(head[width : width + wide], "big") & ~(1 << 7 * wide)
        at += width + wide + length
        if head[:width] == b"\x18\x53\x80\x67":
            return length != 2 ** (7 * wide) - 1 and at > size
    return False


def _transport_stream(file: BinaryIO, size: int) -> bool:
    head = _read(file, 0, 2048)
    for stride in (188, 192, 204):
        for begin in range(stride):
            if len(head) > begin + 4 * stride and set(head[begin::stride]) == {0x47}:
                before = 4 if stride == 192 else 0  # the time of arrival
                return (size - begin + before) % stride != 0
    return False


def _program_stream(file: BinaryIO, size: int) -> bool:
    tail = _read(file, max(size - TAIL, 0), TAIL)
    at = tail.rfind(b"\0\0\1\xba")
    if at < 0 or at + 14 > len(tail):
        return at >= 0
    at += 14 + tail[at + 13] % 8 if tail[at + 4] >> 6 == 1 else 12
    while at + 6 <= len(tail):
        if tail[at : at + 3] != b"\0\0\1" or tail[at + 3] == 0xB9:  # padding, or the end mark
            return False
        at += 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
    return at != len(tail)


def _ogg(file: BinaryIO, size: int) -> bool:
    tail = _read(file, max(size - TAIL, 0), TAIL)
    at = tail.rfind(b"OggS")
    page = tail[at:] if at >= 0 else b""
    if at < 0 or len(page) < 27:
        return at >= 0
    return len(page) < 27 + page[26] + sum(page[27 : 27 + page[26]]) or len(page) < 27 + page[26]


def _flv(file: BinaryIO, size: int) -> bool:
    length = int.from_bytes(_read(file, size - 4, 4), "big")
    tag = _read(file, max(size - 4 - length, 0), 4)
    return int.from_bytes(tag[1:4], "big") + 11 != length


def _asf(file: BinaryIO, size: int) -> bool:
    head = _read(file, 0, TAIL)
    at = head.find(ASF_PROPERTIES)
    return at >= 0 and int.from_bytes(head[at + 40 : at + 48], "little") > size


def _gif(file: BinaryIO, size: int) -> bool:
    return not _read(file, max(size - 1024, 0), 1024).rstrip(b"\0").endswith(b";")


def _read(file: BinaryIO, at: int, count: int) -> bytes:
    file.seek(at)
    return file.read(count)


# By the beginning of FFmpeg's name; "mpegts" must be asked before "mpeg".
RULES: dict[str, Callable[[BinaryIO, int], bool]] = {
    "mov": _mp4,
    "avi": _avi,
    "matroska": _matroska,
    "mpegts": _transport_stream,
    "mpeg": _program_stream,
    "ogg": _ogg,
    "flv": _flv,
    "asf": _asf,
    "gif": _gif,
}
