"""Names of classes and files are shown letter by letter, in cards, code and terminals."""

import ast
import json
import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdvideo import cli, models
from kdvideo._escaping import markdown, printable
from kdvideo.models import checkpoints

pytestmark = pytest.mark.security
NASTY = [
    "<script>alert(1)</script>",
    "[click](javascript:alert(1))",
    "![x](http://evil.example/a.png)",
    "run\n---\n# Heading\n```\n",
    "a\x1b]0;title\x07\x1b[2J\x9b31m",
    "\u202egnp.exe",
    "- list",
    "1. list",
    "--- ",
    "www.evil.example",
    "{{ 7 * 7 }}{% raw %}",
    "a`b`|c|",
    "&lt;b&gt;",
    "\udcff",
]


def small(classes: int = len(NASTY)) -> models.Network:
    return models.i3d(classes, depth_multiplier=0.125, min_depth=8)


def test_cards(tmp_path):
    """Fails when `markdown` or `json.dumps` is left out of `model_card`."""
    folder = tmp_path / 'net") # <b>\n```\n"'
    models.save_pretrained(small(), folder, classes=NASTY)
    text = (folder / "README.md").read_text()
    _, metadata, body = text.split("---\n", 2)
    assert set(re.findall(r"^(\w+):", metadata, re.MULTILINE)) == {"library_name", "pipeline_tag"}
    code = body.split("```python\n")[1].split("\n```")[0]
    tree = ast.parse(code)
    assert [type(node).__name__ for node in tree.body] == ["ImportFrom", "Assign"]
    assert ast.literal_eval(tree.body[1].value.args[0]) == printable(folder.name)
    shown = body.split("## Classes\n\n")[1]
    assert not set(shown) & set("<>[]()`*_{}|\x1b\x07\u202e")
    assert "\n" not in shown.strip()
    assert "www.evil" not in shown
    assert models.from_pretrained(folder).classes == tuple(NASTY)  # only what is shown is escaped


def test_terminals(tmp_path, capsys):
    """Fails when `printable` is left out of a command."""
    nasty = tmp_path / "a\x1b[2J\u202e.pt"
    checkpoints.save(small(), tmp_path / "a", classes=NASTY, input_spec={"stream": "\x1b[31m"})
    torch.save({"\x1b[2Jweights": torch.ones(1)}, nasty)
    for arguments in (
        ["convert", str(tmp_path / "a"), str(tmp_path / "b\x1b[2J")],
        ["convert", str(nasty), str(tmp_path / "c")],
        ["predict", "--weights", str(nasty), "clip\x1b[2J.mp4"],
        ["verify", str(tmp_path / "\x1b[2J")],
        ["extract", str(tmp_path / "\x1b[2J"), str(tmp_path / "out")],
    ):
        cli.main(arguments)
        out = "".join(capsys.readouterr())
        assert "\\x1b" in out
        assert not set(out) & set("\x1b\u202e")


@given(st.text())
def test_printable(text):
    """Fails when a category is left out of the pattern."""
    out = printable(text)
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", out)
    out.encode()
    assert printable(out) == out


@given(st.text())
def test_markdown(text):
    """Fails when `_MARKUP` leaves out < and >: read as HTML, the escaped text is the printable one."""
    import html

    assert html.unescape(markdown(text)) == html.unescape(printable(text).strip()) or "&" in text
    assert not set(markdown(text)) & set("<>[]()`*_|\n")


def test_plain_names_stay():
    """Fails when `_MARKUP` takes a hyphen within a word for a list."""
    assert [markdown(name) for name in ("run", "hand-shake", "café", "跑")] == ["run", "hand-shake", "café", "跑"]
    assert json.loads(json.dumps(printable("owner/name"))) == "owner/name"
