"""Which trained networks stand behind a row of a table: two rows that share one are compared by seed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from benchmarks.paper.decoding import Features
from benchmarks.paper.methods import Method
from benchmarks.paper.tables.table import Row


def networks(of: Iterable[Any]) -> set[tuple[Method, int]]:
    """Return the networks, teachers among them, behind what rows measure: the method, and how far its seed is on."""
    parts = [one.method if isinstance(one, Features) else one for one in of]
    wanted, found = [(one, 0) for one in parts if isinstance(one, Method)], set()
    while wanted:
        method, seed = wanted.pop()
        found.add((method, seed))
        if method.teacher:
            wanted.append((method.teacher, seed + (method.teacher.stream == method.stream)))
    return found


def shared(first: Row, second: Row) -> bool:
    """Return whether some trained network stands behind both rows at every seed."""
    return not networks(first.of).isdisjoint(networks(second.of))
