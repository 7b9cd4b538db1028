"""Training and evaluation of a detector on the tiny set."""

import dataclasses
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from accelerate import Accelerator

from examples.ava import detectors, evaluate, train
from examples.ava.config import Config
from examples.ava.windows import Windows, collate, open_split
from examples.d3d import batches
from examples.d3d import training as loop
from examples.d3d.networks import make_optimizer
from kdvideo import detection, models
from kdvideo.training import StepLog, settings_hash
from tests.examples_ava.tiny import arguments, tiny


@pytest.fixture(scope="module")
def accelerator() -> Accelerator:
    return train.make_accelerator(Config())


@pytest.fixture(scope="module")
def trained(videos: Path, weights: Path, accelerator: Accelerator, tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = tiny(videos, tmp_path_factory.mktemp("work"))
    return train.train(config, weights, 0, accelerator)


def build(weights: Path, layer: str = "4F") -> detection.Detector:
    return detectors.build(detectors.pretrained(weights)[0], layer, 6, seed=0)


def test_twenty_steps_on_one_batch_lower_both_losses(videos: Path, weights: Path, tmp_path: Path) -> None:
    config = tiny(videos, tmp_path)
    windows = Windows(open_split(config, "train"), config, train=True)
    batch = collate([windows[0], windows[2]])
    network = build(weights)
    optimizer = make_optimizer(network, dataclasses.replace(config.optimizer, lr=3e-3))
    detectors.set_training(network, frozen_statistics=config.frozen_statistics)
    seen = []
    for _ in range(20):
        terms = train.losses(network, batch, spec=network.backbone.input_spec)
        seen.append([terms["actions"].item(), terms["boxes"].item()])
        optimizer.zero_grad()
        sum(terms.values()).backward()
        optimizer.step()
    assert seen[-1][0] < 0.7 * seen[0][0]
    assert sum(seen[-1]) < 0.7 * sum(seen[0])


def test_frozen_statistics_stay_and_others_move(weights: Path) -> None:
    for frozen in (True, False):
        network = build(weights)
        before = [value.clone() for name, value in network.named_buffers() if name.endswith("running_mean")]
        detectors.set_training(network, frozen_statistics=frozen)
        network(torch.randn(1, 3, 8, 40, 40), [torch.tensor([[0.1, 0.1, 0.5, 0.5]])])
        after = [value for name, value in network.named_buffers() if name.endswith("running_mean")]
        assert all(a.equal(b) for a, b in zip(before, after, strict=True)) is frozen
        assert network.training
        assert network.head.training


def test_a_trained_detector_comes_back_as_it_was(trained: Path, weights: Path) -> None:
    loaded = detectors.load(trained)
    state = torch.load(next(trained.glob("checkpoints/step_000000004/state.pt")), weights_only=True)["model"]
    found = loaded.network.state_dict()
    assert found.keys() == state.keys()
    assert all(found[name].equal(value) for name, value in state.items())
    assert loaded.classes == dict(enumerate(("horizontal", "orbit", "pulse", "shear", "spin", "vertical"), 1))
    assert [row["step"] for row in StepLog.read(trained / "log.jsonl")] == [0, 1, 2, 3]
    fresh = build(weights).state_dict()
    assert not all(found[name].equal(value) for name, value in fresh.items() if "backbone" in name or "model" in name)


def test_an_equal_training_is_not_done_twice(
    videos: Path, weights: Path, trained: Path, accelerator: Accelerator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(train, "fit", lambda *_: pytest.fail("trained again"))
    config = tiny(videos, trained.parents[1])
    assert trained == trained.parents[1] / "out" / "seed0"
    assert train.train(config, weights, 0, accelerator) == trained
    assert train.train(dataclasses.replace(config, num_workers=3), weights, 0, accelerator) == trained


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"layer": "3C"}, "layer 4F, not 3C"),
        ({"dropout": 0.5}, "dropout 0.0, not 0.5"),
        ({"box_weight": 2.0}, "box_weight 1.0, not 2.0"),
        ({"frozen_statistics": False}, "frozen_statistics True, not False"),
        ({"clip_start": 0}, "clip_start 900, not 0"),
    ],
)
def test_a_folder_of_other_settings_is_refused(
    videos: Path, weights: Path, trained: Path, accelerator: Accelerator, change: dict, said: str
) -> None:
    config = tiny(videos, trained.parents[1], **change)
    with pytest.raises(ValueError, match=rf"seed0 must be empty or hold a training with these settings, got {said}:"):
        train.train(config, weights, 0, accelerator)


def test_what_decides_the_outcome(videos: Path, weights: Path, tmp_path: Path) -> None:
    split, network = open_split(tiny(videos, tmp_path), "train"), detectors.pretrained(weights)[0]
    other = models.s3dg(6, depth_multiplier=0.125, min_depth=8)
    fed = detectors.pretrained(weights)[0]
    fed.input_spec = dataclasses.replace(fed.input_spec, value_range=(0.0, 1.0))

    def name(network: models.Network = network, seed: int = 0, **changes: object) -> str:
        return settings_hash(train.decisive(tiny(videos, tmp_path, **changes), network, split, seed))

    assert name(num_workers=3) == name(work_dir=tmp_path / "elsewhere") == name()
    changed = {"layer": "3C", "dropout": 0.5, "box_weight": 2.0, "frozen_statistics": False, "clip_start": 0}
    names = [name(**{key: value}) for key, value in changed.items()]
    names += [name(seed=1), name(other), name(fed), name()]
    assert len(set(names)) == len(names)


def test_a_folder_of_your_own(
    videos: Path, weights: Path, trained: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    config = tiny(videos, tmp_path)
    assert train.train(config, weights, 0, accelerator, folder=tmp_path / "mine") == tmp_path / "mine"
    assert not (tmp_path / "out").exists()
    for name in (detectors.BACKBONE, detectors.HEAD):
        assert (tmp_path / "mine" / name).read_bytes() == (trained / name).read_bytes()


def test_an_interrupted_training_goes_on_to_the_same_weights(
    videos: Path, weights: Path, accelerator: Accelerator, tmp_path: Path, monkeypatch
) -> None:
    whole = train.train(tiny(videos, tmp_path / "whole", dropout=0.5), weights, 0, accelerator)
    torch.rand(7)  # no state of a generator may matter
    steps = loop._steps

    def three(*given):  # one more than there is a checkpoint of
        for step, *rest in steps(*given):
            yield step, *rest
            if step == 2:
                raise KeyboardInterrupt

    monkeypatch.setattr(loop, "_steps", three)
    config = tiny(videos, tmp_path, dropout=0.5)
    with pytest.raises(KeyboardInterrupt):
        train.train(config, weights, 0, accelerator)
    assert len(StepLog.read(tmp_path / "out" / "seed0" / "log.jsonl")) == 3
    monkeypatch.setattr(loop, "_steps", steps)
    folder = train.train(config, weights, 0, accelerator)
    for name in (detectors.BACKBONE, detectors.HEAD):
        assert (folder / name).read_bytes() == (whole / name).read_bytes()
    assert (folder / "log.jsonl").read_text() == (whole / "log.jsonl").read_text()


def test_the_weight_of_the_boxes_is_in_the_loss(videos: Path, weights: Path, tmp_path: Path) -> None:
    config = tiny(videos, tmp_path)
    windows = Windows(open_split(config, "train"), config, train=True)
    batch, network = collate([windows[0], windows[2]]), build(weights).eval()
    spec = network.backbone.input_spec
    once, thrice = (train.losses(network, batch, spec=spec, box_weight=weight) for weight in (1.0, 3.0))
    assert thrice["boxes"].item() == pytest.approx(3 * once["boxes"].item())
    assert thrice["actions"].item() == once["actions"].item()


def test_processes_share_the_batch_of_a_step(videos: Path, tmp_path: Path) -> None:
    config = tiny(videos, tmp_path)
    windows = Windows(open_split(config, "train"), config, train=True)
    training = batches.Training("x", tmp_path, torch.nn.Identity(), dict, windows, config.optimizer, 0, collate=collate)

    def shares(rank: int, processes: int) -> list[list[tuple[int, int]]]:
        one = SimpleNamespace(process_index=rank, num_processes=processes, device=torch.device("cpu"))
        return list(batches._share(training, one, 0))

    parts = [shares(rank, 2) for rank in (0, 1)]
    assert [sorted(one + other) for one, other in zip(*parts, strict=True)] == [sorted(b) for b in shares(0, 1)]


LAST = ("5A", "5B", "5C")


def test_layers_on_the_boxes_come_back_too(
    videos: Path, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    config = tiny(videos, tmp_path, box_layers=LAST)
    folder = train.train(config, weights, 0, accelerator)
    loaded, found = detectors.load(folder), open_split(config, "val")
    assert loaded.network.box_layers == ["maxpool_5a", "mixed_5b", "mixed_5c"]
    assert (loaded.network.head.in_channels, loaded.network.head.resolution) == (128, 14)
    state = torch.load(next(folder.glob("checkpoints/step_000000004/state.pt")), weights_only=True)["model"]
    assert all(value.equal(state[name]) for name, value in loaded.network.state_dict().items())
    before = detectors.pretrained(weights)[0].state_dict()
    moved = {name for name, value in loaded.network.backbone.state_dict().items() if not value.equal(before[name])}
    assert any("mixed_5c" in name for name in moved)
    assert not any("head" in name for name in moved)
    table = evaluate.detections(loaded, found, config, accelerator)
    assert len(table) == 6 * sum(len(boxes) for boxes in found.proposals.values())
    with pytest.raises(ValueError, match="box_layers"):
        train.train(tiny(videos, tmp_path), weights, 0, accelerator)


def test_evaluate_writes_the_detections_that_its_numbers_are_of(videos: Path, trained: Path, tmp_path: Path, capsys):
    output = tmp_path / "out" / "found.csv"
    evaluate.main(arguments(videos, tmp_path, "--detector", str(trained), "--output", str(output)))
    printed = capsys.readouterr().out
    result = detection.frame_map(videos / "val.csv", output, videos / "actions.pbtxt")
    assert f"frame-mAP at IoU 0.5: {100 * result.mean:.1f} %" in printed
    assert all(
        f"  {name:30s} {100 * value:.1f}" in printed for name, value in result.per_class.items() if value == value
    )
    proposals = detection.read_proposals(videos / "proposals_val.csv")
    assert len(detection.read_detections(output)) == 6 * len(proposals)


def test_boxes_are_moved_as_the_head_says(videos: Path, trained: Path, accelerator: Accelerator, tmp_path: Path):
    loaded, found = detectors.load(trained), open_split(tiny(videos, tmp_path), "val")
    offsets = torch.tensor([1.0, 0.0, 0.0, -2.0])
    torch.nn.init.zeros_(loaded.network.head.regress.weight)
    loaded.network.head.regress.bias.data.copy_(offsets)
    table = evaluate.detections(loaded, found, tiny(videos, tmp_path), accelerator)
    for key, rows in table.by_key_frame().items():
        given = found.proposals[key]
        wanted = detection.BoxCoder().decode(given, offsets.expand(len(given), 4)).clamp(0, 1)
        assert torch.allclose(table.boxes[rows].float(), wanted.repeat_interleave(6, 0), atol=1e-5)


def test_excluded_key_frames_do_not_count(videos: Path, trained: Path, accelerator: Accelerator, tmp_path: Path):
    root = Path(shutil.copytree(videos, tmp_path / "copy"))
    (root / "excluded_val.csv").write_text("val_0000,0901\nval_0000,0902\n")
    config = tiny(root, tmp_path)
    found = evaluate.evaluate(trained, config, accelerator, output=tmp_path / "found.csv")
    excluded = frozenset([("val_0000", 901.0), ("val_0000", 902.0)])
    files = (root / "val.csv", tmp_path / "found.csv", root / "actions.pbtxt")
    wanted = detection.frame_map(*files, excluded=excluded)
    assert found.mean == wanted.mean
    assert str(found.per_class) == str(wanted.per_class)  # "nan" where there is no ground truth
    assert found.mean != detection.frame_map(*files).mean


@pytest.mark.parametrize(
    ("script", "change", "message"),
    [
        (train, (), "--weights must name the network"),
        (train, ("--weights", "gone.safetensors"), "gone.safetensors"),
        (train, ("--layer", "9Z"), "9Z"),
        (train, ("--input.crop", "99"), "crop must be at most short_side 48, got 99"),
        (train, ("--missing", "2"), r"missing must be a fraction in \[0, 1\], got 2"),
        (train, ("--root", "nowhere"), "nowhere: no actions.pbtxt, no train.csv, no proposals_train.csv"),
        (train, ("--optimizer.steps", "0"), "steps must be at least 1, got 0"),
        (train, ("--checkpointing-steps", "0"), "checkpointing_steps must be at least 1, got 0"),
        (evaluate, (), "--detector must name the folder"),
        (evaluate, ("--detector", "nowhere"), "nowhere must hold a trained detector, got none"),
        (evaluate, ("--input.frames", "9"), r"'frames': \(8, 9\)"),
        (evaluate, ("--split", "test"), "no test.csv, no proposals_test.csv; examples/ava/config.py"),
        (evaluate, ("--output", "."), "--output must be the csv file .* got the folder"),
    ],
)
def test_bad_settings_end_with_a_sentence(
    videos: Path, weights: Path, trained: Path, tmp_path: Path, capsys, script, change: tuple[str, ...], message: str
) -> None:
    needed = ("--weights", str(weights)) if script is train else ("--detector", str(trained))
    with pytest.raises(SystemExit) as stop:
        script.main(arguments(videos, tmp_path, *(needed if change else ()), *change))
    assert stop.value.code not in (0, None)
    assert re.search(message, f"{stop.value.code} {capsys.readouterr().err}")


def test_weights_of_a_flow_network_are_refused(tmp_path: Path) -> None:
    network = models.s3dg(6, in_channels=2, depth_multiplier=0.125, min_depth=8)
    path = tmp_path / "flow.safetensors"
    models.checkpoints.save(network, path, classes=list("abcdef"), input_spec={"stream": "flow"})
    with pytest.raises(ValueError, match="must hold a network for RGB, got one that sees 2 channels"):
        detectors.pretrained(path)


def test_a_network_is_fed_as_its_file_says(
    videos: Path, weights: Path, accelerator: Accelerator, tmp_path: Path
) -> None:
    """The same weights said to see [-1, 1] and [0, 1], and without a word about it, as others publish them."""
    network, _ = models.checkpoints.load(weights)
    ranges = {"own": (-1.0, 1.0), "other": (0.0, 1.0)}
    for name, seen in ranges.items():
        file = tmp_path / f"{name}.safetensors"
        models.checkpoints.save(network, file, classes=list("abcdef"), input_spec={"range": seen})
    torch.save(network.state_dict(), tmp_path / "bare.safetensors.pt")
    scores, losses, config = {}, {}, tiny(videos, tmp_path)
    for name in (*ranges, "bare"):
        file = tmp_path / (f"{name}.safetensors" if name in ranges else "bare.safetensors.pt")
        folder = train.train(config, file, 0, accelerator, folder=tmp_path / name)
        loaded = detectors.load(folder)
        assert loaded.network.backbone.input_spec.value_range == ranges.get(name, (-1.0, 1.0))
        losses[name] = (folder / "log.jsonl").read_text()
        scores[name] = evaluate.detections(loaded, open_split(config, "val"), config, accelerator).score
    assert losses["own"] == losses["bare"] != losses["other"]
    assert scores["own"].equal(scores["bare"])
    assert not scores["own"].equal(scores["other"])
    network = detectors.load(folder).network
    network.backbone.input_spec = dataclasses.replace(network.backbone.input_spec, value_range=(0.0, 1.0))
    again = detectors.load(folder)._replace(network=network)
    assert not evaluate.detections(again, open_split(config, "val"), config, accelerator).score.equal(scores["bare"])


def test_a_detector_of_other_actions_is_refused(videos: Path, trained: Path, accelerator: Accelerator, tmp_path: Path):
    root = Path(shutil.copytree(videos, tmp_path / "copy"))
    text = (root / "actions.pbtxt").read_text()
    (root / "actions.pbtxt").write_text(text.replace("spin", "twist"))
    with pytest.raises(ValueError, match=r"must know the actions of actions.pbtxt, .*twist.*, got .*spin"):
        evaluate.evaluate(trained, tiny(root, tmp_path), accelerator, output=tmp_path / "found.csv")
