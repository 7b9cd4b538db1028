"""Every public name has an anchor on a page of docs/api, under the path that users import it from."""

import importlib
import inspect
import sys
import zlib
from pathlib import Path
from typing import Any

import griffe
import pytest

import kdvideo as kd

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "docs"))
try:
    import api_hook
    import equations
finally:
    sys.path.remove(str(ROOT / "docs"))

ENTRIES = [path for page in (ROOT / "docs" / "api").rglob("*.md") for path in api_hook.ENTRY.findall(page.read_text())]
PACKAGES = [
    f"kdvideo{room}"
    for room in (
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
]


def named(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(importlib.import_module(module), name)


def as_built(page: str) -> str:
    """A page of the API as the hook leaves it."""
    file = type("File", (), {"src_uri": f"api/{page}"})
    return api_hook.on_page_markdown((ROOT / "docs" / "api" / page).read_text(), page=type("Page", (), {"file": file}))


@pytest.fixture(scope="module")
def read() -> griffe.Module:
    """The library as mkdocstrings reads it."""
    return griffe.load("kdvideo", search_paths=[str(ROOT)], resolve_aliases=True)


@pytest.mark.parametrize("package", PACKAGES)
def test_public_names_have_an_entry(package: str) -> None:
    """Fails when a name of `__all__` is on no page; what two packages export needs one entry."""
    found = {id(named(path)) for path in ENTRIES}
    things = {name: named(f"{package}.{name}") for name in importlib.import_module(package).__all__}
    assert [name for name, thing in things.items() if id(thing) not in found and not inspect.ismodule(thing)] == []


def test_every_entry_is_what_users_import(read: griffe.Module) -> None:
    """Fails when a function is entered whose file has its name: mkdocstrings shows the file then."""
    assert len(ENTRIES) == len(set(ENTRIES)) > 250
    for path in ENTRIES:
        assert read[path.removeprefix("kdvideo.")].kind is not griffe.Kind.MODULE, path
        assert named(api_hook.public_of(path)) is named(path)


def test_every_class_shows_its_constructor(read: griffe.Module) -> None:
    classes = [path for path in ENTRIES if inspect.isclass(named(path)) and "__init__" in vars(named(path))]
    classes = [path for path in classes if not getattr(named(path), "_is_protocol", False)]
    assert len(classes) > 60
    written = [path for path in classes if "__init__" in read[path.removeprefix("kdvideo.")].all_members]
    assert written == classes
    assert "merge_init_into_class: true" in (ROOT / "mkdocs.yml").read_text()


def test_the_table_at_the_head_names_every_entry() -> None:
    shown = as_built("flow.md")
    assert shown.index("| [`DISEstimator`][kdvideo.flow.DISEstimator] | OpenCV's") < shown.index("::: ")
    assert "[](){#kdvideo.flow.tvl1}\n\n::: kdvideo.flow.tvl1.estimate.tvl1" in shown


def test_the_inventories_link_the_names_of_signatures() -> None:
    lines = zlib.decompress(api_hook._inventory("torch", api_hook.OF_TORCH).split(b"\n", 4)[4]).decode().splitlines()
    assert "torch.Tensor py:class 1 tensors.html#$ -" in lines


def test_a_loss_has_its_equation_and_one_line_with_its_function() -> None:
    """Fails when a card has no equation, or the table says twice what a loss and its function do."""
    shown = "".join(as_built(f"losses/{page.name}") for page in (ROOT / "docs" / "api" / "losses").glob("*.md"))
    losses = [name for name in kd.__all__ if inspect.isclass(named(f"kdvideo.{name}"))]
    losses = [name for name in losses if issubclass(named(f"kdvideo.{name}"), kd.Loss) and name != "Loss"]
    assert [name for name in losses if name not in equations.cards()] == []
    assert "| [`DKD`][kdvideo.DKD], [`dkd`][kdvideo.functional.dkd] | Compute the KL divergence" in shown
    assert "| [`DKD`][kdvideo.DKD] |" not in shown


def test_the_equation_stands_under_the_first_sentence() -> None:
    """Fails when an equation is appended, below the examples, or belongs to another loss."""
    extensions = griffe.load_extensions(equations.Equations)
    read = griffe.load("kdvideo.losses.dkd", search_paths=[str(ROOT)], extensions=extensions)
    first, equation, *rest = read["DKD"].docstring.value.split("\n\n")
    assert first.startswith("Loss object for `dkd`")
    assert equation.startswith(r"**Equation:** \(L=\frac{T^2}{N}\sum_i \alpha\,\mathrm{KL}")
    assert equation.endswith("([card][dkd])")
    assert rest[-1].startswith("Examples:")
