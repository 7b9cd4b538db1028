"""The published protocol: each network's own schedule, and whole clips in every table that scores clips."""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate import Accelerator
from torch import nn

from benchmarks.paper import decoding, fine_tuning, published, table4_transfer
from benchmarks.paper.decoding import Features, Reader
from benchmarks.paper.lab import Lab
from benchmarks.paper.methods import D3D, FLOW, I3D_FLOW, I3D_RGB, NL_RGB, RGB, Method
from benchmarks.paper.tables import scripts
from benchmarks.paper.tables.scales import SCALES
from benchmarks.paper.tables.table import Row
from benchmarks.paper.trained_networks import Trained
from examples.d3d import evaluate
from examples.d3d.config import PAPER
from examples.d3d.networks import learning_rate
from kdvideo import data, flow, models
from tests.benchmarks.fakes import options

TABLES = [name for name in scripts.modules() if name != "table5"]  # whose windows are those of AVA's key frames


def paper(clips: Path, folder: Path, part: str = "kinetics400", *more: str) -> Lab:
    flags = ("--scale", "paper", "--train", str(clips / "train"), "--test", str(clips / "test"), *more)
    (draw,) = SCALES["paper"].draws(part, (0,), options(folder, *flags), Accelerator(cpu=True))
    return draw.lab


@pytest.mark.parametrize(
    ("method", "rates"),
    [
        (RGB, {0: 0.1, 59_999: 0.1, 60_000: 0.01, 69_999: 0.01, 70_000: 0.001, 79_999: 0.001}),
        (I3D_RGB, {0: 0.1, 96_999: 0.1, 97_000: 0.01, 107_999: 0.01, 108_000: 0.001, 114_999: 0.001}),
        (
            I3D_FLOW,
            {0: 0.1, 96_999: 0.1, 97_000: 0.01, 104_499: 0.01, 104_500: 0.001, 114_999: 0.001}
            | {115_000: 0.1, 139_999: 0.1, 140_000: 0.01, 149_999: 0.01, 150_000: 0.001, 154_999: 0.001},
        ),
    ],
)
def test_rates_are_those_of_the_authors(method: Method, rates: dict[int, float]) -> None:
    schedule = published.own(PAPER)[method].optimizer
    assert {step: learning_rate(schedule)(step) for step in rates} == pytest.approx(rates)
    assert schedule.steps == max(rates) + 1
    assert schedule.batch_size == schedule.reference_batch == (336 if method == RGB else 64 * 6)
    assert (schedule.name, schedule.momentum, schedule.weight_decay) == ("sgd", 0.9, 1e-7)


def test_only_s3dg_and_i3d_alone_have_a_schedule_of_their_own(clips: Path, tmp_path: Path) -> None:
    lab = paper(clips, tmp_path, "kinetics400", "--gpus", "8")
    assert lab.settings(FLOW).optimizer == lab.settings(RGB).optimizer == published.S3DG
    assert lab.settings(D3D) == lab.settings(NL_RGB) == lab.config
    assert lab.config.optimizer == PAPER.optimizer
    # 48 clips of I3D's batch are one GPU's, 42 of the others': 6 at a time.
    assert [lab.settings(one).gradient_accumulation_steps for one in (I3D_RGB, RGB, D3D)] == [8, 7, 7]
    equal = paper(clips, tmp_path, "kinetics400", "--equal-steps")
    assert equal.settings(I3D_RGB) == equal.config
    scale = SCALES["paper"]
    assert scale.clips_for_record(equal)["schedules"] != scale.clips_for_record(lab)["schedules"]


@pytest.mark.parametrize("name", ["pocket", "bench"])
def test_small_scales_have_one_schedule(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data.synthetic, "write_dataset", lambda root, **settings: root)
    (draw,) = SCALES[name].draws("kinetics400", (0,), options(tmp_path), None)
    assert {draw.lab.settings(one) for one in (RGB, I3D_RGB, I3D_FLOW, D3D)} == {draw.lab.config}
    assert draw.lab.config.optimizer == SCALES[name].config.optimizer


def test_a_pretraining_for_table_4_is_that_of_table_3(clips: Path, tmp_path: Path) -> None:
    flags = options(tmp_path, "--scale", "paper", "--train", str(clips / "train"), "--test", str(clips / "test"))
    source = SCALES["paper"].pretraining("kinetics600", paper(clips, tmp_path, "transfer"), flags)
    table3 = paper(clips, tmp_path, "kinetics600")
    assert source is not None
    assert (source.config, source.own) == (table3.config, table3.own)


class AskedError(Exception):
    """Ends a measurement where it reads the test clips."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """What would be scored; nothing is trained, no flow is computed."""
    found: list[Any] = []
    network = models.s3dg(2, depth_multiplier=0.125)

    def gather(dataset: Any, rows_of: Any, accelerator: Accelerator, **loading: Any) -> None:
        found.append((dataset, loading["batch_size"]))
        raise AskedError

    def train(self: Lab, method: Method, seed: int, **more: Any) -> Trained:
        return Trained(tmp_path / "model.safetensors", network, method.stream)

    monkeypatch.setattr(Lab, "train", train)
    reader = Reader(nn.Identity(), "rgb", tmp_path, {})
    monkeypatch.setattr(decoding, "trained", lambda *_: reader)
    for module in (evaluate, decoding):
        monkeypatch.setattr(module, "gather", gather)
        monkeypatch.setattr(module, "prepare", lambda clips, *_: flow.EstimatorSource(clips.estimator))
    monkeypatch.setattr(table4_transfer, "target", lambda name, config, *_: config)
    monkeypatch.setattr(table4_transfer, "pretrained", lambda *_: None)
    return found


@pytest.mark.parametrize("name", TABLES)
def test_every_table_scores_one_pass_over_the_whole_clip(
    name: str, clips: Path, tmp_path: Path, asked: list[Any]
) -> None:
    flags: argparse.Namespace = options(tmp_path, "--scale", "paper", "--ucf101", str(tmp_path))
    table = scripts.table(name, SCALES["paper"], flags)
    lab, rows = paper(clips, tmp_path, table.part), [row for row in table.rows if row.of]
    for row in rows:
        with pytest.raises(AskedError):
            table.measure(row, lab, 0)
    assert len(asked) == len(rows) >= 1
    for dataset, batch in asked:
        assert isinstance(dataset, data.MultiView)
        assert batch is None
        (window,) = dataset.protocol(300, 256, 340, dataset.clips.frames, dataset.clips.crop)
        assert window == data.Window(start=25, top=16, left=58, crop=224, flip=False, frames=250)


def test_windows_are_scored_where_the_settings_say_so(clips: Path, tmp_path: Path, asked: list[Any]) -> None:
    lab = paper(clips, tmp_path)
    shown = dataclasses.replace(lab.config, input=dataclasses.replace(lab.config.input, test_frames=0))
    for features in (Features(None), Features(RGB)):
        with pytest.raises(AskedError):
            decoding.measure(Row("windows", (features,)), Lab(shown, lab.accelerator), 0)
    assert all(isinstance(dataset, data.PairedClips) and batch == decoding.BATCH for dataset, batch in asked)


@pytest.mark.parametrize("frames", [64, 65, 67, 250])
@pytest.mark.parametrize(("layer", "stride"), [("2C", 2), ("3A", 2), ("4C", 4), ("4F", 4)])
def test_flow_is_read_from_clips_of_any_length(frames: int, layer: str, stride: int) -> None:
    config = dataclasses.replace(PAPER, network=dataclasses.replace(PAPER.network, depth_multiplier=0.125))
    moving = torch.zeros(1, 2, frames, 32, 32)
    moving[:, 0] = (torch.arange(frames) / frames)[:, None, None]
    lab = Lab(config, Accelerator(cpu=True))
    predicted, target = decoding.predictions(
        decoding.Zeros(config, layer), "rgb", {"rgb": torch.zeros(1, 3, frames, 32, 32), "flow": moving}, lab
    )
    assert predicted.shape[2] == -(-frames // stride)
    u = flow.im2flow_decode(target.transpose(1, 2))[0, :, 0, 0, 0]
    assert u.tolist() == pytest.approx([20 * min(k * stride, frames - 1) / frames for k in range(len(u))], rel=1e-4)


def test_fine_tuning_keeps_its_own_schedule() -> None:
    assert fine_tuning.schedule(PAPER.optimizer).steps == 10_000
