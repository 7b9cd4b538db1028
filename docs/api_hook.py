"""Make the pages of the API complete: a table of their names at the head, and links to Python and torch.

A hook of mkdocs. The inventories of torch and Python would be downloads; this one has the names of our signatures.
"""

from __future__ import annotations

import importlib
import inspect
import re
import zlib
from pathlib import Path
from typing import Any

from mkdocs.plugins import event_priority

ENTRY = re.compile(r"^::: (\S+)$", re.M)
# A function under the name of the file that it is in is entered under its full path, and found under the public one.
PUBLIC = {
    "kdvideo.flow.tvl1.estimate.tvl1": "kdvideo.flow.tvl1",
    "kdvideo.models.streaming.streaming": "kdvideo.models.streaming",
    "kdvideo.training.environment.environment": "kdvideo.training.environment",
}
PYTHON = "https://docs.python.org/3/"
TORCH = "https://docs.pytorch.org/docs/stable/"
BUILT_IN = {
    "library/functions.html": "bool bytes dict float frozenset int list object set str tuple type",
    "library/collections.abc.html": "Callable Hashable Iterable Iterator Mapping MutableMapping Sequence",
    "library/typing.html": "Any Literal NamedTuple Protocol",
    "library/pathlib.html": "Path",
    "library/os.html": "PathLike",
    "library/exceptions.html": "ImportError KeyError OSError RuntimeError ValueError",
}
MODULES = {"collections.abc": "collections.abc", "typing": "typing", "pathlib": "pathlib", "os": "os"}
OF_TORCH = {
    "torch.Tensor": "tensors.html",
    "torch.device": "tensor_attributes.html",
    "torch.dtype": "tensor_attributes.html",
    "torch.nn.Module": "generated/torch.nn.Module.html",
    "torch.nn.Linear": "generated/torch.nn.Linear.html",
    "torch.nn.Sequential": "generated/torch.nn.Sequential.html",
    "torch.optim.Optimizer": "optim.html",
    "torch.utils.data.Sampler": "data.html",
}


@event_priority(100)  # before mkdocstrings reads its settings
def on_config(config: Any) -> Any:
    """Give mkdocstrings the two inventories, as files."""
    folder = Path(config["docs_dir"]).parent / ".cache"
    folder.mkdir(exist_ok=True)
    found = []
    for name, (base, places) in {"python": (PYTHON, _python()), "torch": (TORCH, OF_TORCH)}.items():
        (folder / f"{name}.inv").write_bytes(_inventory(name, places))
        found.append({"url": (folder / f"{name}.inv").resolve().as_uri(), "base_url": base})
    config["plugins"]["mkdocstrings"].config["handlers"]["python"]["inventories"] = found
    return config


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Put the table of the names of a page under its introduction, and anchors of public names before entries."""
    if not page.file.src_uri.startswith("api/"):
        return markdown
    table = "\n".join(["| name | what it is or does |", "|---|---|", *_rows(ENTRY.findall(markdown))])
    markdown = ENTRY.sub(_anchored, markdown)
    return re.sub(r"(?=^## |^::: |^\[\]\(\))", lambda _: f"{table}\n\n", markdown, count=1, flags=re.M)


def public_of(path: str) -> str:
    """Return the path under which users import what an entry shows."""
    return PUBLIC.get(path, path)


def _anchored(entry: re.Match[str]) -> str:
    public = public_of(entry[1])
    return f"[](){{#{public}}}\n\n{entry[0]}" if public != entry[1] else entry[0]


def _rows(paths: list[str]) -> list[str]:
    """The lines of the table; a loss object that only says of which function it is has one line with it."""
    about = {path: _summary(path) for path in paths}
    functions = {path.rpartition(".")[2]: path for path in paths}
    named = {path: re.match(r"Loss object for `(\w+)`", text) for path, text in about.items()}
    objects = {functions[of[1]]: path for path, of in named.items() if of and of[1] in functions}
    shown = {path: [objects.get(path), path] for path in paths if path not in objects.values()}
    links = {path: [f"[`{one.rpartition('.')[2]}`][{one}]" for one in of if one] for path, of in shown.items()}
    return [f"| {', '.join(of)} | {about[path]} |" for path, of in links.items()]


def _summary(path: str) -> str:
    module, _, name = path.rpartition(".")
    thing = getattr(importlib.import_module(module), name)
    text = inspect.getdoc(thing) or ""
    if text == inspect.getdoc(type(thing)):
        return f"`{type(thing).__name__}`"
    return " ".join(text.split("\n\n")[0].split()).replace("|", "\\|")


def _python() -> dict[str, str]:
    places = {}
    for page, names in BUILT_IN.items():
        module = page.removeprefix("library/").removesuffix(".html")
        places |= {f"{module}.{name}" if module in MODULES else name: page for name in names.split()}
    return places


def _inventory(project: str, places: dict[str, str]) -> bytes:
    head = f"# Sphinx inventory version 2\n# Project: {project}\n# Version: stable\n"
    head += "# The remainder of this file is compressed using zlib.\n"
    lines = "".join(f"{name} py:class 1 {page}#$ -\n" for name, page in sorted(places.items()))
    return head.encode() + zlib.compress(lines.encode())
