"""Private modules and names are imported within their own package only: import-linter cannot name them by a pattern."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Yield (module, name) of every import of ours; the name is empty in `import module`."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def private(module: str, name: str) -> str:
    """The package inside which the first private part of an import may be used; empty where all is public."""
    parts = [*module.split("."), name]
    for number, part in enumerate(parts):
        if part.startswith("_") and not part.startswith("__"):
            return ".".join(parts[:number])
    return ""


def test_private_parts_stay_in_their_package() -> None:
    found = []
    for file in sorted(path for room in ("kdvideo", "examples", "benchmarks") for path in (ROOT / room).rglob("*.py")):
        here = ".".join(file.relative_to(ROOT).with_suffix("").parts)
        for module, name in imports(file):
            owner = private(module, name)
            if owner.startswith(("kdvideo", "examples", "benchmarks")) and not f"{here}.".startswith(f"{owner}."):
                found.append(f"{here} imports {module} {name}")
    assert not found


def test_what_is_private() -> None:
    assert private("kdvideo.losses._outputs", "logits_of") == "kdvideo.losses"
    assert private("kdvideo._paths", "") == "kdvideo"
    assert private("kdvideo.flow.tvl1", "_find") == "kdvideo.flow.tvl1"
    assert private("__future__", "annotations") == ""
