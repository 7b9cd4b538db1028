"""The folder of a training: whose it is, and its losses."""

import json
import math
from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch

from kdvideo.training import StepLog, claim_folder

SETTINGS = {"seed": 0, "optimizer": {"name": "sgd", "lr": 0.1}, "decay_at": (0.75, 0.875), "clips": Path("a/b")}


def test_a_folder_is_claimed_once_and_then_known(tmp_path: Path) -> None:
    folder = tmp_path / "out" / "seed0"
    claim_folder(folder, SETTINGS)
    before = (folder / "settings.json").read_bytes()
    assert json.loads(before) == {**SETTINGS, "decay_at": [0.75, 0.875], "clips": "a/b"}
    (folder / "weights").write_text("kept")
    claim_folder(folder, dict(reversed(SETTINGS.items())))
    assert (folder / "settings.json").read_bytes() == before
    assert (folder / "weights").read_text() == "kept"


@pytest.mark.reliability("A16")
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seed": 1}, "seed 0, not 1"),
        ({"optimizer": {"name": "sgd", "lr": 0.2}}, r"optimizer\.lr 0\.1, not 0\.2"),
        ({"optimizer": {"name": "adamw", "lr": 0.2}}, r"optimizer\.name sgd, not adamw; optimizer\.lr 0\.1, not 0\.2"),
        ({"optimizer": None}, r"optimizer \{'name': 'sgd', 'lr': 0\.1\}, not None"),
        ({"decay_at": (0.75,)}, r"decay_at \[0\.75, 0\.875\], not \[0\.75\]"),
        ({"clips": Path("a")}, "clips a/b, not a"),
        ({"processes": 2}, "processes None, not 2"),
    ],
)
def test_other_settings_are_refused_by_name(tmp_path: Path, change: dict, said: str) -> None:
    """Fails when `_differences` leaves out settings that only one of both has."""
    claim_folder(tmp_path, SETTINGS)
    before = (tmp_path / "settings.json").read_bytes()
    wanted = rf"{tmp_path} must be empty or hold a training with these settings, got {said}: choose another folder"
    with pytest.raises(ValueError, match=wanted):
        claim_folder(tmp_path, SETTINGS | change)
    assert (tmp_path / "settings.json").read_bytes() == before


@pytest.mark.parametrize("text", ["", "null", '{"seed": 0', "[" * 100_000, "\xff"])
def test_damaged_settings_are_named(tmp_path: Path, text: str) -> None:
    """Fails when `claim_folder` hands on what the reading of JSON raises."""
    (tmp_path / "settings.json").write_text(text, encoding="latin-1")
    with pytest.raises(ValueError, match=r"settings\.json must hold the settings of a training, got .*: remove it"):
        claim_folder(tmp_path, SETTINGS)


def test_a_setting_that_is_missing_now_is_a_difference(tmp_path: Path) -> None:
    claim_folder(tmp_path, {"seed": 0, "flow": "TVL1"})
    with pytest.raises(ValueError, match="got flow TVL1, not None:"):
        claim_folder(tmp_path, {"seed": 0})


def test_dataclasses_as_dictionaries_are_settings(tmp_path: Path) -> None:
    @dataclass
    class Optimizer:
        lr: float = 0.1
        decay_at: tuple[float, ...] = (0.5,)

    for _ in range(2):  # tuples come back as lists
        claim_folder(tmp_path, {"optimizer": asdict(Optimizer())})


def test_a_resumed_log_drops_what_is_repeated(tmp_path: Path) -> None:
    path = tmp_path / "new" / "log.jsonl"
    log = StepLog(path)
    for step in range(5):
        log(step, {"action": 1.5 + step, "distill": 0.25})
    assert StepLog.read(path)[4] == {"step": 4, "action": 5.5, "distill": 0.25}
    again = StepLog(path, start=3)
    assert [row["step"] for row in StepLog.read(path)] == [0, 1, 2]
    again(3, {"action": 0.0})
    assert [row["step"] for row in StepLog.read(path)] == [0, 1, 2, 3]
    StepLog(path)  # from the start: nothing is kept
    assert StepLog.read(path) == []


def test_a_log_that_is_not_there_yet_starts_anywhere(tmp_path: Path) -> None:
    StepLog(tmp_path / "log.jsonl", start=3)(3, {"action": 1.0})
    assert StepLog.read(tmp_path / "log.jsonl") == [{"step": 3, "action": 1.0}]


def test_a_line_that_was_half_written_is_dropped(tmp_path: Path) -> None:
    """A process may be killed while it writes."""
    path = tmp_path / "log.jsonl"
    log = StepLog(path)
    for step in range(3):
        log(step, {"action": 1.0})
    path.write_text(path.read_text() + '{"step": 3, "act')
    assert [row["step"] for row in StepLog.read(path)] == [0, 1, 2]
    StepLog(path, start=2)(2, {"action": 2.0})
    assert [row["action"] for row in StepLog.read(path)] == [1.0, 1.0, 2.0]


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("written", [True, False])
def test_a_loss_that_is_not_finite_is_an_error(tmp_path: Path, bad: float, written: bool) -> None:
    path = tmp_path / "log.jsonl"
    log = StepLog(path if written else None)
    log(0, {"action": 1.0})
    with pytest.raises(FloatingPointError, match=rf"got \{{'action': 1.0, 'distill': {bad}\}} at step 1: lower the"):
        log(1, {"action": 1.0, "distill": bad})
    assert not written or len(StepLog.read(path)) == 1
    assert path.exists() == written


@pytest.mark.faults
@pytest.mark.parametrize(
    "torn", [b'{"step": 3, "act', b"\x00\xff{", b'{"step": 3}\n[1]\n"text"\n{"other": 1}\n{"step": 9']
)
def test_a_torn_log_stops_no_restart(tmp_path: Path, torn: bytes) -> None:
    """Fails when a line that is not whole is parsed, or stays before the next one."""
    path = tmp_path / "log.jsonl"
    log = StepLog(path)
    for step in range(3):
        log(step, {"action": 1.0})
    path.write_bytes(path.read_bytes() + torn)
    StepLog(path, start=3)(3, {"action": 2.0})
    assert [row["step"] for row in StepLog.read(path)] == [0, 1, 2, 3]
    assert path.read_bytes().count(b"\n") == 4


def test_paths_may_be_text_and_losses_tensors(tmp_path: Path) -> None:
    """Fails when they are used as they are: text has no `/`, and a tensor is no JSON."""
    claim_folder(str(tmp_path), SETTINGS)
    path = str(tmp_path / "log.jsonl")
    StepLog(path)(0, {"action": torch.tensor(0.5, requires_grad=True), "steps": 3})
    assert StepLog.read(path) == [{"step": 0, "action": 0.5, "steps": 3}]
    with pytest.raises(FloatingPointError, match=r"got \{'action': nan\} at step 1"):
        StepLog(path, start=1)(1, {"action": torch.tensor(math.nan)})
