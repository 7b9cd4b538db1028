"""What a release holds: the wheel the package, the source archive all that its wheel and its site are built from."""

import os
import re
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("hatch_vcs")
sdist = pytest.importorskip("hatchling.builders.sdist")
wheel = pytest.importorskip("hatchling.builders.wheel")
ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The source archive of this checkout, unpacked."""
    folder = tmp_path_factory.mktemp("sdist")
    archive = next(sdist.SdistBuilder(str(ROOT)).build(directory=str(folder), versions=["standard"]))
    with tarfile.open(archive) as held:
        held.extractall(folder, filter="data")
    return next(path for path in folder.iterdir() if path.is_dir())


def names(root: Path, folder: Path) -> set[str]:
    built = Path(next(wheel.WheelBuilder(str(root)).build(directory=str(folder), versions=["standard"])))
    with zipfile.ZipFile(built) as held:
        return set(held.namelist())


def test_the_wheel_of_the_archive_is_that_of_the_repository(unpacked: Path, tmp_path: Path) -> None:
    """Fails when the archive leaves out a file of the package, or has no version of its own."""
    ours, theirs = names(ROOT, tmp_path / "ours"), names(unpacked, tmp_path / "theirs")
    assert ours == theirs
    assert "kdvideo/py.typed" in ours
    assert {name.split("/")[0].split("-")[0] for name in ours} == {"kdvideo"}


def test_the_archive_holds_what_its_readers_need(unpacked: Path) -> None:
    """Fails when a file is taken out of the list in pyproject.toml."""
    for name in (
        "mkdocs.yml",
        "Makefile",
        "requirements/lock.txt",
        "docs/api_hook.py",
        "tests/conftest.py",
        "RELEASING.md",
    ):
        assert (unpacked / name).is_file(), name
    assert not list(unpacked.rglob("__pycache__"))


@pytest.mark.slow
def test_the_archive_builds_the_site(unpacked: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(command, cwd=unpacked, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "index.html").is_file()


def test_the_version_is_that_of_the_citation() -> None:
    """Fails when the next release is named in one place only."""
    cited = set(re.findall(r"^ *version: (.+)$", (ROOT / "CITATION.cff").read_text(), flags=re.M))
    fallback = PROJECT["tool"]["hatch"]["version"]["fallback-version"]
    assert cited == {fallback.removesuffix(".dev0")}


def test_all_means_features_and_dev_tools() -> None:
    """Fails when a tool gets into [all], which users install."""
    extras = PROJECT["project"]["optional-dependencies"]
    features = set(re.findall(r"\w+", extras["all"][0])) - {"kdvideo"}
    assert len(extras["all"]) == 1
    assert features | {"video", "docs", "dev", "all"} == set(extras)
    assert "kdvideo[docs]" in extras["dev"]
