"""The record of a table: results/<table>_<scale>.json, rewritten after every row and seed.

Several processes may write one record: each adds what it measured under a lock.
"""

from __future__ import annotations

import fcntl
import json
import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, is_dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

from benchmarks.paper.lab import Lab
from benchmarks.paper.tables.scales import Draw, Scale
from benchmarks.paper.tables.table import Measured, Record, Row, Table
from examples.d3d import comparison
from examples.d3d.config import Config
from kdvideo.files import write_atomic

INCIDENTAL = {
    *("seeds", "work_dir", "output_dir", "train", "test", "root", "weights", "method"),
    *("flow_dir", "num_workers", "in_memory", "checkpointing_steps", "with_tracking", "gradient_accumulation_steps"),
}


class RecordFile:
    """One record on disk.

    Raises:
        ValueError: on opening, where the file holds values of other settings.
    """

    def __init__(self, table: Table, scale: Scale, folder: Path) -> None:
        self.table, self.scale = table, scale
        self.path = folder / f"{table.name}_{scale.name}.json"

    @property
    def markdown(self) -> Path:
        """Return where its table goes."""
        return self.path.with_suffix(".md")

    def read(self) -> Record:
        """Read the record, or make an empty one."""
        if self.path.exists():
            return self._known()
        data = self.scale.data.get(self.table.part)
        about = {"table": self.table.name, "scale": self.scale.name, "data": data.text if data else None}
        return {**about, "metric": asdict(self.table.metric), "settings": None, "environments": [], "rows": {}}

    def _known(self) -> Record:
        try:
            found: Record = json.loads(self.path.read_text())
            names = found["table"], found["scale"]
            values = [entry["value"] + 0.0 for row in found["rows"].values() for entry in row["seeds"].values()]
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            advice = "move it and measure anew"
            raise ValueError(f"{self.path} must be the record of a table, got {error!r}: {advice}") from None
        if names != (self.table.name, self.scale.name) or not all(map(math.isfinite, values)):
            wanted = f"finite values of {self.table.name} at scale {self.scale.name}"
            raise ValueError(f"{self.path} must hold {wanted}, got {' at scale '.join(map(str, names))}")
        return found

    def check(self, lab: Lab) -> None:
        """Raise `ValueError` unless what is recorded was measured with these settings."""
        recorded = self.read()["settings"]
        differ = list(_differences(recorded, self._settings(lab))) if recorded else []
        if differ:
            raise ValueError(
                f"{self.path} was measured with other settings ({'; '.join(differ)}); move it, or choose --results"
            )

    def missing(self, draws: Sequence[Draw], row: str) -> list[Draw]:
        """Return the draws at which a row has no value yet.

        Raises:
            ValueError: its values are those of another method.
        """
        known = self.read()["rows"].get(row, {"seeds": {}})
        of = described(self.table.row(row))
        if known.get("of", of) != of:
            differ = "; ".join(_differences({"of": known["of"]}, {"of": of})) or "others"
            raise ValueError(f"{self.path}: {row} was measured with another method ({differ}); remove the row there")
        return [draw for draw in draws if draw.key not in known["seeds"]]

    def add(self, row: str, draw: Draw, measured: Measured, environment: dict[str, Any]) -> Record:
        """Write one value and the mean over all that the row has now."""
        with self._alone():
            record = self.read()
            record["settings"] = record["settings"] or self._settings(draw.lab)
            of = described(self.table.row(row))
            entry = measured._asdict() | {"environment": _index(record["environments"], environment)}
            seeds = record["rows"].setdefault(row, {"of": of, "seeds": {}})["seeds"]
            seeds[draw.key] = entry
            summary = comparison.summarize(values(record, row))
            record["rows"][row] |= {"mean": summary.mean, "standard_error": summary.standard_error}
            self._write(record)
        return record

    def note(self, name: str, value: Any) -> Record:
        """Write something about the whole table."""
        with self._alone():
            record = self.read() | {name: value}
            self._write(record)
        return record

    def _settings(self, lab: Lab) -> dict[str, Any]:
        extra: dict[str, Any] = json.loads(json.dumps(self.table.settings))
        return settings(lab.config) | extra | self.scale.clips_for_record(lab)

    def _write(self, record: Record) -> None:
        order = [row.name for row in self.table.rows]
        record["rows"] = {name: record["rows"][name] for name in order if name in record["rows"]}
        write_atomic(self.path, (json.dumps(record, indent=1) + "\n").encode())

    @contextmanager
    def _alone(self) -> Iterator[None]:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        folder = os.open(self.path.parent, os.O_RDONLY)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)


def values(record: Record, row: str) -> dict[str, float]:
    """Return seed -> value of a row; empty where it was not run.

    The folds of one seed, "fold 0 seed 7", are one value, their mean, once all are there.
    """
    by_seed: dict[str, list[float]] = {}
    for key, entry in record["rows"].get(row, {}).get("seeds", {}).items():
        by_seed.setdefault(key.split()[-1], []).append(entry["value"])
    parts = max(map(len, by_seed.values()), default=0)
    return {seed: fmean(found) for seed, found in by_seed.items() if len(found) == parts}


def described(row: Row) -> list[Any]:
    """Return what a row measures, as JSON holds it."""
    found: list[Any] = json.loads(json.dumps(row.of, default=_plain))
    return found


def _plain(value: Any) -> Any:
    return asdict(value) if is_dataclass(value) and not isinstance(value, type) else str(value)


def settings(config: Config) -> dict[str, Any]:
    """Return the settings that decide a value, as JSON holds them; the clips are the scale's."""
    every = json.loads(json.dumps(asdict(config), default=str))
    return {name: value for name, value in every.items() if name not in INCIDENTAL}


def _differences(known: dict[str, Any], wanted: dict[str, Any], inside: str = "") -> Iterator[str]:
    """Settings that both know and that differ: one that was added later had its default before."""
    for name in known.keys() & wanted.keys():
        if isinstance(known[name], dict) and isinstance(wanted[name], dict):
            yield from _differences(known[name], wanted[name], f"{inside}{name}.")
        elif known[name] != wanted[name]:
            yield f"{inside}{name} {known[name]}, not {wanted[name]}"


def _index(environments: list[dict[str, Any]], environment: dict[str, Any]) -> int:
    if environment not in environments:
        environments.append(environment)
    return environments.index(environment)
