"""Table 4 at a tiny scale: pretraining, fine-tuning on videos and on a tree of UCF-101, the record and the table."""

import dataclasses
import json
import shutil
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from benchmarks.paper import fine_tuning, official_splits, table4_transfer, trained_networks
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import RGB
from benchmarks.paper.tables import paper_numbers, running, scales
from benchmarks.paper.tables.scales import SCALES, Scale, Videos
from benchmarks.paper.tables.table import Row
from benchmarks.paper.trained_networks import Trained
from examples.d3d.config import PAPER, SHORTCUT, Input, plain_errors
from examples.d3d.data import open_clips
from examples.d3d.training import make_accelerator
from kdvideo import data, models
from kdvideo.data import synthetic

ALL = table4_transfer.OURS
FEWER = {"S3D-G without pretraining": (None,), "D3D Ensemble": (table4_transfer.S3DG_400, table4_transfer.D3D_600)}
SETTINGS = {"classes": ["horizontal", "spin"], "clips_per_class": {"train": 2, "test": 2}, "size": 40, "frames": 20}
TINY = dataclasses.replace(
    SHORTCUT,
    input=Input(frames=8, fps=12.5, short_side=36, crop=32, flow_bound=5.0),
    optimizer=dataclasses.replace(SHORTCUT.optimizer, steps=4, batch_size=4),
    network=dataclasses.replace(SHORTCUT.network, depth_multiplier=0.125),
)


@pytest.fixture(scope="module")
def tiny():
    """The scale pocket, and the rows of the table, in seconds."""
    before = torch.get_num_threads()
    sets = {f"kinetics{n}00": Videos(f"set {n}", {**SETTINGS, "seed": n}) for n in (4, 6)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(scales, "TRANSFERRED", ("diagonal", "rock", "spin"))
        patch.setattr(scales, "_FEW_CLIPS", {"train": 2, "test": 1})
        sets["transfer"] = scales._transfer(sets)
        patch.setitem(SCALES, "pocket", Scale("pocket", TINY, sets, (0,)))
        patch.setattr(table4_transfer, "OURS", FEWER)
        yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def ucf(tmp_path_factory):
    """Real files in the shape of UCF-101: two classes, and groups 8 for training and 1 for testing."""
    root = tmp_path_factory.mktemp("ucf")
    made = synthetic.write_dataset(root / "made", seed=3, **SETTINGS)
    rows = {"train": [], "test": []}
    for label, motion in enumerate(SETTINGS["classes"], 1):
        for part, group in (("train", 8), ("test", 1)):
            for number in range(2):
                clip = f"{motion}/v_{motion}_g{group:02d}_c{number:02d}.avi"
                (root / "UCF-101" / motion).mkdir(parents=True, exist_ok=True)
                shutil.copy(made / part / motion / f"{number:04d}.mp4", root / "UCF-101" / clip)
                rows[part].append(f"{clip} {label}" if part == "train" else clip)
    (root / "ucfTrainTestlist").mkdir()
    for part, lines in rows.items():
        (root / "ucfTrainTestlist" / f"{part}list01.txt").write_text("\n".join(lines))
    (root / "ucfTrainTestlist" / "classInd.txt").write_text("1 horizontal\n2 spin\n")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, ucf, tiny):
    """The command, with what it has written."""
    work = tmp_path_factory.mktemp("work")
    places = {"--work-dir": work, "--results": work / "results", "--clips": work / "none"}
    flags = [str(one) for pair in places.items() for one in pair]

    def command(*more):
        running.main(table4_transfer.table, None, [*flags, *more])

    command("--ucf101", str(ucf))
    return work, command


def test_every_method_is_measured_where_there_are_clips(run):
    work, _ = run
    record = json.loads((work / "results" / "table4_pocket.json").read_text())
    sets = ("synthetic videos", "UCF-101")
    assert list(record["rows"]) == [f"{method}, {name}" for name in sets for method in FEWER]
    for name, row in record["rows"].items():
        seed = row["seeds"]["0"]
        clips_tested = 3 if "synthetic" in name else 4
        assert round(seed["value"] / 100 * clips_tested, 6) in range(clips_tested + 1)
        assert seed["steps"] == 1
    text = (work / "results" / "table4_pocket.md").read_text()
    assert "transfer between small data sets. Pretrained, in the place of Kinetics, on set 4 and set 6." in text
    assert "3 motions, two of which only the second pretraining has; 6 training and 3 test clips" in text
    (line,) = [line for line in text.splitlines() if line.startswith("| D3D Ensemble |")]
    cells = [cell.strip() for cell in line.split("|")[2:-1]]
    assert [cell == "not run" for cell in cells] == [False, True, False, True, False, False]
    assert cells[4:] == ["97.6", "80.5"]
    assert "| P3D |  |  |  |  | 88.6 |  |" in text


def test_what_was_trained_and_with_what_it_started(run):
    work, _ = run
    trained = [json.loads(file.read_text()) for file in (work / "trained").glob("*/settings.json")]
    tuned = [one for one in trained if one["optimizer"]["steps"] == 1]
    assert len(trained) - len(tuned) == 3  # S3D-G, a teacher and its D3D
    assert len(tuned) == 2 * 3  # from nothing, S3D-G and D3D, on two data sets
    assert all("teacher" not in one and one["method"]["stream"] == "rgb" for one in tuned)
    for data_set in {one["data"] for one in tuned}:
        starts = [one.get("start") for one in tuned if one["data"] == data_set]
        assert len(set(starts)) == 3
        assert starts.count(None) == 1


def test_a_second_run_measures_nothing(run, ucf):
    work, command = run
    before = {path: path.stat().st_mtime_ns for path in [*work.glob("trained/*/*"), *work.glob("results/*.json")]}
    command("--ucf101", str(ucf))
    command("--render")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert "D3D Ensemble" in (work / "results" / "table4_pocket.md").read_text()


def test_scores_are_those_of_one_pass_over_each_clip(run, ucf, tmp_path):
    work, _ = run
    config = official_splits.official(dataclasses.replace(TINY, work_dir=work), "UCF-101", ucf)
    lab = Lab(config, make_accelerator(config))
    network = trained_networks.build(RGB, config, 2, 0).eval()
    with torch.no_grad():
        for parameter in [*network.parameters()][-2:]:  # the classifier: scores that differ from clip to clip
            parameter.mul_(1000)
    trained = Trained(tmp_path / "none", network, "rgb")
    found = fine_tuning.scores(trained, lab)
    sizes = {"frames": 8, "fps": 12.5, "short_side": 36, "crop": 32, "train": False}
    whole = data.MultiView(data.PairedClips(lab.clips.test, **sizes), data.single_pass)
    assert whole[0]["rgb"].shape[2] == 10
    with torch.no_grad():
        by_hand = torch.stack([network(item["rgb"]).softmax(1)[0] for item in whole])
    assert by_hand[:, 0].diff().abs().min() > 1e-3
    torch.testing.assert_close(found, by_hand.double(), atol=1e-5, rtol=1e-4)
    twice = fine_tuning.scores(trained, lab, partial(data.multi_crop, clips=2, crops=1))
    assert twice.shape == (4, 2)
    assert not torch.allclose(twice, found)
    network.input_spec = dataclasses.replace(network.input_spec, value_range=(0.0, 1.0))
    assert not torch.allclose(fine_tuning.scores(trained, lab), found, atol=1e-3)  # fed as its file says


def test_the_ensemble_averages_scores(monkeypatch, tiny, tmp_path):
    first, second = table4_transfer.S3DG_400, table4_transfer.D3D_600
    right, wrong = torch.eye(3), torch.eye(3).roll(1, 0)
    # How sure the first member is where it is right, and the second is not.
    strong = torch.tensor([[0.9], [0.9], [0.1]])
    scores = {first: strong * right + (1 - strong) * wrong, second: 0.4 * right + 0.6 * wrong}
    scores[second][2] = right[2]
    monkeypatch.setattr(table4_transfer, "pretrained", lambda one, *rest: one)
    tuned = lambda self, method, seed, start: SimpleNamespace(start=start, trainings={}) if method == RGB else None  # noqa: E731
    monkeypatch.setattr(Lab, "train", tuned)
    monkeypatch.setattr(fine_tuning, "scores", lambda trained, lab: scores[trained.start])
    (draw,) = SCALES["pocket"].draws("transfer", (0,), options("--work-dir", str(tmp_path)), None)
    for members, value in {(first,): 200 / 3, (second,): 100 / 3, (first, second): 100}.items():
        row = Row("one", ("synthetic videos", *members))
        measured = table4_transfer.measure(SCALES["pocket"], options(), row, draw.lab, 0)
        assert measured.value == pytest.approx(value)


def test_no_clip_of_the_pretraining_is_met_again(run):
    work, _ = run
    folders = list((work / "synthetic").iterdir())
    assert len(folders) == 3
    seeds = [{clip["seed"] for clip in json.loads((one / "synthetic.json").read_text())["clips"]} for one in folders]
    assert sum(map(len, seeds)) == len(set.union(*seeds)) == 8 + 8 + 9


def test_lists_of_a_target(run, ucf):
    work, _ = run
    found = open_clips(official_splits.official(dataclasses.replace(TINY, work_dir=work), "UCF-101", ucf))
    train, test = found.train, found.test
    assert sorted(map(Path, train["path"])) == sorted(ucf.glob("UCF-101/*/*_g08_*"))
    assert sorted(map(Path, test["path"])) == sorted(ucf.glob("UCF-101/*/*_g01_*"))
    assert [train.features["label"].names[k] for k in train["label"]] == [Path(p).parent.name for p in train["path"]]


def test_schedules():
    ours = fine_tuning.schedule(SHORTCUT.optimizer)
    assert (ours.steps, ours.lr) == (100, SHORTCUT.optimizer.lr / 3)
    published = fine_tuning.schedule(PAPER.optimizer)
    assert (published.steps, published.batch_size, published.momentum) == (10_000, 60, 0.9)


def test_rows_of_the_paper(monkeypatch):
    monkeypatch.setattr(table4_transfer, "OURS", ALL)
    found = table4_transfer.table(SCALES["pocket"], options())
    numbers = {
        "S3D-G": {"UCF-101": 96.8, "HMDB-51": 75.9},
        "D3D (Kinetics-400 pretrain)": {"UCF-101": 97.0, "HMDB-51": 78.7},
        "D3D (Kinetics-600 pretrain)": {"UCF-101": 97.1, "HMDB-51": 79.3},
        "D3D Ensemble": {"UCF-101": 97.6, "HMDB-51": 80.5},
    }
    for method, published in numbers.items():
        row = found.row(f"{method}, synthetic videos")
        assert found.published(row) == published
        assert row.claim
    members = [one.flag for one in found.row("D3D Ensemble, synthetic videos").of[1:]]
    assert members == ["d3d_kinetics400", "d3d_kinetics600"]
    assert not any(row.of for row in found.rows if row.name.endswith(("UCF-101", "HMDB-51")))
    assert {row["method"] for row in paper_numbers.tables()["table4"]["rows"]} == {*table4_transfer.OTHERS, *numbers}


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (("--scale", "paper"), "table4: 4 fine-tunings of 10000 steps of 60 clips"),
        (("--scale", "ut_interaction"), "table4 has no clips at scale ut_interaction: not run"),
    ],
)
def test_scales_at_which_nothing_is_trained(run, capsys, flags, text):
    work, command = run
    command(*flags)
    assert text in capsys.readouterr().out
    assert len(list((work / "results").glob("*.json"))) == 1


def test_wrong_input(run, ucf, tmp_path):
    _, command = run
    elsewhere = ("--results", str(tmp_path / "results"))
    with pytest.raises(SystemExit, match=f"^error: {tmp_path}/none: 1 problem.s.\n  no such folder$"):
        command("--hmdb51", str(tmp_path / "none"))
    with pytest.raises(SystemExit, match="give --ucf101 or --hmdb51"):
        command("--scale", "paper", "--execute")
    paper = ("--scale", "paper", "--execute", "--ucf101", str(ucf), *elsewhere)
    lab = Lab(PAPER, None)
    with pytest.raises(SystemExit, match=r"give the weights of D3D \(kinetics400\) as --d3d-kinetics400 FILE"):
        plain_errors(
            lambda: table4_transfer.pretrained(table4_transfer.D3D_400, lab, 0, SCALES["paper"], options(*paper))
        )()


def options(*flags):
    return running.parser(None).parse_args(list(flags))


def test_given_weights_take_the_place_of_pretraining(tmp_path, tiny):
    file = tmp_path / "d3d.safetensors"
    models.checkpoints.save(models.s3dg(3, depth_multiplier=0.125), file, classes=["a", "b", "c"], input_spec={})
    given = options("--d3d-kinetics600", str(file))
    lab = Lab(TINY, None)
    found = table4_transfer.pretrained(table4_transfer.D3D_600, lab, 0, SCALES["pocket"], given)
    assert (found.path, found.stream, found.network.num_classes) == (file, "rgb", 3)
    record = table4_transfer.table(SCALES["pocket"], given).settings["given"]
    assert [flag for flag, known in record.items() if known] == ["d3d_kinetics600"]
    assert len(record["d3d_kinetics600"]) == 16
