"""The record of an environment, and the hash that names settings."""

import datetime
import getpass
import json
import os
import platform
import socket
import subprocess
from importlib import metadata
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from kdvideo.training import environment, settings_hash

KEYS = ["command", "threads", "hardware", "cpu_capability", "load_average", "versions", "commit"]
KEYS += ["uncommitted_changes", "date"]


def test_the_record_is_json_with_these_keys() -> None:
    record = environment("python train.py")
    assert list(record) == KEYS
    assert json.loads(json.dumps(record)) == record
    assert record["command"] == "python train.py"
    assert record["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert record["date"] == datetime.date.today().isoformat()


def test_threads_are_those_of_torch_or_given() -> None:
    assert environment("x")["threads"] == torch.get_num_threads()
    assert environment("x", threads=56)["threads"] == 56


def test_versions_are_those_of_installed_packages() -> None:
    versions = environment("x", packages=("einops", "no-such-package"))["versions"]
    assert versions == {"python": platform.python_version(), "einops": metadata.version("einops")}


def test_nothing_names_the_machine_or_its_user() -> None:
    text = json.dumps(environment("x"))
    home = os.path.expanduser("~").strip("/")
    names = {socket.gethostname(), getpass.getuser(), home, os.getcwd()} - {"", "root", "localhost"}
    assert not [name for name in names if name in text]


def _repository(folder: Path) -> str:
    def git(*arguments: str) -> str:
        command = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", *arguments]
        return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout

    (folder / "train.py").write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "first")
    return git("rev-parse", "HEAD").strip()


def test_commit_and_changes_of_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMIT", raising=False)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert (environment("x")["commit"], environment("x")["uncommitted_changes"]) == ("", False)
    commit = _repository(tmp_path)
    assert (environment("x")["commit"], environment("x")["uncommitted_changes"]) == (commit, False)
    (tmp_path / "notes.md").write_text("only code counts\n")
    assert environment("x")["uncommitted_changes"] is False
    (tmp_path / "train.py").write_text("2\n")
    assert environment("x")["uncommitted_changes"] is True
    monkeypatch.setenv("COMMIT", "abc")
    assert environment("x")["commit"] == "abc"


def test_without_git(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COMMIT", raising=False)
    monkeypatch.setenv("PATH", "")
    assert environment("x")["commit"] == ""


VALUES = st.one_of(st.none(), st.booleans(), st.integers(), st.text(), st.lists(st.integers()))


@given(st.dictionaries(st.text(), VALUES, max_size=5))
def test_the_order_of_the_keys_does_not_matter(settings: dict[str, object]) -> None:
    name = settings_hash(settings)
    assert settings_hash(dict(reversed(settings.items()))) == name
    assert len(name) == 16
    assert int(name, 16) >= 0
    assert settings_hash(settings | {"one more": 1}) != name


def test_hashes_stay_those_of_the_runs_on_disk() -> None:
    assert settings_hash({"seed": 0, "lr": 0.1}) == "0eb6a6c63f184494"
    assert settings_hash({"folder": Path("a/b")}) == settings_hash({"folder": "a/b"})
    assert settings_hash({"seed": 0}) != settings_hash({"seed": 1})
