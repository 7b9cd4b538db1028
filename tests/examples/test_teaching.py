"""The three ways to teach a student: flow from a store, flow on the way, the teacher's outputs from a cache."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import kdvideo as kd
from examples.d3d import evaluate, networks, teaching, train_student, train_teacher
from examples.d3d import run as recipe
from examples.d3d.data import open_clips
from kdvideo import data, flow, models, predict
from kdvideo.training import StepLog
from tests.examples.tiny import CLASSES, command, config, inside, run, succeeded

# At the recipe's own rates, rounding in the seventh digit grows tenfold and more in each of the first steps.
STABLE = ("--network.fast-start", "--optimizer.name", "sgd", "--optimizer.lr", "1e-7", "--optimizer.momentum", "0")
TWO = ("--distinct-views", "2")
CACHE = ("--flow-from", "cache")


def make_teacher(path: Path, clips: Path, *, seed: int = 0, stream: str = "flow", **recorded: Any) -> Path:
    """An untrained network and what it says of its input."""
    torch.manual_seed(seed)
    network = models.s3dg(2, in_channels={"flow": 2, "rgb": 3}[stream], depth_multiplier=0.25)
    spec = open_clips(config(clips, path.parent)).seen(stream) | recorded
    spec = {name: value for name, value in spec.items() if value is not None}
    models.checkpoints.save(network, path, classes=list(CLASSES), input_spec=spec)
    return path


@pytest.fixture(scope="module")
def teacher(clips: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    work = tmp_path_factory.mktemp("teacher")
    inside(train_teacher.main, clips, work, "--network.fast-start", "--optimizer.steps", "20")
    return str(work / "out" / "seed0" / "flow" / "model.safetensors")


def student(clips: Path, work: Path, teacher: str, *more: str) -> torch.Tensor:
    """The losses of a training in a folder of its own, (steps, 2): action and distillation."""
    out = work / f"out{len(list(work.glob('out*')))}"
    inside(train_student.main, clips, work, "--teacher", teacher, *STABLE, *more, "--output-dir", str(out))
    rows = StepLog.read(out / "seed0" / "d3d" / "log.jsonl")
    return torch.tensor([[row["action"], row["distill"]] for row in rows])


@pytest.fixture(scope="module")
def live(clips: Path, teacher: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, torch.Tensor]:
    work = tmp_path_factory.mktemp("live")
    return work, student(clips, work, teacher, *TWO)


def test_the_cache_gives_the_losses_of_the_live_teacher(clips, teacher, live, tmp_path: Path) -> None:
    work, losses = live
    cached = student(clips, work, teacher, *CACHE, *TWO)
    assert torch.allclose(cached, losses, atol=1e-3)
    others = student(clips, work, teacher, *CACHE, "--distinct-views", "1")
    assert (others - losses)[:, 1].abs().max() > 0.02  # the losses tell other views apart
    assert torch.equal(others[:2], cached[:2])


def files(work: Path) -> set[tuple[str, str]]:
    return {(path.parent.name, path.name) for path in work.glob("teacher/*/*.safetensors")}


def test_the_cache_is_the_same_without_a_store_and_writes_no_flow(clips, teacher, live, tmp_path: Path) -> None:
    work, losses = live
    student(clips, work, teacher, *CACHE, *TWO)
    cached = student(clips, tmp_path, teacher, *CACHE, *TWO)
    assert torch.allclose(cached, losses, atol=1e-3)
    assert not (tmp_path / "flow").exists()
    assert files(tmp_path) <= files(work)


def test_online_flow_teaches_as_the_stored_one_does(clips, teacher, live, tmp_path: Path) -> None:
    _, losses = live
    online = student(clips, tmp_path, teacher, *TWO, "--flow-from", "online")
    assert not (tmp_path / "flow").exists()
    assert 1e-3 < (online - losses)[:, 1].abs().max() < 0.1
    cached = student(clips, tmp_path, teacher, *TWO, *CACHE, "--cache-flow", "online")
    assert torch.allclose(cached, online, atol=1e-3)
    student(clips, tmp_path, teacher, *TWO, *CACHE)
    assert len(list((tmp_path / "teacher").iterdir())) == 2


def test_online_flow_is_scaled_as_the_stored_one(clips, tmp_path: Path) -> None:
    opened = open_clips(config(clips, tmp_path))
    views = opened.views(opened.train, flow.EstimatorSource(opened.estimator), train=True)
    batch = data.to_float(torch.utils.data.default_collate(list(views)))
    online = teaching.online(opened)(batch)["flow"]
    slope = (online * batch["flow"]).sum() / batch["flow"].square().sum()
    assert slope == pytest.approx(1, abs=0.2)


def test_a_store_that_lacks_a_clip_is_no_hindrance(clips, teacher, tmp_path: Path) -> None:
    student(clips, tmp_path, teacher, *TWO)
    next((tmp_path / "flow").rglob("*.flow.json")).unlink()
    student(clips, tmp_path, teacher, *CACHE, *TWO)
    assert len(list((tmp_path / "flow").rglob("*.flow.json"))) == 7


def test_from_a_full_cache_neither_flow_nor_teacher_is_used(clips, teacher, tmp_path: Path, monkeypatch) -> None:
    student(clips, tmp_path, teacher, *CACHE, *TWO)

    def used(*_: object, **__: object) -> None:
        raise AssertionError("used")

    for place, name in ((kd.Teacher, "forward"), (flow.EstimatorSource, "__call__"), (flow.FlowStore, "read")):
        monkeypatch.setattr(place, name, used)
    student(clips, tmp_path, teacher, *CACHE, *TWO, "--distill-weight", "2")
    with pytest.raises(AssertionError, match="used"):
        student(clips, tmp_path, teacher, *CACHE, "--distinct-views", "3")


def test_a_pass_that_failed_goes_on_where_it_was(clips, teacher, tmp_path: Path, monkeypatch) -> None:
    expected = student(clips, tmp_path / "whole", teacher, *CACHE, *TWO)
    forward, seen = kd.Teacher.forward, []

    def counted(self: kd.Teacher, batch: torch.Tensor) -> kd.Output:
        if len(seen) == 3:
            seen.append(0)
            raise ValueError("power cut")
        seen.append(len(batch))
        return forward(self, batch)

    monkeypatch.setattr(kd.Teacher, "forward", counted)
    with pytest.raises(SystemExit, match="power cut"):
        student(clips, tmp_path, teacher, *CACHE, *TWO)
    resumed = student(clips, tmp_path, teacher, *CACHE, *TWO)
    assert sum(seen) == 2 * 8  # every view of every clip once
    assert torch.allclose(resumed, expected, atol=1e-4)


def test_every_epoch_is_in_a_cache_of_views_that_never_repeat(clips, teacher, tmp_path: Path) -> None:
    losses = student(clips, tmp_path, teacher)
    assert torch.allclose(student(clips, tmp_path, teacher, *CACHE), losses, atol=1e-3)


def test_each_teacher_has_a_cache_of_its_own_and_another_one_is_refused(clips, teacher, tmp_path: Path) -> None:
    student(clips, tmp_path, teacher, *CACHE, *TWO)
    (first,) = (tmp_path / "teacher").iterdir()
    other = str(make_teacher(tmp_path / "other.safetensors", clips, seed=1))
    student(clips, tmp_path, other, *CACHE, *TWO)
    (second,) = set((tmp_path / "teacher").iterdir()) - {first}
    for path in second.iterdir():
        path.unlink()
    for path in first.iterdir():
        (second / path.name).write_bytes(path.read_bytes())
    with pytest.raises(SystemExit, match=r"error: .*outputs of something else: teacher is '\w+' there and"):
        student(clips, tmp_path, other, *CACHE, *TWO, "--distill-weight", "2")


def test_everything_online_leaves_no_flow(clips, tmp_path: Path) -> None:
    inside(recipe.main, clips, tmp_path, "--flow-from", "online", "--optimizer.steps", "2")
    assert not (tmp_path / "flow").exists()
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [row["method"] for row in report["rows"]][3] == "D3D"


@pytest.mark.parametrize(
    ("recorded", "message"),
    [
        ({"flow": flow.TVL1Estimator(flow.FAST).fingerprint}, r"flow TVL1\(.*, not TVL1\("),
        ({"flow_bound": 4.0}, "flow_bound 4.0, not 5.0"),
        ({"fps": 25.0}, "fps 25.0, not 12.5"),
        ({"short_side": 99}, "short_side 99, not 36"),
        ({"flow": None}, r"flow None, not TVL1\("),
        ({"stream": "rgb"}, "stream rgb, not flow"),
    ],
)
def test_a_teacher_of_other_flow_is_refused(clips, tmp_path: Path, recorded: dict, message: str) -> None:
    path = str(make_teacher(tmp_path / "teacher.safetensors", clips, **recorded))
    with pytest.raises(SystemExit, match=f"error: .*must have been trained on this run's flow, got .*{message}"):
        inside(train_student.main, clips, tmp_path, "--teacher", path)
    if "stream" not in recorded:
        with pytest.raises(SystemExit, match=f"error: .*must have been trained on this run's flow, got .*{message}"):
            inside(evaluate.main, clips, tmp_path, "--weights", path)


def test_what_makes_no_other_flow_is_no_mismatch(clips, tmp_path: Path) -> None:
    path = make_teacher(tmp_path / "same.safetensors", clips, frames=99, crop=7, flip=False)
    assert networks.load(path, open_clips(config(clips, tmp_path)), stream="flow")[1] == "flow"


def test_a_teacher_of_other_classes_is_refused(clips, teacher, tmp_path: Path) -> None:
    path, description = tmp_path / "teacher.safetensors", metadata(teacher)
    description["classes"] = description["classes"][::-1]
    save_file(load_file(teacher), path, {"kdvideo": json.dumps(description)})
    with pytest.raises(SystemExit, match="must know the classes of the clips"):
        inside(train_student.main, clips, tmp_path, "--teacher", str(path))


def metadata(path: str) -> dict[str, Any]:
    with safe_open(path, framework="pt") as file:
        return json.loads(file.metadata()["kdvideo"])


def test_trained_networks_record_their_flow(clips, tmp_path: Path) -> None:
    inside(train_teacher.main, clips, tmp_path, "--optimizer.steps", "1", "--flow-preset", "fast")
    path = tmp_path / "out" / "seed0" / "flow" / "model.safetensors"
    assert metadata(str(path))["input"]["flow"] == flow.TVL1Estimator(flow.FAST).fingerprint


def test_predicting_uses_the_recorded_flow(clips, tmp_path: Path, monkeypatch) -> None:
    asked: list[str] = []

    class Watched(flow.TVL1Estimator):
        def __call__(self, frames: torch.Tensor, **options: Any) -> torch.Tensor:
            asked.append(self.fingerprint)
            return super().__call__(frames, **options)

    monkeypatch.setattr(flow, "TVL1Estimator", Watched)
    clip, fast = next((clips / "test").rglob("*.mp4")), flow.TVL1Estimator(flow.FAST).fingerprint
    predict.predict(make_teacher(tmp_path / "a.safetensors", clips, flow=fast), clip)
    assert set(asked) == {fast}
    with pytest.raises(ValueError, match="got RAFT"):
        predict.predict(make_teacher(tmp_path / "b.safetensors", clips, flow="RAFT"), clip)


@pytest.mark.slow
def test_two_processes_fill_one_cache(clips, teacher, tmp_path: Path) -> None:
    expected = student(clips, tmp_path / "one", teacher, *CACHE, *TWO)
    arguments = command(clips, tmp_path / "two", *STABLE, *CACHE, *TWO, module="examples.d3d.train_student")
    launcher = (sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "29547")
    succeeded(run([*arguments, "--teacher", teacher], launcher=launcher))
    whole, shared = (sorted((tmp_path / name / "teacher").glob("*/*")) for name in ("one", "two"))
    assert whole[0].parent.name == shared[0].parent.name
    fingerprint = json.loads(safe_open(shared[0], framework="pt").metadata()["fingerprint"])
    cache = kd.TeacherCache(shared[0].parent, fingerprint=fingerprint)
    assert len(cache) == sum(len(load_file(path)["view"]) for path in shared) == 2 * 8
    assert len(shared) == 2
    log = tmp_path / "two" / "out" / "seed0" / "d3d" / "log.jsonl"
    losses = [row["distill"] for row in StepLog.read(log)]
    assert len(losses) == len(expected)
