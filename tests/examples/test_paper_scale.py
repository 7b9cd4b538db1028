"""Lists of the official form, unreadable clips, and what one process finds out for all."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import shutil
import sys
import traceback
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator
from torch import distributed, multiprocessing

from examples.d3d import train_teacher
from examples.d3d.config import PAPER, Config
from examples.d3d.data import fingerprint, open_clips, prepare
from examples.d3d.evaluate import scores
from examples.d3d.processes import once
from kdvideo import data, models
from kdvideo.training import StepLog
from tests.examples.tiny import CLASSES, config, inside

HEAD = "label,youtube_id,time_start,time_end,split\n"


def kinetics(clips: Path, root: Path) -> tuple[Path, Path]:
    """The tiny clips with the names and lists of Kinetics; one clip of each list is gone."""
    lists = []
    for split in ("train", "test"):
        rows = []
        for i, path in enumerate(sorted((clips / split).rglob("*.mp4"))):
            name = f"{split[:2]}{i:09d}"
            (root / split).mkdir(parents=True, exist_ok=True)
            shutil.copy(path, root / split / f"{name}_000001_000011.mp4")
            rows.append(f"{path.parent.name},{name},1,11,{split}\n")
        lists.append(root / f"{split}.csv")
        lists[-1].write_text(HEAD + "".join(rows) + f"{CLASSES[0]},gone,0,10,{split}\n")
    return lists[0], lists[1]


def settings(clips: Path, tmp_path: Path, *more: str) -> Config:
    train, test = kinetics(clips, tmp_path / "k400")
    chosen = ["--train", str(train), "--test", str(test), "--root", str(tmp_path / "k400"), "--allow-missing", "0.2"]
    return config(clips, tmp_path / "work", *chosen, *more)


def test_official_lists_go_straight_in(clips: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="1 of .* clips are missing and left out"):
        opened = open_clips(settings(clips, tmp_path))
    assert (len(opened.train), len(opened.test), opened.classes) == (8, 4, sorted(CLASSES))
    for side in ("train", "test"):
        written = (tmp_path / "work" / "missing" / f"{side}.csv").read_text()
        assert "gone_000000_000010.mp4,no such file" in written
    with pytest.raises(data.ManifestError, match=r"1 of 9 clips are missing, more than the 10.00% allowed; all are in"):
        open_clips(settings(clips, tmp_path, "--allow-missing", "0.1"))
    assert (PAPER.allow_missing, PAPER.max_unreadable) == (0.1, 0.01)


def test_the_fingerprint_is_that_of_clips_labels_and_sizes(clips: Path) -> None:
    manifest = data.from_folder(clips / "train")
    rows = [(row["clip"], row["label"], Path(row["path"]).stat().st_size) for row in manifest]
    assert fingerprint(manifest) == hashlib.sha256(json.dumps(rows).encode()).hexdigest()[:16]


@pytest.mark.parametrize("wrong", ["allow_missing", "max_unreadable"])
def test_fractions_are_fractions(wrong: str) -> None:
    with pytest.raises(ValueError, match="must be fractions, 0 to 1"):
        dataclasses.replace(PAPER, **{wrong: 5.0})


def damaged(clips: Path, root: Path, split: str = "train") -> str:
    """Damage one clip of a copy; return its id."""
    shutil.copytree(clips, root)
    path = sorted((root / split).rglob("*.mp4"))[2]
    path.write_bytes(path.read_bytes()[:200])
    return path.relative_to(root / split).as_posix()


def test_a_training_survives_a_damaged_clip_whatever_the_workers(clips: Path, tmp_path: Path) -> None:
    name = damaged(clips, tmp_path / "copy")
    losses = []
    for workers in ("0", "2"):
        work = tmp_path / f"work{workers}"
        more = ("--max-unreadable", "0.2", "--num-workers", workers, "--network.fast-start")
        inside(train_teacher.main, tmp_path / "copy", work, *more)
        folder = work / "out" / "seed0" / "flow"
        assert (folder / "unreadable.txt").read_text() == f"{name}\n"
        losses.append([row["action"] for row in StepLog.read(folder / "log.jsonl")])
    assert len(losses[0]) == 6
    assert losses[0] == losses[1]


def test_flow_of_more_clips_than_allowed_is_an_error(clips: Path, tmp_path: Path) -> None:
    name = damaged(clips, tmp_path / "copy")
    opened = open_clips(config(tmp_path / "copy", tmp_path / "work", "--max-unreadable", "0.1"))
    with pytest.raises(data.ClipError, match=f"{name}: .*no flow of 1 of 8 clips can be computed"):
        prepare(opened, opened.train, Accelerator(cpu=True))


@pytest.mark.parametrize("stream", ["rgb", "flow"])
def test_a_test_stops_at_a_damaged_clip(clips: Path, tmp_path: Path, stream: str) -> None:
    name = damaged(clips, tmp_path / "copy", "test")
    setup = config(tmp_path / "copy", tmp_path / "work", "--max-unreadable", "1", "--num-workers", "0")
    network = models.s3dg(2, in_channels={"flow": 2, "rgb": 3}[stream], depth_multiplier=0.125)
    with pytest.raises(data.ClipError, match=name):
        scores(network, stream, open_clips(setup), setup, Accelerator(cpu=True))


def _process(rank: int, place: str, clips: str) -> None:
    """One of two processes: opens lists that only the first may read, then a list that is wrong."""
    folder = Path(place)
    try:
        init = f"file://{folder / 'rendezvous'}"
        distributed.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
        setup = config(Path(clips), folder / "work", "--num-workers", "0")
        if rank:
            data.from_folder = lambda *_: pytest.fail("the second process reads too")  # type: ignore[assignment]
        opened = open_clips(setup)
        found = [fingerprint(opened.train), len(opened.test), opened.train.features["label"].names]
        try:
            once(lambda: data.from_csv(folder / "nowhere.csv"))
        except data.ManifestError as error:
            found.append(str(error))
        (folder / f"{rank}.json").write_text(json.dumps(found))
    except BaseException:
        traceback.print_exc(file=sys.stderr)
        raise


def test_one_process_reads_the_lists_for_all(clips: Path, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    multiprocessing.start_processes(_process, (str(tmp_path), str(clips)), nprocs=2, start_method="fork")
    one, two = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in range(2))
    assert one == two
    assert one[0] == fingerprint(data.from_folder(clips / "train"))
    assert "nowhere.csv" in one[3]
