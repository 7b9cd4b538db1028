"""The published protocol is planned, not run."""

import json
import shlex
from pathlib import Path

import pytest

from benchmarks.paper import run_all, table1_flow_prediction, table5_ava, table6_ablations, table7_backbones
from benchmarks.paper.tables import cluster_plan, running
from benchmarks.paper.tables.gpu_shares import accumulation
from benchmarks.paper.tables.scales import SCALES
from examples.ava import config as ava
from examples.d3d.config import PAPER
from kdvideo.data import synthetic
from tests.benchmarks.fakes import Counting, options, table


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("clips") / "few"
    return synthetic.write_dataset(root, clips_per_class={"train": 2}, classes=("spin", "orbit"), size=32, frames=3)


def test_nothing_is_trained_without_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    measure = Counting()
    assert running.run([table(measure)], options(tmp_path, "--scale", "paper")) == []
    assert not measure.asked
    assert "--train: not given" in capsys.readouterr().out
    assert not (tmp_path / "results").exists()
    run_all.main(["--scale", "paper", "--only", "table6", "table1", "--results", str(tmp_path)])
    assert not list(tmp_path.glob("claims*"))


def test_the_command_is_complete(tmp_path: Path) -> None:
    flags = ("--scale", "paper", "--gpus", "8", "--train", "a list.csv", "--test", "val.csv")
    line = cluster_plan.command(table6_ablations.TABLE, PAPER, options(tmp_path, *flags))
    words = shlex.split(line)
    assert words[:6] == ["accelerate", "launch", "--num_processes", "8", "-m", "benchmarks.paper.table6_ablations"]
    given = running.parser(None).parse_args(words[6:])
    assert given.run
    assert (given.scale, given.gpus, given.train, given.test) == ("paper", 8, Path("a list.csv"), Path("val.csv"))
    several = cluster_plan.command(table6_ablations.TABLE, PAPER, options(tmp_path, "--gpus", "56"))
    assert several.startswith("accelerate launch --num_processes 56 --num_machines 7 --machine_rank $RANK ")


@pytest.mark.parametrize(("gpus", "machines"), [(9, 3), (11, 11), (12, 2), (16, 2), (42, 6), (84, 12)])
def test_every_machine_starts_as_many_processes(gpus: int, machines: int) -> None:
    assert f"--num_processes {gpus} --num_machines {machines} " in cluster_plan.launch(gpus, "module", [])


def test_the_printed_command_for_ava_shares_its_batch_evenly(tmp_path: Path) -> None:
    line = table5_ava.TABLE.plan(options(tmp_path, "--scale", "paper"))
    count = int(line.split("--num_processes ")[1].split()[0])
    assert ava.PAPER.optimizer.batch_size % count == 0
    assert "--num_machines" not in line


def test_without_clips_the_command_shows_where_they_go_and_does_not_run(tmp_path: Path) -> None:
    line = cluster_plan.command(table6_ablations.TABLE, PAPER, options(tmp_path))
    assert "--train TRAIN --test TEST" in line
    measure = Counting()
    with pytest.raises(ValueError, match="--train and --test"):
        running.run([table(measure)], options(tmp_path, "--scale", "paper", "--run"))
    assert not measure.asked


def test_each_gpu_holds_at_most_six_clips_at_a_time(tmp_path: Path) -> None:
    assert (accumulation(PAPER, 56), accumulation(PAPER, 8), accumulation(PAPER, 1)) == (1, 7, 56)
    for gpus in (1, 2, 3, 4, 6, 7, 8, 12, 14, 16, 21, 24, 28, 42, 48, 56, 84, 112, 168, 336):
        clips, rest = divmod(336 // gpus, accumulation(PAPER, gpus))
        assert 1 <= clips <= 6
        assert rest == 0
    with pytest.raises(ValueError, match=r"--gpus must divide the batch of 336, as \[1, 2, 3, .* got 5"):
        accumulation(PAPER, 5)
    flags = options(tmp_path, "--scale", "paper", "--gpus", "8", "--train", "a", "--test", "b")
    (draw,) = SCALES["paper"].draws("kinetics400", (3,), flags, None)
    config = draw.lab.config
    assert (draw.seed, config.gradient_accumulation_steps, config.train) == (3, 7, Path("a"))


def test_the_trainings_are_counted_with_their_teachers() -> None:
    names, readers = cluster_plan.trainings(table6_ablations.TABLE)
    assert len(names) == 11
    assert names.count("S3D-G RGB of another seed") == 1
    assert readers == 0
    names, _ = cluster_plan.trainings(table7_backbones.TABLE)
    assert len(names) == 7
    assert "S3D-G Flow" in names
    names, readers = cluster_plan.trainings(table1_flow_prediction.TABLE)
    assert (names, readers) == (["D3D", "S3D-G Flow", "S3D-G RGB"], 4)


def test_clips_that_are_listed_there_and_readable(clips: Path, tmp_path: Path) -> None:
    paths = sorted(clips.rglob("*.mp4"))
    broken = tmp_path / "broken.mp4"
    broken.write_bytes(b"nothing")
    rows = [*((path, "spin") for path in paths), (broken, "spin"), (tmp_path / "gone.mp4", "orbit")]
    listed = tmp_path / "list.csv"
    listed.write_text("".join(f"{path},{label}\n" for path, label in rows))
    assert cluster_plan.examine(listed, None, probe_at_most=0) == (6, 5, 5, 4)
    assert cluster_plan.examine(listed, None, probe_at_most=2) == (6, 5, 2, 2)
    assert cluster_plan.examine(clips / "train", None, probe_at_most=0) == (4, 4, 4, 4)


def test_hours_come_from_a_measured_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster_plan.record, "FOLDER", tmp_path)
    text = cluster_plan.plan([table6_ablations.TABLE], SCALES["paper"].config, options(tmp_path))
    assert "GPU-hours: not measured" in text
    part, arm = cluster_plan.STEP
    result = {"setting": {"batch": 6}, "seconds": {arm: 0.06}}
    measured = {"result": result, "environment": {"hardware": "a GPU"}}
    (tmp_path / "speed_flow.json").write_text(json.dumps({part: measured}))
    text = cluster_plan.plan([table6_ablations.TABLE], SCALES["paper"].config, options(tmp_path))
    assert f"GPU-hours: about {11 * 140_000 * 336 / 100 / 3600:.0f}" in text
    assert "100 clips/s in bfloat16 on one GPU (a GPU)" in text


def test_flow_is_extracted_first(clips: Path, tmp_path: Path) -> None:
    flags = ("--scale", "paper", "--train", str(clips / "train"), "--test", str(clips))
    lines = cluster_plan.plan([table6_ablations.TABLE], PAPER, options(tmp_path, *flags)).splitlines()
    first = [line.split("first: ")[1] for line in lines if "first: " in line]
    settings = "--fps 25 --short-side 256 --bound 20 --preset default --device cuda"
    places = {"train": clips / "train", "test": clips}
    assert first == [f"kdvideo extract {place} FLOW/{side} {settings}" for side, place in places.items()]
    assert lines.index(f"  first: {first[1]}") < next(k for k, line in enumerate(lines) if "accelerate launch" in line)
    assert "--flow-dir FLOW" in lines[-1]


@pytest.mark.parametrize(
    ("flags", "extracted"),
    [
        (("--flow-dir", "there"), True),
        (("--flow-from", "cache", "--distinct-views", "8"), True),
        (("--flow-from", "cache", "--cache-flow", "online"), False),
        (("--flow-from", "online"), False),
    ],
)
def test_the_command_says_how_flow_reaches_the_training(
    tmp_path: Path, flags: tuple[str, ...], extracted: bool
) -> None:
    given = options(tmp_path, "--scale", "paper", "--train", "a", "--test", "b", "--run", *flags)
    line = cluster_plan.command(table6_ablations.TABLE, PAPER, given)
    words = shlex.split(line)
    again = running.parser(None).parse_args(words[words.index("-m") + 2 :])
    for name in ("flow_from", "cache_flow", "distinct_views"):
        assert getattr(again, name) == getattr(given, name)
    assert again.flow_dir == (Path("there") if "there" in flags else Path("FLOW") if extracted else None)
    (draw,) = SCALES["paper"].draws("kinetics400", (0,), again, None)
    assert draw.lab.config.flow_from == (given.flow_from or "store")
    assert draw.lab.config.flow_dir == again.flow_dir
    assert SCALES["paper"].plan([table6_ablations.TABLE], again) is None


def test_gpus_never_wait_for_flow_that_nobody_asked_them_to_compute(tmp_path: Path) -> None:
    given = options(tmp_path, "--scale", "paper", "--train", "a", "--test", "b", "--run")
    with pytest.raises(ValueError, match=r"--flow-dir must name .* by `kdvideo extract a FLOW/train .* && kdvideo"):
        SCALES["paper"].plan([table6_ablations.TABLE], given)
