"""The source holds no call that would run what a file says, and no check of users' input that `-O` takes away."""

import ast
from pathlib import Path

import pytest

import kdvideo

pytestmark = [pytest.mark.security, pytest.mark.reliability("E2")]
ROOT = Path(kdvideo.__file__).parent
FORBIDDEN = {  # name of a call -> why
    "eval": "runs text",
    "exec": "runs text",
    "compile": "makes code of text",
    "__import__": "imports by a text",
    "pickle.load": "runs what the file says",
    "pickle.loads": "runs what the file says",
    "pickle.Unpickler": "runs what the file says",
    "marshal.loads": "makes code of bytes",
    "shelve.open": "is pickle",
    "joblib.load": "is pickle",
    "pandas.read_pickle": "is pickle",
    "yaml.load": "makes any object",
    "os.system": "is a shell",
    "os.popen": "is a shell",
    "torch.hub.load": "runs a repository",
    "torch.jit.load": "runs a program",
    "shutil.unpack_archive": "writes where the archive says",
    "tempfile.mktemp": "is a race",
}
METHODS = {"extractall": "writes where the archive says"}
KEYWORDS = {"shell": "is a shell", "trust_remote_code": "runs a repository", "allow_pickle": "is pickle"}


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def problems(source: str) -> list[str]:
    found = []
    aliases: dict[str, str] = {}
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            aliases |= {one.asname or one.name: one.name for one in node.names}
        elif isinstance(node, ast.ImportFrom):
            aliases |= {one.asname or one.name: f"{node.module}.{one.name}" for one in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            found += [f"line {node.lineno}: {text}" for text in _of_call(node, aliases)]
        elif isinstance(node, ast.Assert) and not _narrows(node.test):
            found.append(f"line {node.lineno}: an assert: `python -O` leaves it out")
    return found


def _of_call(node: ast.Call, aliases: dict[str, str]) -> list[str]:
    first, _, rest = dotted(node.func).partition(".")
    name = aliases.get(first, first) + (f".{rest}" if rest else "")
    given = {one.arg: one.value for one in node.keywords if one.arg}
    found = [f"{name} {FORBIDDEN[name]}"] if name in FORBIDDEN else []
    if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
        found.append(f"{node.func.attr} {METHODS[node.func.attr]}")
    found += [f"{key}= {why}" for key, why in KEYWORDS.items() if key in given and not _is(given[key], False)]
    if name == "torch.load" and not _is(given.get("weights_only"), True):
        found.append("torch.load needs weights_only=True")
    return found


def _is(node: ast.expr | None, value: bool) -> bool:
    return isinstance(node, ast.Constant) and node.value is value


def _narrows(test: ast.expr) -> bool:
    """Return whether an assert tells a type checker what is so; it checks no argument then."""
    if isinstance(test, ast.BoolOp):
        return all(map(_narrows, test.values))
    if isinstance(test, ast.Call):
        return dotted(test.func) in ("isinstance", "callable")
    return isinstance(test, ast.Compare) and isinstance(test.ops[0], (ast.Is, ast.IsNot, ast.Eq))


@pytest.mark.parametrize("path", sorted(ROOT.rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_no_such_call(path):
    """Fails when one of the calls of the next test is written into the library."""
    assert problems(path.read_text()) == []


BAD = [
    "import pickle\npickle.load(f)",
    "from pickle import loads as read\nread(data)",
    "import torch\ntorch.load(path)",
    "import torch\ntorch.load(path, weights_only=False)",
    "from torch import load\nload(path, weights_only=flag)",
    "eval(text)",
    "exec(text)",
    "import subprocess\nsubprocess.run(text, shell=True)",
    "archive.extractall(folder)",
    "from torch import hub\nhub.load('a', 'b')",
    "import transformers\ntransformers.AutoModel.from_pretrained(name, trust_remote_code=True)",
    "import numpy as np\nnp.load(path, allow_pickle=True)",
    "import yaml\nyaml.load(text)",
    "def f(n):\n    assert n > 0",
]


@pytest.mark.parametrize("source", BAD)
def test_the_gate_sees(source):
    """Fails when `_of_call` does not ask `torch.load` for `weights_only=True`."""
    assert len(problems(source)) == 1


def test_the_gate_lets_through():
    """Fails when `_of_call` refuses every `torch.load`."""
    assert problems("import torch\ntorch.load(p, weights_only=True)\nassert isinstance(a, int)\nre.match(a, b)") == []
