"""Every entry of the reference says what it takes and gives, and shows it: sections Args, Returns and Examples."""

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import griffe
import pytest

from tests.docs.test_api_pages import ENTRIES, named

ROOT = Path(__file__).resolve().parents[2]
SKIPPED = {  # what has an example that does not run, and why
    "kdvideo.models.push_to_hub": "uploads",
    "kdvideo.models.checkpoints.read_tf": "TensorFlow alone writes such files",
}
INHERITED = {"compute", "between", "of", "extra_repr"}  # what a loss overrides is described once, in its base class
ELSEWHERE = re.compile(r", see `\w+(\.\w+)+`\.$")  # the whole text of a method that has the contract of another one


@pytest.fixture(scope="module")
def read() -> griffe.Module:
    return griffe.load("kdvideo", search_paths=[str(ROOT)], resolve_aliases=True)


def entries(read: griffe.Module) -> Iterator[tuple[str, griffe.Object]]:
    for path in ENTRIES:
        found = read[path.removeprefix("kdvideo.")]
        yield path, found.final_target if found.is_alias else found


def functions(read: griffe.Module) -> Iterator[tuple[str, griffe.Function]]:
    """Functions of the reference, and the methods that it shows of its classes."""
    for path, entry in entries(read):
        if isinstance(entry, griffe.Function):
            yield path, entry
        for name, member in entry.members.items() if isinstance(entry, griffe.Class) else ():
            shown = name == "__call__" or not name.startswith("_")
            if isinstance(member, griffe.Function) and shown and name not in INHERITED and member.docstring:
                yield f"{path}.{name}", member


def sections(entry: griffe.Object) -> dict[str, list[str]]:
    """Return kind -> names of what a docstring describes there, as the site reads it."""
    options = {"warn_unknown_params": False, "warnings": False, "returns_multiple_items": False}
    parsed = entry.docstring.parse("google", **options) if entry.docstring else []
    named_kinds = ("parameters", "attributes", "returns")
    return {
        one.kind.value: [row.name.strip("*") for row in one.value] if one.kind.value in named_kinds else []
        for one in parsed
    }


def described_elsewhere(function: griffe.Function) -> bool:
    return bool(ELSEWHERE.search(function.docstring.value)) if function.docstring else False


def undescribed(entry: griffe.Function, known: set[str]) -> list[str]:
    return [one.name for one in entry.parameters if one.name not in known | {"self", "cls"}]


def test_every_value_is_described(read: griffe.Module) -> None:
    """Fails when a function or method that returns something has no `Returns:`."""
    silent = [
        path
        for path, function in functions(read)
        if str(function.returns or None) != "None"
        and not {"returns", "yields"} & set(sections(function))
        and not described_elsewhere(function)
    ]
    assert silent == []


def test_every_argument_is_described(read: griffe.Module) -> None:
    """Fails when an argument of a function, method or constructor is in no `Args:` (a field: in no `Attributes:`)."""
    missing = {}
    for path, function in functions(read):
        if not described_elsewhere(function):
            missing[path] = undescribed(function, set(sections(function).get("parameters", [])))
    for path, entry in entries(read):
        if not isinstance(entry, griffe.Class) or issubclass(named(path), Exception):
            continue
        known = {name for kind in ("parameters", "attributes") for name in sections(entry).get(kind, [])}
        maker = entry.all_members.get("__init__")
        missing[path] = [name for name in getattr(named(path), "_fields", ()) if name not in known]
        missing[path] += undescribed(maker, known) if isinstance(maker, griffe.Function) else []
    assert {path: names for path, names in missing.items() if names} == {}


def test_the_site_reads_names_as_they_are_meant(read: griffe.Module) -> None:
    """Fails when two arguments share a line, or the text of `Returns:` begins like "Name (type): ..."."""
    assert "returns_multiple_items: false" in (ROOT / "mkdocs.yml").read_text()
    odd = {}
    for path, entry in (*functions(read), *entries(read)):
        found = sections(entry)
        described = [*found.get("parameters", []), *found.get("attributes", [])]
        odd[path] = [name for name in described if not name.isidentifier()] + [
            name for name in found.get("returns", []) if name
        ]
    assert {path: names for path, names in odd.items() if names} == {}


def test_every_function_and_class_has_an_example(read: griffe.Module) -> None:
    """Fails when an entry shows no use of itself, or an example that never runs is not listed."""
    silent, skipped = [], set()
    for path, entry in entries(read):
        if not isinstance(entry, (griffe.Function, griffe.Class)):
            continue
        if inspect.isclass(named(path)) and issubclass(named(path), Exception):
            continue
        lines = re.findall(r"^ *>>> (.*)", entry.docstring.value if entry.docstring else "", re.M)
        own = [line for line in lines if path.rpartition(".")[2] in line]
        if not lines:
            silent.append(path)
        elif own and all("+SKIP" in line for line in own):
            skipped.add(path)
    assert silent == []
    assert skipped == set(SKIPPED)
