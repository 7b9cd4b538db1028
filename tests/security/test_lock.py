"""Every dependency is locked, each by the hashes of its files, and none is older than what is known to be safe."""

import re
import tomllib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.security, pytest.mark.reliability("E7")]
ROOT = Path(__file__).resolve().parents[2]
LOWEST = {"torch": (2, 10), "av": (17, 1), "opencv-contrib-python-headless": (5, 0, 0, 93), "filelock": (3, 20, 1)}
STOLEN = {"lightning": {"2.6.2", "2.6.3"}}  # releases that stole credentials


def locked() -> dict[str, tuple[str, int]]:
    """Return (version, number of hashes) by name."""
    found = {}
    for block in re.split(r"\n(?=\S)", (ROOT / "requirements" / "lock.txt").read_text()):
        name, version = re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==([\w.+]+)", block).groups()
        found[_plain(name)] = version, len(re.findall(r"--hash=sha256:[0-9a-f]{64}", block))
    return found


def _plain(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_all_have_hashes():
    """Fails when `--generate-hashes` is taken from `make lock`."""
    assert [name for name, (_, hashes) in locked().items() if not hashes] == []


def test_all_are_there():
    """Fails when pyproject.toml gets a dependency and `make lock` was not run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"]
    del extras["demo"]  # gradio pins an older Pillow: `make test-demo` tests it in an environment of its own
    named = [*project["dependencies"], *(one for extra in extras.values() for one in extra)]
    names = {_plain(re.match(r"[\w.-]+", one)[0]) for one in named} - {"kdvideo"}
    assert names - set(locked()) == set()


def test_none_is_known_to_be_unsafe():
    """Fails when a lower version is locked, or allowed."""
    versions = {name: version for name, (version, _) in locked().items()}
    for name, lowest in LOWEST.items():
        if name in versions:
            assert tuple(map(int, versions[name].split("."))) >= lowest
    assert all(versions.get(name) not in bad for name, bad in STOLEN.items())


def test_make_asks_for_them():
    """Fails when `--require-hashes` or `--generate-hashes` is taken from the Makefile."""
    makefile = (ROOT / "Makefile").read_text()
    assert "--require-hashes -r requirements/lock.txt" in makefile
    assert "--generate-hashes" in makefile


def test_no_address_of_a_registry():
    """Fails when `make lock` writes the address of an index into the lock."""
    assert "://" not in (ROOT / "requirements" / "lock.txt").read_text()
