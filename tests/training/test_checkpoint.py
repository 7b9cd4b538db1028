"""Checkpoints: atomic, verified, rotated (reliability tests A7 to A10 in small)."""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import pytest
import torch

from kdvideo.training import CheckpointError, Checkpoints


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


def test_a_flipped_byte_is_found_and_the_previous_checkpoint_used(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))
    newest = checkpoints.save(2, state(2)) / "state.pt"
    whole = newest.read_bytes()
    for offset in random.Random(0).sample(range(len(whole)), 20):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        newest.write_bytes(damaged)
        with pytest.warns(UserWarning, match="damaged"):
            assert checkpoints.load()[0] == 1


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


@pytest.mark.parametrize("call", ["fsync", "rename"])
def test_a_refusing_disk_leaves_the_previous_and_no_temporary(tmp_path: Path, monkeypatch, call: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, state(1))

    def refuse(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if call == "fsync" else Path, call, refuse)
    with pytest.raises(CheckpointError, match="No space left"):
        checkpoints.save(2, state(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["step_000000001"]
    assert checkpoints.load()[0] == 1


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    canary = tmp_path / "canary"

    class Malicious:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {canary}",)

    Checkpoints(tmp_path).save(1, {"x": Malicious()})
    with pytest.raises(Exception, match=r"weights_only|Weights only"):
        Checkpoints(tmp_path).load()
    assert not canary.exists()


def test_keep_must_be_positive(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="keep"):
        Checkpoints(tmp_path, keep=0)


def _save_forever(folder: Path) -> None:
    torch.set_num_threads(1)  # the threads that earlier tests started do not survive a fork, and would be waited for
    checkpoints = Checkpoints(folder, keep=1)
    known = checkpoints.load()
    step = known[0] if known else 0
    while True:
        step += 1
        checkpoints.save(step, {"weight": torch.full((100_000,), float(step))})


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_kill_at_random_points_never_loses_the_last_checkpoint(tmp_path: Path) -> None:
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
    print(json.dumps({"id": "A7", "trials": 100, "bad": lost + torn + back}), file=sys.stderr)
    assert (lost, torn, back) == (0, 0, 0)
    assert seen > 20
