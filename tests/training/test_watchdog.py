"""The end of processes that hang or are orphaned (D4)."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kdvideo.training import Watchdog

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]
HANGS = """
import ctypes, time
from kdvideo.training import Watchdog
def decode():
    ctypes.PyDLL(None).sleep(60)  # native code that holds the interpreter's lock
with Watchdog(1.0) as dog:
    for step in range(3):
        time.sleep(0.5)
        dog.feed()
    print("fed", flush=True)
    decode()
"""
ORPHAN = """
import os, sys, time
from kdvideo.training import die_with_parent
child = os.fork()
if child == 0:
    die_with_parent()
    print(os.getpid(), flush=True)
    time.sleep(60)
time.sleep(60)
"""


@pytest.mark.reliability("D4")
def test_a_hang_in_native_code_is_ended_and_its_line_named() -> None:
    """Fails when `feed` does not begin the time anew, or the alarm needs the interpreter."""
    done = subprocess.run([sys.executable, "-c", HANGS], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (1, "fed\n")
    assert "line 5 in decode" in done.stderr


def test_the_outer_watchdog_watches_again() -> None:
    """Fails when `__exit__` does not feed the outer one: a process has one timer."""
    code = HANGS.replace("with Watchdog(1.0) as dog:", "with Watchdog(1.0) as dog:\n    with Watchdog(9.0): pass")
    code = code.replace("        dog.feed()", "        pass").replace("range(3)", "range(1)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (1, "fed\n"), done.stderr


def test_a_watchdog_that_was_left_does_nothing() -> None:
    """Fails when `Watchdog.__exit__` does not cancel the timer."""
    with Watchdog(0.2, sys.__stderr__):
        pass
    with Watchdog(0, sys.__stderr__):
        time.sleep(0.3)
    with pytest.raises(ValueError, match="seconds must be positive"):
        Watchdog(-1)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the kernel's signal is Linux's")
def test_a_process_dies_with_its_parent() -> None:
    """Fails when `die_with_parent` asks the kernel for no signal."""
    parent = subprocess.Popen([sys.executable, "-c", ORPHAN], stdout=subprocess.PIPE, text=True, cwd=ROOT)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    for _ in range(50):
        time.sleep(0.1)
        state = Path(f"/proc/{child}/stat")
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return
    os.kill(child, 9)
    pytest.fail("it outlived its parent")
