"""Tables of text as users have them: separated by commas, tabs, semicolons or spaces, with or without a header."""

from __future__ import annotations

import codecs
import csv
import gc
import io
import os
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from kdvideo.files import LONGEST_LINE, read_limited

LARGEST_LIST = 2**28  # bytes
Report = Callable[[int, str], None]
SEPARATORS = (",", "\t", ";", " ")
SPACES = " \t\v\f\x1c\x1d\x1e\x1f"
COLUMNS = ["path", "label", "start", "end"]
SAMPLE = 1000  # lines by which the separator is chosen
# What columns are called, by letters and digits alone, in the singular; of two that a header has, the one named earlier
# here counts.
NAMES = {
    "path": "path file filename filepath video videopath videoname videofile videofilepath clip clippath clipname "
    "relpath relativepath fullpath abspath name videoid clipid youtubeid id",
    "label": "label class classname labelname category categoryname action actionname actionlabel videolabel activity "
    "tag target groundtruth verb y classid labelid categoryid actionid classindex labelindex classidx labelidx",
    "start": "start starttime timestart startsec startsecond begin tstart",
    "end": "end endtime timeend endsec endsecond stop tend",
}
KNOWN = {name: tuple(others.split()) for name, others in NAMES.items()}
EXPECTED = "expected path,label or path,label,start,end"


@dataclass
class Table:
    """Columns `path` and `label`, and perhaps `start` and `end`, of rows; `lines` are their numbers in the file."""

    lines: Sequence[int] = ()
    columns: dict[str, list[str]] = field(default_factory=lambda: {"path": [], "label": []})


def read_table(file: str | os.PathLike[str], report: Report) -> Table:
    """Read the columns of a list of clips.

    The separator is the one that most lines have, a comma before a tab, a semicolon and spaces. Between spaces a path
    may hold more of them, for the label comes last; rows `path number label`, as lists of folders of frames have
    them, are known by their two numbers. The first row is a header where it names a path and a label by one of
    their usual names. Blank lines and lines of one field that begin with `#` are skipped.

    Args:
        file: UTF-8, or UTF-16 with a byte order mark.
        report: called with the line number (0: the whole file) of what cannot be read, and why.
    """
    collects = gc.isenabled()
    gc.disable()  # a list for each row is made, and none is garbage: looking through them takes most of the time
    try:
        text = decoded(read_limited(Path(file), LARGEST_LIST))
        if hint := re.match(r"sep=.(?=\r?\n)", text):  # for Excel
            text = text[hint.end() :]
        _check_lines(text)
        return _plain(text) or _by_rows(*_rows(text), report)
    except (OSError, ValueError, csv.Error) as error:
        report(0, f"cannot be read: {error}")
        return Table()
    finally:
        if collects:
            gc.enable()


def _check_lines(text: str) -> None:
    """Raise an error where a line is longer than any path: it would be a name of that size."""
    for number, line in enumerate(text.split("\n") if len(text) > LONGEST_LINE else (), 1):
        if len(line) > LONGEST_LINE:
            raise ValueError(f"line {number} has more than {LONGEST_LINE:,} characters")


def decoded(data: bytes) -> str:
    """Decode UTF-8 or marked UTF-16; UnicodeError names the line that is neither."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, byte = data.count(b"\n", 0, error.start) + 1, data[error.start]
        raise UnicodeError(f"line {line} is not UTF-8 (byte 0x{byte:02x}): save the list as UTF-8") from error


def header(values: Sequence[str]) -> list[str] | None:
    """Return the columns that a header names, others as `""`; None for a row that names no path or no label."""
    plain = [_singular(re.sub("[^a-z0-9]", "", value.lower())) for value in values]
    names = [""] * len(plain)
    for name, others in KNOWN.items():
        found = next((other for other in others if other in plain), None)
        if found is not None:
            names[plain.index(found)] = name
    return names if {"path", "label"} <= set(names) else None


def _singular(name: str) -> str:
    return name.removesuffix("es" if name.endswith("sses") else "" if name.endswith("ss") else "s")


def _plain(text: str) -> Table | None:
    """Read a table with an equal number of unquoted fields in each row, as programs write it; None for others.

    No row becomes an object of its own, which makes it several times as quick as `_by_rows`; the outcome is the same.
    """
    text = text.removesuffix("\n")
    lines = text.split("\n")
    separator = _separator(lines[:1])
    names = header(lines[0].split(separator))
    first, names = (0, COLUMNS[: lines[0].count(separator) + 1]) if names is None else (1, names)
    fields = text.replace("\n", separator).split(separator)
    if (
        '"' in text
        or "\r" in text
        or "" in lines
        or {line.count(separator) for line in lines} != {len(names) - 1}
        or (first == 0 and (len(names) not in (2, 4) or _bare(fields)))
        or (separator == " " and ("" in fields or len(names) > 2 or _has_any(text, SPACES[1:])))
    ):
        return None
    columns = {name: fields[first * len(names) + i :: len(names)] for i, name in enumerate(names) if name}
    if not text.isascii() or _has_any(text, SPACES):
        columns = {name: list(map(str.strip, column)) for name, column in columns.items()}
    return Table(range(1 + first, len(lines) + 1), columns)


def _by_rows(rows: list[list[str]], numbers: list[int], report: Report) -> Table:
    begin = next((i for i, row in enumerate(rows) if not _empty(row)), len(rows))
    names = header(rows[begin]) if begin < len(rows) else None
    if names is not None:
        begin += 1
    rows, numbers = rows[begin:], numbers[begin:]
    if names is None:
        _suspect(rows, numbers, report)
    names = names or COLUMNS
    rows, numbers = _even(rows, numbers, names, report)
    columns = dict(zip(names, zip(*rows, strict=True), strict=True)) if rows else {}
    return Table(numbers, {name: list(map(str.strip, columns.get(name, ()))) for name in KNOWN if name in names})


def _rows(text: str) -> tuple[list[list[str]], list[int]]:
    """Return the fields of every row, and its line number."""
    if '"' in text:
        separator = _separator(text.split("\n", SAMPLE)[:SAMPLE])
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
        pairs = [(row, reader.line_num) for row in reader]
        return [row for row, _ in pairs], [number for _, number in pairs]
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    lines = text.removesuffix("\n").split("\n")
    separator = _separator(lines[:SAMPLE])
    rows = _by_spaces(lines) if separator == " " else [line.split(separator) for line in lines]
    return rows, list(range(1, len(rows) + 1))


def _separator(lines: Sequence[str]) -> str:
    def fits(separator: str) -> int:
        return sum(len(line.split(None if separator == " " else separator)) > 1 for line in lines)

    return max(SEPARATORS, key=fits)  # the first of equal ones


def _by_spaces(lines: Sequence[str]) -> list[list[str]]:
    rows = [line.split() for line in lines]
    names = next((header(row) for row in rows if row), None)
    if names is not None and names[0] == "path":
        return [line.rsplit(None, len(names) - 1) for line in lines]
    full = [row for row in rows if row]
    if names is None and all(len(row) == 3 and row[1].isdecimal() and row[2].isdecimal() for row in full):
        return [[row[0], row[2]] if row else [] for row in rows]
    return rows if names else [line.rsplit(None, 1) for line in lines]


def _suspect(rows: list[list[str]], numbers: list[int], report: Report) -> None:
    """Report a first row that seems to be a header of other names."""
    if len(rows) > 1 and _bare(rows[0]) and not any(_bare(row) for row in rows[1:] if not _empty(row)):
        known = "; ".join(f"{name}: {', '.join(KNOWN[name][:4])}, ..." for name in ("path", "label"))
        report(numbers[0], f"looks like a header, but does not name a path and a label ({known}): {rows[0]}")


def _bare(row: Sequence[str]) -> bool:
    """Return whether the first field of a row has neither a folder nor an extension."""
    return not _has_any(row[0], "./\\")


def _has_any(text: str, characters: str) -> bool:
    return any(map(text.__contains__, characters))


def _even(
    rows: list[list[str]], numbers: list[int], names: Sequence[str], report: Report
) -> tuple[list[list[str]], list[int]]:
    """Return the rows of a known width, filled up to one width, and report the others."""
    widths = {len(names)} | ({2, 4} & set(range(len(names) + 1)) if list(names[:2]) == ["path", "label"] else set())
    kept = []
    for row, number in zip(rows, numbers, strict=True):
        if len(row) in widths:
            kept.append((row + [""] * (len(names) - len(row)), number))
        elif not _empty(row):
            shape = EXPECTED if set(names) <= set(KNOWN) else f"expected {len(names)} fields"
            report(number, f"{shape}, got {len(row)} field(s)")
    return [row for row, _ in kept], [number for _, number in kept]


def _empty(row: Sequence[str]) -> bool:
    return not any(map(str.strip, row)) or (len(row) == 1 and row[0].lstrip().startswith("#"))
