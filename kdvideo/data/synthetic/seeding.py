"""Seeds and checks of settings, for the synthetic data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path


def check(name: str, value: object, valid: bool, expected: str) -> None:
    """Raise `ValueError` unless a setting is valid."""
    if not valid:
        raise ValueError(f"{name} must be {expected}, got {value!r}")


def check_counts(name: str, counts: Mapping[str, int]) -> None:
    """Raise `ValueError` unless every split has a name that a folder can have, and a number above 0."""
    valid = all(isinstance(n, int) and n > 0 and split == Path(split).name for split, n in counts.items())
    check(name, counts, bool(counts) and valid, "{name of a split: whole number above 0}")


def seed_of(*parts: object) -> int:
    """Compute a seed that no other parts have."""
    return int.from_bytes(hashlib.sha256(repr(parts).encode()).digest()[:6], "big")
