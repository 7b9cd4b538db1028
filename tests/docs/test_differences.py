"""The table of differences from the paper names flags and constants that exist."""

import dataclasses
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from benchmarks.paper.tables import running
from examples.ava import config as ava
from examples.d3d import config as recipe

PAGE = Path(__file__).resolve().parents[2] / "docs" / "d3d.md"
TABLE = PAGE.read_text().split("## Differences from the paper")[1]
NAMED = re.findall(r"`([^`]+)`", TABLE)
FLAGS = sorted({name.split()[0] for name in NAMED if name.startswith("--")})
CONSTANTS = sorted({name for name in NAMED if re.fullmatch(r"[a-z_0-9]+\.[A-Z_0-9a-z]*[A-Z_]+", name)})
PLACES = ("benchmarks.paper", "benchmarks.paper.tables", "kdvideo")


def known_flags() -> set[str]:
    """The flags of the recipes and of the tables."""
    of_tables = set(re.findall(r"--[a-z0-9.-]+", running.parser(None).format_help()))
    return of_tables | {*of_fields(recipe.Config()), *of_fields(ava.Config())}


def of_fields(settings: Any, prefix: str = "--") -> Iterator[str]:
    """The flags that tyro makes of settings."""
    for field in dataclasses.fields(settings):
        value, name = getattr(settings, field.name), prefix + field.name.replace("_", "-")
        yield from of_fields(value, f"{name}.") if dataclasses.is_dataclass(value) else [name]


def test_every_flag_exists() -> None:
    assert len(FLAGS) > 10
    assert set(FLAGS) <= known_flags()


@pytest.mark.parametrize("name", CONSTANTS)
def test_every_constant_exists(name: str) -> None:
    module, constant = name.split(".")
    found = [place for place in PLACES if importlib.util.find_spec(f"{place}.{module}")]
    assert any(hasattr(importlib.import_module(f"{place}.{module}"), constant) for place in found)


def test_there_are_constants() -> None:
    assert len(CONSTANTS) > 8
