"""Every public name has an entry on a page of docs/api."""

import importlib
import inspect
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

import kdvideo as kd

API = Path(__file__).resolve().parents[2] / "docs" / "api"
ENTRY = re.compile(r"^::: (\S+)\n(?:    options: (.*)\n)?", re.M)
ROOMS = (
    "",
    ".functional",
    ".losses",
    ".projectors",
    ".data",
    ".detection",
    ".extraction",
    ".flow",
    ".models",
    ".training",
)


def entries() -> Iterator[Any]:
    """The objects that the entries of all pages show."""
    for page in API.glob("*.md"):
        for target, options in ENTRY.findall(page.read_text() + "\n"):
            yield from shown(target, (yaml.safe_load(options or "{}")).get("members"))


def shown(target: str, members: Sequence[str] | None) -> Iterator[Any]:
    try:
        module: Any = importlib.import_module(target)
    except ModuleNotFoundError:
        holder, name = target.rsplit(".", 1)
        yield getattr(importlib.import_module(holder), name)
        return
    yield module
    if members is None:
        own = [name for name, thing in vars(module).items() if getattr(thing, "__module__", None) == target]
        members = getattr(module, "__all__", own)
    # Where a file and what it holds have one name, the page shows the file, and not the function.
    files = {path.stem for folder in getattr(module, "__path__", ()) for path in Path(folder).iterdir()}
    yield from (getattr(module, name) for name in members if name not in files)


def public(module: ModuleType) -> dict[str, Any]:
    """What a module exports, without constants, which have no docstring."""
    things = {name: getattr(module, name) for name in module.__all__}
    return {name: thing for name, thing in things.items() if inspect.getdoc(type(thing)) != inspect.getdoc(thing)}


@pytest.mark.parametrize("room", ROOMS)
def test_public_names_have_an_entry(room: str) -> None:
    found = {id(thing) for thing in entries()}
    missing = [
        name for name, thing in public(importlib.import_module(f"kdvideo{room}")).items() if id(thing) not in found
    ]
    assert missing == []


def test_most_names_are_looked_for() -> None:
    assert len(public(kd)) > 60
    assert len(public(kd.functional)) > 50
