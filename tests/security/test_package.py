"""A wheel holds what the repository holds, and importing the package does nothing."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import kdvideo

pytestmark = [pytest.mark.security, pytest.mark.reliability("E8")]
ROOT = Path(kdvideo.__file__).parents[1]
AUDIT = """
import json, os, sys
import torch, einops, safetensors.torch  # what they do is not ours
seen = []
WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND

def hook(event, arguments):
    flags = arguments[2] if event == "open" and isinstance(arguments[2], int) else 0
    if flags & WRITES and "pycache" not in str(arguments[0]):
        seen.append(f"open {arguments[0]}")
    elif event.startswith(("subprocess", "socket.", "os.system", "os.exec", "os.fork", "os.spawn", "os.remove",
                           "os.rename", "os.mkdir", "os.putenv", "shutil.", "urllib", "ctypes.dlopen", "signal.")):
        seen.append(event)

sys.addaudithook(hook)
import kdvideo
print(json.dumps(seen))
"""


def audited(imports: str) -> list[str]:
    source = AUDIT.replace("import kdvideo\n", f"{imports}\n")
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True, cwd=ROOT, check=True)
    return list(json.loads(done.stdout.splitlines()[-1]))


def test_import_does_nothing():
    """Fails when kdvideo starts a process, opens a socket or writes a file while it is imported."""
    assert audited("import kdvideo") == []
    assert audited("import subprocess; subprocess.run(['true'])") != []


def test_the_wheel_holds_the_repository(tmp_path):
    """Fails when pyproject.toml includes or leaves out anything else."""
    pytest.importorskip("hatch_vcs")  # gives the version
    build = pytest.importorskip("hatchling.builders.wheel")
    wheel = Path(next(build.WheelBuilder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])))
    with zipfile.ZipFile(wheel) as archive:
        held = {name: archive.read(name) for name in archive.namelist()}
    tracked = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "kdvideo"],
        capture_output=True,
        text=True,
        cwd=ROOT,
        check=True,
    ).stdout.split("\0")[:-1]
    code = {name for name in held if ".dist-info/" not in name}
    assert code == {name for name in tracked if (ROOT / name).is_file()}
    assert all(held[name] == (ROOT / name).read_bytes() for name in code)
    assert not [name for name in held if name.endswith((".pth", ".so", ".pyc"))]
