"""Every test of reliability, of faults and of security names a mutation that it was seen to fail of."""

import ast
from pathlib import Path

HERE = Path(__file__).parent
MARKS = ("faults", "reliability", "security")


def marks(node: ast.AST) -> set[str]:
    """Return the names of the marks in an expression, `pytest.mark.faults` and the like."""
    attributes = [one for one in ast.walk(node) if isinstance(one, ast.Attribute)]
    return {one.attr for one in attributes if isinstance(one.value, ast.Attribute) and one.value.attr == "mark"}


def unnamed(source: str) -> list[str]:
    """Return the names of marked tests whose docstring does not say when they fail; those for a GPU are left out."""
    tree = ast.parse(source)
    assigned = [
        node for node in tree.body if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "pytestmark"
    ]
    of_all = set().union(*(marks(node.value) for node in assigned))
    found = []
    for test in tree.body:
        if isinstance(test, ast.FunctionDef) and test.name.startswith("test_"):
            own = of_all.union(*map(marks, test.decorator_list))
            if own & set(MARKS) and "gpu" not in own and "Fails when " not in (ast.get_docstring(test) or ""):
                found.append(test.name)
    return found


def test_every_marked_test_names_its_mutation() -> None:
    """Fails when a test with one of the three marks has no docstring that says what it fails of."""
    found = [
        f"{path.relative_to(HERE)}: {name}"
        for path in sorted(HERE.rglob("test_*.py"))
        for name in unnamed(path.read_text())
    ]
    assert not found


def test_a_mark_is_seen_wherever_it_stands() -> None:
    """Fails when `unnamed` looks at the marks of the tests alone, or at those of the module alone."""
    test = "def test_a():\n    {}\n"
    for mark in MARKS:
        call = f'{mark}("A1")' if mark == "reliability" else mark
        for source in (
            f"@pytest.mark.{call}\n" + test,
            f"pytestmark = [pytest.mark.slow, pytest.mark.{call}]\n" + test,
        ):
            assert unnamed(source.format("pass")) == ["test_a"]
            assert unnamed(source.format('"""Fails when it should."""')) == []
    assert unnamed(test.format("pass")) == []
