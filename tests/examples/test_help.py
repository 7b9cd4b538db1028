"""`--help` of the recipes' commands, which is answered before torch is imported."""

from __future__ import annotations

import subprocess
import sys
from typing import get_args, get_type_hints

import pytest

from examples.d3d import config
from kdvideo import flow
from tests.examples.tiny import ROOT

COMMANDS = [f"examples.d3d.{name}" for name in ("run", "prepare", "train_teacher", "train_student", "evaluate")]
COMMANDS += ["examples.ava.train", "examples.ava.evaluate"]
IMPORTED = """
import runpy, sys
module = sys.argv[1]
try:
    runpy.run_module(module, run_name="__main__", alter_sys=True)
except SystemExit as end:
    print(end.code, *sorted({"torch", "accelerate", "numpy"} & set(sys.modules)), file=sys.stderr)
"""


@pytest.mark.parametrize("module", COMMANDS)
@pytest.mark.parametrize(("flag", "status"), [("--help", 0), ("--no-such-flag", 2)])
def test_neither_help_nor_a_wrong_flag_waits_for_torch(module: str, flag: str, status: int) -> None:
    """Fails when a command, or its settings, imports torch before its flags are read."""
    command = [sys.executable, "-c", IMPORTED, module, "pocket", flag]
    done = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == str(status)


def test_the_presets_of_flow_are_all_of_them() -> None:
    """Fails when a preset is added to the library, whose names the settings repeat so as not to import it."""
    assert set(get_args(get_type_hints(config.Config)["flow_preset"])) == set(flow.PRESETS)
