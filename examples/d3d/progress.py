"""The progress of a stage: a bar on a terminal, and a line for each tenth in a log file."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from typing import Any

from accelerate import PartialState
from accelerate.utils import tqdm


def bar(items: Iterable[Any] | None = None, **options: Any) -> Any:
    """Return tqdm's bar where somebody sees it, else `Lines`; both on the first process of a machine only.

    Args:
        items: to go through; None: the caller counts.
        options: of tqdm: total, initial, desc, unit, leave.
    """
    return tqdm(items, **options) if sys.stderr.isatty() else Lines(items, **options)


def left(began: float, done: int, remaining: int) -> str:
    """Return how long the remaining items take at the pace since `began` of `time.monotonic()`, as "4:05"."""
    minutes, seconds = divmod(round((time.monotonic() - began) / done * remaining), 60)
    return f"{minutes}:{seconds:02d}"


class Lines:
    """What the recipe needs of tqdm, printed as a line whenever another tenth is done.

    Args:
        items: to go through.
        total: their number; None: `len(items)`.
        initial: how many are done already.
        desc: the first words of a line.
        unit: of the items.
        leave: ignored.
    """

    def __init__(
        self,
        items: Any = None,
        *,
        total: int | None = None,
        initial: int = 0,
        desc: str = "",
        unit: str = "batch",
        leave: bool = True,
    ) -> None:
        self.items, self.total = items, len(items) if total is None else total
        self.first, self.done, self.desc, self.values = initial, initial, desc, ""
        self.units = unit + ("es" if unit.endswith("ch") else "s")
        self.began, self.shown = time.monotonic(), PartialState().is_local_main_process

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __iter__(self) -> Iterator[Any]:
        for item in self.items:
            yield item
            self.update()

    def __len__(self) -> int:
        return self.total

    def set_postfix(self, values: dict[str, str], *, refresh: bool = True) -> None:
        """Remember what the next line says."""
        self.values = "".join(f", {name} {value}" for name, value in values.items())

    def update(self) -> None:
        """Count an item, and print a line if it completes a tenth."""
        self.done += 1
        tenths = 10 * self.done // self.total
        if self.shown and tenths > 10 * (self.done - 1) // self.total:
            time_left = left(self.began, self.done - self.first, self.total - self.done)
            line = f"{self.desc}: {10 * tenths} % of {self.total} {self.units}, {time_left} left{self.values}"
            print(line, file=sys.stderr, flush=True)
