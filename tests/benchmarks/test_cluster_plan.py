"""The published protocol is planned, not run."""

import dataclasses
import json
import math
import shlex
from pathlib import Path

import pytest

from benchmarks.paper import (
    figure4_flow,
    run_all,
    table1_flow_prediction,
    table2_kinetics400,
    table5_ava,
    table6_ablations,
    table7_backbones,
)
from benchmarks.paper.methods import D3D, FLOW, RGB
from benchmarks.paper.tables import cluster_plan, running
from benchmarks.paper.tables.gpu_shares import on_gpus
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
    line = cluster_plan.command([table6_ablations.TABLE], PAPER, options(tmp_path, *flags))
    words = shlex.split(line)
    assert words[:6] == ["accelerate", "launch", "--num_processes", "8", "-m", "benchmarks.paper.table6_ablations"]
    given = running.parser(None).parse_args(words[6:])
    assert given.execute
    assert (given.scale, given.gpus, given.train, given.test) == ("paper", 8, Path("a list.csv"), Path("val.csv"))
    many = options(tmp_path, "--gpus", "56", "--equal-steps", "--seeds", "0", "1")
    several = cluster_plan.command([table6_ablations.TABLE, table7_backbones.TABLE], PAPER, many)
    assert several.startswith("accelerate launch --num_processes 56 --num_machines 7 --machine_rank $RANK ")
    words = shlex.split(several)
    assert words[words.index("-m") + 1] == "benchmarks.paper.run_all"
    given = run_all.flags.parser_of_all(None).parse_args(words[words.index("-m") + 2 :])
    assert (given.only, given.gpus, given.equal_steps, given.execute) == (["table6", "table7"], 56, True, True)
    assert given.seeds == [0, 1]


@pytest.mark.parametrize(("gpus", "machines"), [(9, 3), (11, 11), (12, 2), (16, 2), (42, 6), (84, 12)])
def test_every_machine_starts_as_many_processes(gpus: int, machines: int) -> None:
    assert f"--num_processes {gpus} --num_machines {machines} " in cluster_plan.launch(gpus, "module", [])


def test_the_printed_commands_for_ava_parse(tmp_path: Path) -> None:
    lines = table5_ava.TABLE.plan(options(tmp_path, "--scale", "paper", "--gpus", "4")).splitlines()
    commands = [shlex.split(line) for line in lines if "accelerate" in line]
    assert [words[words.index("-m") + 1] for words in commands] == ["examples.ava.train", "examples.ava.evaluate"]
    for words in commands:
        assert words[words.index("--num_processes") + 1] == "4"
        given = ava.parse(words[words.index("-m") + 2 :])
        assert (given.optimizer, given.root) == (ava.PAPER.optimizer, Path("AVA"))


def test_without_clips_the_command_shows_where_they_go_and_does_not_run(tmp_path: Path) -> None:
    line = cluster_plan.command([table6_ablations.TABLE], PAPER, options(tmp_path))
    assert "--train TRAIN --test TEST" in line
    measure = Counting()
    with pytest.raises(ValueError, match="--train and --test"):
        running.run([table(measure)], options(tmp_path, "--scale", "paper", "--execute"))
    assert not measure.asked


@pytest.mark.parametrize("batch", [336, 384, 60])
def test_each_gpu_holds_at_most_six_clips_at_a_time(batch: int) -> None:
    config = dataclasses.replace(PAPER, optimizer=dataclasses.replace(PAPER.optimizer, batch_size=batch))
    for gpus in (1, 2, 3, 5, 7, 8, 11, 48, 56, 64, 384, 500):
        shared = on_gpus(config, gpus)
        part, rest = divmod(batch, shared.gradient_accumulation_steps)
        assert (shared.optimizer, rest) == (config.optimizer, 0)
        assert math.ceil(part / gpus) <= 6
    with pytest.raises(ValueError, match="--gpus must be at least 1, got 0"):
        on_gpus(config, 0)


def test_the_published_shares(tmp_path: Path) -> None:
    assert [on_gpus(PAPER, gpus).gradient_accumulation_steps for gpus in (56, 8, 1)] == [1, 7, 56]
    flags = options(tmp_path, "--scale", "paper", "--gpus", "8", "--train", "a", "--test", "b")
    (draw,) = SCALES["paper"].draws("kinetics400", (3,), flags, None)
    config = draw.lab.config
    assert (draw.seed, config.gradient_accumulation_steps, config.train) == (3, 7, Path("a"))


def test_the_trainings_are_counted_with_their_teachers() -> None:
    found = cluster_plan.networks_of(table6_ablations.TABLE)
    assert len(found) == 11
    assert (RGB, 1) in found  # the spatial teacher is of another seed
    found = cluster_plan.networks_of(table7_backbones.TABLE)
    assert len(found) == 7
    assert (FLOW, 0) in found
    assert cluster_plan.networks_of(table1_flow_prediction.TABLE) == {(D3D, 0), (FLOW, 0), (RGB, 0)}


def test_what_tables_share_is_planned_once(tmp_path: Path) -> None:
    tables = [table1_flow_prediction.TABLE, table2_kinetics400.TABLE, figure4_flow.TABLE]
    text = cluster_plan.plan(tables, SCALES["paper"].config, options(tmp_path))
    lines = {line.split("  ")[1]: line for line in text.splitlines() if " x " in line}
    assert list(lines) == ["network", "D3D", "I3D Flow", "I3D RGB", "S3D-G Flow", "S3D-G RGB", "4 flow decoders"]
    assert lines["D3D"].endswith("table1 table2 figure4")
    assert lines["4 flow decoders"].endswith("table1 figure4")
    steps = {name: line.split(" x ")[0].split()[-1] for name, line in lines.items()}
    assert (steps["D3D"], steps["S3D-G RGB"], steps["I3D Flow"]) == ("140000", "80000", "155000")
    assert text.count("accelerate launch") == 1
    equal = cluster_plan.plan(tables, SCALES["paper"].config, options(tmp_path, "--equal-steps"))
    assert equal.count("140000 x 336") == 5


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
    assert "GPU-hours together: not measured" in text
    part, arm = cluster_plan.STEP
    result = {"setting": {"batch": 6}, "seconds": {arm: 0.06}}
    measured = {"result": result, "environment": {"hardware": "a GPU"}}
    (tmp_path / "speed_flow.json").write_text(json.dumps({part: measured}))
    text = cluster_plan.plan([table6_ablations.TABLE], SCALES["paper"].config, options(tmp_path))
    steps = 8 * 140_000 + 3 * 80_000
    assert f"GPU-hours together: about {steps * 336 / 100 / 3600:.0f}\n" in text
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
    given = options(tmp_path, "--scale", "paper", "--train", "a", "--test", "b", "--execute", *flags)
    line = cluster_plan.command([table6_ablations.TABLE], PAPER, given)
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
    given = options(tmp_path, "--scale", "paper", "--train", "a", "--test", "b", "--execute")
    with pytest.raises(ValueError, match=r"--flow-dir must name .* by `kdvideo extract a FLOW/train .* && kdvideo"):
        SCALES["paper"].plan([table6_ablations.TABLE], given)
