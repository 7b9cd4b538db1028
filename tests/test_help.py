"""`--help` of every example, recipe and benchmark: answered before torch is imported, with a word on every flag."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from benchmarks.methods import command
from benchmarks.methods.pairs import PAIRS
from benchmarks.paper import rounding, ut_interaction
from benchmarks.paper.tables import flags, scales
from benchmarks.speed import core_networks, flow, int8, models, reading
from examples.d3d import config
from kdvideo import flow as kf

ROOT = Path(__file__).resolve().parents[1]
FILES = [path for folder in ("examples", "benchmarks") for path in sorted((ROOT / folder).rglob("*.py"))]
COMMANDS = [
    ".".join(path.relative_to(ROOT).with_suffix("").parts)
    for path in FILES
    if '__name__ == "__main__"' in path.read_text()
]
CHOICES: dict[str, Iterable[str]] = {
    "speed.core": core_networks.SUBJECTS,
    "speed.flow": flow.MEASURES,
    "speed.int8": int8.NETWORKS,
    "speed.models": models.PARTS,
    "speed.reading": reading.PARTS,
    "paper.rounding": rounding.ROUNDINGS,
    "paper.ut_interaction": ut_interaction.SETTINGS,
}
# Runs every command, in one process since none imports anything heavy, and prints what is wrong with it.
ASKING = """
import argparse, contextlib, io, runpy, sys
parse = argparse.ArgumentParser.parse_known_args
def parsed(parser, *given, **named):
    unexplained.extend(one.dest for one in parser._actions if not one.help)
    return parse(parser, *given, **named)
argparse.ArgumentParser.parse_known_args = parsed
for line in sys.argv[1:]:
    unexplained, before = [], set(sys.modules)
    module, *sys.argv[1:], status = line.split()
    out = io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(out):
        try:
            runpy.run_module(module, run_name="__main__", alter_sys=True)
            end = "ran"
        except SystemExit as error:
            end = str(error.code)
    heavy = {"torch", "accelerate", "numpy"} & set(sys.modules) - before
    if end != status or heavy or unexplained or (status == "0" and "usage: " not in out.getvalue()):
        print(line, end, *heavy, *unexplained)
"""


def preset(module: str) -> str:
    """The word that the recipes want before their flags."""
    asked = ("d3d", "ava", "train_method") if "animate" not in module else ()
    return " pocket" if any(name in module for name in asked) else ""


def test_neither_help_nor_a_wrong_flag_waits_for_torch() -> None:
    """Fails when a command, or its settings, imports torch before its flags are read, or a flag has no explanation."""
    lines = [f"{module}{preset(module)} {flag}" for module in COMMANDS for flag in ("--help 0", "--no-such-flag 2")]
    asking = [sys.executable, "-c", ASKING, *lines]
    done = subprocess.run(asking, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.parametrize(
    "path", ["examples/d3d/config.py", "examples/ava/config.py", "benchmarks/paper/method_config.py"]
)
def test_every_setting_is_explained(path: str) -> None:
    """Fails when a field of the settings has no text under it, which `--help` shows."""
    for holder in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(holder, ast.ClassDef):
            for one, after in zip(holder.body, [*holder.body[1:], ast.Pass()], strict=True):
                assert not isinstance(one, ast.AnnAssign) or isinstance(after, ast.Expr), ast.unparse(one)


def test_there_are_commands() -> None:
    assert len(COMMANDS) > 70


def test_names_that_settings_repeat_are_all_of_them() -> None:
    """Fails when a name is added that the settings repeat so as not to import it."""
    assert set(get_args(get_type_hints(config.Config)["flow_preset"])) == set(kf.PRESETS)
    assert tuple(scales.SCALES) == flags.SCALES
    assert tuple(PAIRS) == command.PAIRS


@pytest.mark.parametrize("module", CHOICES)
def test_help_names_every_choice(module: str) -> None:
    """Fails when a network or a part is added that the flags do not know."""
    line = [sys.executable, "-m", f"benchmarks.{module}", "--help"]
    shown = subprocess.run(line, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    assert [name for name in CHOICES[module] if name not in shown] == []
