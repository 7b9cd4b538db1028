"""The RGB network beside the teacher: the same bits, nothing left behind."""

import multiprocessing
import time
from pathlib import Path

import pytest
import torch

from examples.d3d import run as recipe
from examples.d3d.beside import rgb_beside
from examples.d3d.data import open_clips
from examples.d3d.train_teacher import WEIGHTS
from examples.d3d.training import make_accelerator
from tests.examples.tiny import config, inside


@pytest.fixture
def two_threads(one_thread: None) -> None:
    torch.set_num_threads(2)


def weights(work: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in work.glob(f"out/seed0/*/{WEIGHTS}")}


def test_two_trainings_at_once_give_what_one_after_the_other_gives(clips: Path, tmp_path: Path, capsys) -> None:
    """Fails when the process beside trains with other threads, seed or clips, or does not train at all."""
    torch.set_num_threads(1)
    inside(recipe.main, clips, tmp_path / "one")
    assert "S3D-G RGB seed 0: 100 %" in capsys.readouterr().err
    torch.set_num_threads(2)
    inside(recipe.main, clips, tmp_path / "two")
    said = capsys.readouterr()
    assert "at the same time" in said.out
    assert "S3D-G RGB" not in said.err  # there was nothing left for this process to train
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    assert sorted(one) == ["d3d", "flow", "rgb"]
    assert {name: one[name] == two[name] for name in one} == {"flow": True, "rgb": True, "d3d": True}


def test_a_run_that_is_stopped_stops_the_training_beside_it(clips: Path, tmp_path: Path, two_threads: None) -> None:
    """Fails when the process is not terminated, or is killed, which leaves no checkpoint."""
    settings = config(clips, tmp_path, "--optimizer.steps", "100000", "--checkpointing-steps", "100000")
    folder = settings.folder(0, "rgb")

    def stopped() -> None:
        with rgb_beside(settings, open_clips(settings), 0, make_accelerator(settings)) as beside:
            assert beside
            deadline = time.monotonic() + 100
            while not (folder / "log.jsonl").exists() and time.monotonic() < deadline:
                time.sleep(0.05)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert not multiprocessing.active_children()
    assert list(folder.glob("checkpoints/step_*/manifest.json"))
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("reason", ["one thread", "teacher", "trained"])
def test_where_there_is_nothing_to_gain(clips: Path, tmp_path: Path, two_threads: None, reason: str) -> None:
    more = ("--teacher", "given.safetensors") if reason == "teacher" else ()
    settings = config(clips, tmp_path, *more)
    if reason == "one thread":
        torch.set_num_threads(1)
    if reason == "trained":
        (settings.folder(0, "flow")).mkdir(parents=True)
        (settings.folder(0, "flow") / WEIGHTS).touch()
    with rgb_beside(settings, open_clips(settings), 0, make_accelerator(settings)) as beside:
        assert not beside
    assert not settings.folder(0, "rgb").exists()
