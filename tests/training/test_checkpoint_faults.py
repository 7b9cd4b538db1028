"""Checkpoints under crashes, full disks, rollbacks, foreign files and other jobs (A7 to A9, A13, A15)."""

import errno
import hashlib
import json
import math
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import warnings
from collections import OrderedDict, defaultdict
from datetime import date
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from kdvideo.training import CheckpointError, Checkpoints
from kdvideo.training import checkpoint_folders as folders

pytestmark = pytest.mark.faults
ROOT = Path(__file__).parents[2]


def state(step: int, size: int = 1000) -> dict[str, object]:
    return {"weight": torch.full((size,), float(step)), "step": step}


def damage(folder: Path) -> None:
    whole = bytearray((folder / "state.pt").read_bytes())
    whole[len(whole) // 2] ^= 1
    (folder / "state.pt").write_bytes(whole)


def load(checkpoints: Checkpoints) -> int | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = checkpoints.load()
    return found[0] if found else None


@pytest.mark.reliability("A7")
def test_all_is_on_the_disk_before_it_appears_and_older_ones_go_after(tmp_path: Path, monkeypatch) -> None:
    """Fails when a file or its folder is not synced before the rename, the parent after it, or rotation comes first."""
    Checkpoints(tmp_path, keep=1).save(1, state(1))
    seen: list[str] = []
    fsync, rename, rmtree, opened = os.fsync, Path.rename, shutil.rmtree, os.open
    names: dict[int, str] = {}

    def remember(path, *arguments, **options):
        descriptor = opened(path, *arguments, **options)
        names[descriptor] = Path(path).name.split("_2_")[0]
        return descriptor

    monkeypatch.setattr(os, "open", remember)
    monkeypatch.setattr(os, "fsync", lambda one: (seen.append(f"sync {names[one]}"), fsync(one))[1])
    monkeypatch.setattr(Path, "rename", lambda a, b: (seen.append(f"rename {Path(b).name}"), rename(a, b))[1])
    monkeypatch.setattr(
        shutil, "rmtree", lambda p, **o: (Path(p).exists() and seen.append(f"remove {Path(p).name}"), rmtree(p, **o))[1]
    )
    Checkpoints(tmp_path, keep=1).save(2, state(2))
    files = ["sync state.pt", "sync manifest.json", "sync .writing"]
    expected = [*files, "rename step_000000002", f"sync {tmp_path.name}", "remove step_000000001"]
    assert [one for one in seen if ".lock" not in one] == expected


@pytest.mark.reliability("A7")
def test_a_kill_while_a_step_is_replaced_loses_neither(tmp_path: Path, monkeypatch) -> None:
    """Fails when the old one is removed before the new one is in its place."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(7, state(7))
    rename, calls = Path.rename, []

    def killed(path, target):
        calls.append(target)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", killed)
    with pytest.raises(KeyboardInterrupt):
        checkpoints.save(7, state(70))
    monkeypatch.undo()
    step, found = checkpoints.load()
    assert (step, found["weight"][0]) == (7, 7)
    checkpoints.save(7, state(71))
    assert checkpoints.load()[1]["weight"][0] == 71
    assert sorted(one.name for one in tmp_path.iterdir()) == [".lock", "step_000000007"]


@pytest.mark.reliability("A9")
def test_a_run_that_went_back_continues_from_what_it_saved_since(tmp_path: Path) -> None:
    """Fails when checkpoints are ordered by their steps, or a damaged one counts for `keep`."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(10, state(10))
    damage(checkpoints.save(20, state(20)))
    assert load(checkpoints) == 10
    for step in (12, 14):
        assert checkpoints.save(step, state(step)).is_dir()
    assert (checkpoints.steps(), load(checkpoints)) == ([12, 14], 14)
    damage(checkpoints.save(16, state(16)))
    checkpoints.save(18, state(18))
    assert checkpoints.steps() == [14, 18]


@pytest.mark.reliability("A9")
@settings(deadline=None, max_examples=60)
@given(st.integers(1, 3), st.lists(st.sampled_from(["save", "crash", "damage", "restart", "back"]), max_size=12))
def test_a_valid_checkpoint_stays_whatever_happens(keep: int, events: list[str]) -> None:
    """Fails when rotation comes before the commit, or keeps more than it should."""
    with tempfile.TemporaryDirectory() as name, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        folder, checkpoints, step, valid = Path(name), Checkpoints(name, keep=keep), 0, []
        for event in events:
            if event == "save":
                step += 1
                checkpoints.save(step, state(step, 8))
                valid = [*(one for one in valid if one != step), step][-keep:]
                assert checkpoints.steps() == valid
            elif event == "crash":
                crash = crashing_at(folder, checkpoints, step + 1)
                if crash:  # it had appeared by then
                    step, valid = step + 1, [*(one for one in valid if one != step + 1), step + 1]
            elif event == "damage" and len(valid) > 1:
                damage(folders.path_of(folder, valid.pop()))
            elif event == "restart":
                checkpoints = Checkpoints(name, keep=keep)
            elif event == "back" and valid:
                step = load(checkpoints)
            assert load(checkpoints) == (valid[-1] if valid else None) if valid else True
        left = [one for one in folder.iterdir() if one.name.startswith(folders.TEMPORARY)]
        assert not left


def crashing_at(folder: Path, checkpoints: Checkpoints, step: int) -> bool:
    """Save, with a crash when the checkpoint's rename has happened or just before; return whether it had."""
    rename, after = Path.rename, step % 2 == 0

    def crash(path, target):
        if after:
            rename(path, target)
        raise KeyboardInterrupt

    Path.rename = crash
    try:
        with pytest.raises(KeyboardInterrupt):
            checkpoints.save(step, state(step, 8))
    finally:
        Path.rename = rename
    return after and not folders.path_of(folder, step).with_suffix(folders.REPLACED).exists()


VALUES = {
    "a number of NumPy": (np.float64(0.5), 0.5),
    "an array": (np.arange(3), torch.arange(3)),
    "a path": (Path("a/b"), "a/b"),
    "a date": (date(2026, 1, 31), "2026-01-31"),
    "counts": (defaultdict(int, a=1), {"a": 1}),
    "nested": ([{"a": (1, None, {2})}], [{"a": (1, None, {2})}]),
    "frozen": (frozenset({1}), {1}),
    "the generator of NumPy": (np.random.RandomState(0).get_state()[2], 624),
    "a signal, which is a number": (signal.SIGTERM, 15),
}


@pytest.mark.parametrize("name", VALUES)
def test_what_can_be_saved_can_be_read(tmp_path: Path, name: str) -> None:
    """Fails when `readable` leaves NumPy's numbers as they are, or makes lists of its arrays."""
    given_, wanted = VALUES[name]
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": given_})
    found = checkpoints.load()[1]["x"]
    assert type(found) is type(wanted)
    assert torch.equal(found, wanted) if isinstance(wanted, torch.Tensor) else found == wanted


def test_the_versions_of_layers_and_shared_memory_are_kept(tmp_path: Path) -> None:
    """Fails when `_ordered` does not keep the metadata of a state_dict."""
    layer = nn.BatchNorm1d(2)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": layer.state_dict(), "b": layer.weight, "c": layer.weight})
    found = checkpoints.load()[1]
    assert isinstance(found["a"], OrderedDict)
    assert found["a"]._metadata[""]["version"] == 2
    assert found["b"].data_ptr() == found["c"].data_ptr()


@pytest.mark.parametrize("value", [nn.Linear(1, 1), lambda: 1, {"deep": [0, object()]}, np.array(["text"])])
def test_what_cannot_be_read_is_not_saved(tmp_path: Path, value: object) -> None:
    """Fails when `readable` lets through what it does not know."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    with pytest.raises(ValueError, match=r"state\['x'\].* must be a tensor, number, text or container, got "):
        checkpoints.save(2, {"x": value})
    assert sorted(one.name for one in tmp_path.iterdir()) == [".lock", "step_000000001"]


@pytest.mark.reliability("C9")
@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_what_is_not_finite_is_not_saved(tmp_path: Path, value: float) -> None:
    """Fails when the check is left out, or looks at the first tensors alone."""
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    network[1].running_var[1] = value
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match=r"must be finite, got NaN or inf in state\['model'\]\['1.running_var'\]"):
        checkpoints.save(1, {"model": network.state_dict()})
    assert checkpoints.load() is None
    checkpoints.save(1, {"model": network.state_dict()}, finite=False)
    network[1].running_var[1] = 1.0
    checkpoints.save(2, {"mask": torch.full((2,), -math.inf), "best": torch.tensor(math.inf)} | network.state_dict())


@pytest.mark.reliability("A15")
def test_a_checkpoint_of_the_first_format_is_read(tmp_path: Path) -> None:
    """Fails when `_manifest` refuses a manifest without a digest of its own."""
    folder = tmp_path / "step_000000003"
    folder.mkdir()
    torch.save(state(3), folder / "state.pt")
    digest = hashlib.sha256((folder / "state.pt").read_bytes()).hexdigest()
    (folder / "manifest.json").write_text(json.dumps({"step": 3, "sha256": {"state.pt": digest}}))
    checkpoints = Checkpoints(tmp_path)
    assert checkpoints.load()[0] == 3
    checkpoints.save(4, state(4))
    assert (checkpoints.steps(), load(checkpoints)) == ([3, 4], 4)


def test_a_copy_that_a_person_made_is_neither_read_nor_removed(tmp_path: Path) -> None:
    """Fails when `found_in` takes every name that begins as a checkpoint's does."""
    checkpoints = Checkpoints(tmp_path, keep=1)
    shutil.copytree(checkpoints.save(10, state(10)), tmp_path / "step_000000010_backup")
    assert load(checkpoints) == 10
    checkpoints.save(20, state(20))
    assert (tmp_path / "step_000000010_backup" / "state.pt").exists()


def test_a_checkpoint_under_the_name_of_another_step_is_not_loaded(tmp_path: Path) -> None:
    """Fails when `is_valid` does not compare the step of the manifest with that of the folder."""
    checkpoints = Checkpoints(tmp_path)
    shutil.copytree(checkpoints.save(10, state(10)), tmp_path / "step_000000099")
    assert load(checkpoints) == 10


@pytest.mark.security
@pytest.mark.parametrize("kind", ["pipe", "device"])
def test_a_checkpoint_of_no_plain_files_is_damaged(tmp_path: Path, kind: str) -> None:
    """Fails when `_sha256` opens what is no plain file: it would be waited for."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    file = checkpoints.save(2, state(2)) / "state.pt"
    file.unlink()
    os.mkfifo(file) if kind == "pipe" else file.symlink_to("/dev/zero")
    assert load(checkpoints) == 1
    checkpoints.save(3, state(3))
    assert checkpoints.steps() == [1, 3]


def test_a_number_that_is_none_is_a_damaged_manifest(tmp_path: Path) -> None:
    """Fails when `_manifest` lets a number through that cannot be compared."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    manifest = checkpoints.save(2, state(2)) / "manifest.json"
    text = json.dumps(json.loads(manifest.read_text().split("\n")[0]) | {"number": "2"})
    manifest.write_text(f"{text}\n{hashlib.sha256(text.encode()).hexdigest()}\n")
    assert load(checkpoints) == 1


@pytest.mark.parametrize("text", ["[]", "null", "[" * 100_000, '{"sha256": null}', "", '{"step": 2, "number": 2}'])
def test_a_foreign_manifest_is_a_damaged_checkpoint(tmp_path: Path, text: str) -> None:
    """Fails when `_manifest` lets a `RecursionError` through, or takes JSON of any kind."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    (checkpoints.save(2, state(2)) / "manifest.json").write_text(text)
    with pytest.warns(UserWarning, match="step_000000002 is damaged"):
        assert checkpoints.load()[0] == 1


def test_a_manifest_of_no_files_is_not_valid(tmp_path: Path) -> None:
    """Fails when `all` of nothing counts as true."""
    (Checkpoints(tmp_path).save(2, state(2)) / "manifest.json").write_text('{"step": 2, "sha256": {}}')
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(CheckpointError, match="damaged; move them away"):
        Checkpoints(tmp_path).load()


@pytest.mark.reliability("A8")
def test_a_file_that_may_not_grow_says_so(tmp_path: Path, record_property) -> None:
    """Fails when PyTorch's own message is shown ("unexpected pos")."""
    Checkpoints(tmp_path).save(1, state(1))
    sizes = [0, 10, 100, 500, 1000, 5000, 50_000, 390_000]
    for size in sizes:
        child = os.fork()
        if child == 0:
            os._exit(_save_with_limit(tmp_path, size))
        assert os.waitpid(child, 0)[1] == 0, f"limit {size}"
        assert load(Checkpoints(tmp_path)) == 1
        assert sorted(one.name for one in tmp_path.iterdir()) == [".lock", "step_000000001"]
    record_property("trials", len(sizes))


def _save_with_limit(folder: Path, size: int) -> int:
    torch.set_num_threads(1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        Checkpoints(folder).save(2, state(2, 100_000))
    except CheckpointError as error:
        return 0 if os.strerror(errno.EFBIG) in str(error) else 2
    return 1


FULL_DISK = """
import sys, torch
from kdvideo.training import CheckpointError, Checkpoints
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, {"w": torch.ones(100_000)})
try:
    checkpoints.save(2, {"w": torch.ones(1_000_000)})
except CheckpointError as error:
    assert "No space left" in str(error), error
assert checkpoints.load()[0] == 1
print("as promised")
"""


@pytest.mark.reliability("A8")
def test_a_full_disk_leaves_what_was_there(tmp_path: Path) -> None:
    """Fails when `_write` shows the message of PyTorch instead of that of the disk."""
    mount = f"mount -t tmpfs -o size=2m tmpfs {tmp_path} && exec {sys.executable} -c '{FULL_DISK}' {tmp_path}"
    done = subprocess.run(
        ["unshare", "-Urm", "sh", "-c", mount], capture_output=True, text=True, cwd=ROOT, env=dict(os.environ)
    )
    if "mount" in done.stderr or "unshare" in done.stderr:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    assert done.stdout.strip() == "as promised", done.stderr


HOLDER = """
import sys, time, torch
from kdvideo.training import Checkpoints
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, {"w": torch.ones(1)})
print("saved", flush=True)
time.sleep(60)
"""


@pytest.mark.reliability("A13")
def test_two_jobs_do_not_share_a_folder_and_a_dead_one_holds_nothing(tmp_path: Path) -> None:
    """Fails when no lock is held, or when it outlives its process."""
    holder = subprocess.Popen([sys.executable, "-c", HOLDER, tmp_path], stdout=subprocess.PIPE, cwd=ROOT, text=True)
    assert holder.stdout.readline() == "saved\n"
    with pytest.raises(CheckpointError, match=f"got a lock of process {holder.pid} on .*: end it first"):
        Checkpoints(tmp_path).save(2, state(2))
    assert load(Checkpoints(tmp_path)) == 1  # reading harms nobody
    holder.kill()
    holder.wait()
    first, second = Checkpoints(tmp_path), Checkpoints(tmp_path)
    first.save(2, state(2))
    second.save(3, state(3))  # the same process
    assert load(first) == 3
