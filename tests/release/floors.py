"""Install the oldest, or the newest, versions that kdvideo declares, and run a part of the tests with them.

    python tests/release/floors.py oldest|newest [3.13 ...]

Without a version of Python, each of python3.11 ... python3.14 that this machine has, pyenv's too, gets a fresh
environment with all features; of those that it has not, only the wheels are looked for. It needs `uv`, a registry and
some GB of disk.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PYTHONS = ("3.11", "3.12", "3.13", "3.14")
RESOLUTION = {"oldest": "lowest-direct", "newest": "highest"}
COMPILED = ("torch", "torchvision", "torchao", "numpy", "scipy", "av", "pyarrow", "matplotlib", "onnx", "onnxruntime")
SHOWN = ("torch", "torchvision", "numpy", "av", "datasets", "timm", "accelerate", "onnxruntime", "distributed")
# What each package is used for, once: networks, files of weights, clips, flow, checkpoints, exports, jobs, the recipe.
TESTS = (
    "tests/core/test_features.py",
    "tests/core/test_losses.py",
    "tests/core/test_cache.py",
    "tests/data/test_paired.py",
    "tests/data/test_manifest.py",
    "tests/extraction/test_cluster.py",
    "tests/flow/test_store.py",
    "tests/models/adapters/test_pytorchvideo.py",
    "tests/models/adapters/test_torchvision_and_timm.py",
    "tests/models/test_exporting.py",
    "tests/models/test_hub.py",
    "tests/training/test_checkpoint.py",
    "tests/examples/test_d3d.py",
    "tests/test_cli.py",
)
WHEELS = [word for name in COMPILED for word in ("--only-binary", name)]
TOOLS = ("pytest", "pytest-timeout", "hypothesis")


def floors(folder: str) -> Path:
    """Write the oldest version of every direct dependency as a constraint; "lowest-direct" alone goes above some."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    features = {name: needs for name, needs in project["optional-dependencies"].items() if name not in ("dev", "docs")}
    needs = [*project["dependencies"], *(one for extra in features.values() for one in extra)]
    found = [re.fullmatch(r"([\w.-]+)(?:\[\w+\])?>=([\w.]+).*", one) for one in needs if not one.startswith("kdvideo")]
    path = Path(folder, "floors.txt")
    # The oldest numpy depends on Python: its wheels do not reach back for 3.13.
    path.write_text("".join(f"{one[1]}=={one[2]}\n" for one in found if one[1] != "numpy"))
    return path


def uv(*words: str | Path) -> subprocess.CompletedProcess[str]:
    """Run uv and show what it says."""
    found = shutil.which("uv", path=str(Path(sys.executable).parent)) or "uv"
    return subprocess.run([found, *map(str, words)], text=True, cwd=ROOT, check=False)


def interpreter(python: str) -> Path | None:
    """Return a Python of a version that starts: pyenv puts commands in front of those that it does not."""
    versions = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"), "versions")
    for found in (shutil.which(f"python{python}"), *sorted(versions.glob(f"{python}.*/bin/python"))):
        if found and subprocess.run([found, "-c", ""], capture_output=True, check=False).returncode == 0:
            return Path(found)
    return None


def has_wheels(which: str, python: str) -> bool:
    """Return whether what is compiled has wheels for a Python, which need not be there."""
    options = ("--resolution", RESOLUTION[which], *WHEELS, "--extra", "all", "--quiet")
    with tempfile.TemporaryDirectory() as folder:
        listed = ("-o", Path(folder, "versions.txt"))
        return uv("pip", "compile", "--python-version", python, *options, "pyproject.toml", *listed).returncode == 0


def tested(which: str, python: Path) -> bool:
    """Return whether the tests pass in a fresh environment."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, "fresh")
        inside = fresh / "bin" / "python"
        oldest = ("-c", floors(folder)) if which == "oldest" else ()
        options = ("--quiet", "--resolution", RESOLUTION[which], *WHEELS, *oldest)
        for words in (
            ("venv", "--quiet", "--python", python, fresh),
            ("pip", "install", "--python", inside, *options, ".[all]"),
            ("pip", "install", "--quiet", "--python", inside, *TOOLS),
        ):
            if uv(*words).returncode:
                return False
        lines = "".join(f"\nprint('  {name}', version('{name}'))" for name in SHOWN)
        done = [
            subprocess.run([inside, *map(str, words)], cwd=ROOT, check=False).returncode
            for words in (
                ("-c", f"from importlib.metadata import version{lines}"),
                ("tests/docs/run_blocks.py", "core"),
                ("tests/docs/run_blocks.py", "video"),
                ("-m", "pytest", "-p", "no:cacheprovider", *TESTS),
            )
        ]
    return not any(done)


def main(which: str, *pythons: str) -> int:
    """Test every Python that is here and say what each gave."""
    passed = []
    for python in pythons or PYTHONS:
        here = interpreter(python)
        passed.append(tested(which, here) if here else has_wheels(which, python))
        what = "tests" if here else "not run, for there is no such Python here; wheels"
        print(f"{which} versions, Python {python}: {what} {'passed' if passed[-1] else 'FAILED'}", flush=True)
    return int(not all(passed))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
