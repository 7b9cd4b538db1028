"""Seeds, appearances in exact shares, and checks of settings, for the synthetic data sets."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Generator


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


def draw_appearances(
    label: str, count: int, classes: Sequence[str], cue: float | None, *, seed: tuple[int, str]
) -> list[str]:
    """Draw the appearances of `count` objects of a class, in exact shares and random order.

    With a `cue`, that fraction looks like `label` and the rest like the other classes in equal shares; without one
    all classes have equal shares.
    """
    generator = Generator().manual_seed(seed_of(*seed, label))
    own = 0 if cue is None else round(cue * count)
    rest = [name for name in classes if cue is None or name != label]
    order = torch.randperm(len(rest), generator=generator).tolist()
    looks = [label] * own + [rest[order[i % len(rest)]] for i in range(count - own)]
    return [looks[i] for i in torch.randperm(count, generator=generator).tolist()]
