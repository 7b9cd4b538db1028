"""Checkpoints: atomic, verified, rotated (reliability tests A7 to A10 in small)."""

import hashlib
import json
import os
import random
import signal
import time
from pathlib import Path

import pytest
import torch

from kdvideo.training import CheckpointError, Checkpoints, ShardedCheckpoints


def state(step: int) -> dict[str, object]:
    return {"weight": torch.full((1000,), float(step)), "step": step}


def test_the_newest_is_loaded_and_only_the_last_are_kept(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.load() is None
    for step in (1, 2, 10):
        checkpoints.save(step, state(step))
    assert checkpoints.steps() == [2, 10]
    step, loaded = checkpoints.load()
    assert step == 10
    assert torch.equal(loaded["weight"], state(10)["weight"])


@pytest.mark.faults
@pytest.mark.reliability("A10")
def test_a_flipped_byte_is_found_and_the_previous_checkpoint_used(tmp_path: Path, record_property) -> None:
    """Fails when the digests of the manifest, or that of the manifest, are not compared."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    saved, trials = checkpoints.save(2, state(2)), 0
    for newest in (saved / "state.pt", saved / "manifest.json"):
        whole = newest.read_bytes()
        for offset in random.Random(0).sample(range(len(whole) - 1), min(200, len(whole) - 1)):  # but the last newline
            damaged = bytearray(whole)
            damaged[offset] ^= 1 << offset % 8
            newest.write_bytes(damaged)
            with pytest.warns(UserWarning, match="damaged"):
                assert checkpoints.load()[0] == 1
            trials += 1
        newest.write_bytes(whole)
    assert checkpoints.load()[0] == 2
    record_property("trials", trials)


def test_all_damaged_is_an_error_and_not_a_fresh_start(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    (checkpoints.save(1, state(1)) / "state.pt").write_bytes(b"")
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(CheckpointError, match="damaged"):
        checkpoints.load()


def test_a_folder_without_manifest_is_not_a_checkpoint(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, state(1))
    (tmp_path / "step_000000002").mkdir()
    assert checkpoints.steps() == [1]
    assert checkpoints.load()[0] == 1


@pytest.mark.faults
@pytest.mark.reliability("A8")
@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_refusing_disk_leaves_the_previous_and_no_temporary(tmp_path: Path, monkeypatch, call: str) -> None:
    """Fails when `commit` leaves its temporary folder."""
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))

    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, refuse)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoints.save(2, state(2))
    monkeypatch.undo()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "step_000000001"]
    assert checkpoints.load()[0] == 1


@pytest.mark.security
def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    """Fails when `Checkpoints.load` passes `weights_only=False`."""
    canary = tmp_path / "canary"

    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(ValueError, match=r"state\['x'\] must be a tensor, number, text or container, got Malicious"):
        checkpoints.save(1, {"x": Malicious()})
    path = checkpoints.save(1, state(1))
    torch.save({"x": Malicious()}, path / "state.pt")  # with a manifest to match, as one who gives files away can make
    digest = hashlib.sha256((path / "state.pt").read_bytes()).hexdigest()
    (path / "manifest.json").write_text(json.dumps({"step": 1, "sha256": {"state.pt": digest}}))
    with pytest.warns(UserWarning, match="damaged"), pytest.raises(CheckpointError, match="all 1 checkpoints"):
        checkpoints.load()
    assert not canary.exists()


def test_keep_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep"):
        Checkpoints(tmp_path, keep=0)


@pytest.mark.parametrize("step", [-1, 1.5, "3"])
def test_a_step_is_a_number_from_0_on(tmp_path: Path, step: int) -> None:
    """Fails when the step is not checked: its folder could not be named."""
    for checkpoints in (Checkpoints(tmp_path), ShardedCheckpoints(tmp_path)):
        with pytest.raises(ValueError, match=rf"step must be an integer of 0 or more, got {step!r}"):
            checkpoints.save(step, {})
    assert not any(tmp_path.iterdir())


def _save_forever(folder: Path) -> None:
    torch.set_num_threads(1)  # the threads that earlier tests started do not survive a fork, and would be waited for
    checkpoints = Checkpoints(folder, keep=1)
    known = checkpoints.load()
    step = known[0] if known else 0
    while True:
        step += 1
        checkpoints.save(step, {"weight": torch.full((100_000,), float(step))})


@pytest.mark.slow
@pytest.mark.faults
@pytest.mark.reliability("A7")
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_at_random_points_never_loses_the_last_checkpoint(tmp_path: Path, record_property) -> None:
    """Fails when the state is written in place, or a replaced checkpoint is removed before the new one appears."""
    seen, lost, torn, back = 0, 0, 0, 0
    pick = random.Random(int(time.time()))
    for trial in range(100):
        child = os.fork()
        if child == 0:
            _save_forever(tmp_path)
        time.sleep(0.02 + 0.08 * pick.random())
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = Checkpoints(tmp_path, keep=1).load()
        lost += found is None and trial > 5
        if found is not None:
            torn += not torch.all(found[1]["weight"] == found[0]).item()
            back += found[0] < seen
            seen = found[0]
    record_property("trials", 100)
    record_property("worst", f"{lost} lost, {torn} torn, {back} back")
    assert (lost, torn, back) == (0, 0, 0)
    assert seen > 20
