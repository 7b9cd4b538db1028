"""The ranking: that no loss is left out, that all methods start alike, and one small run from end to end."""

import dataclasses
import inspect
import json
import math
from pathlib import Path

import pytest
import torch

import kdvideo as kd
from benchmarks import record
from benchmarks.methods import pairs, render, run, training
from benchmarks.methods.data import digits
from benchmarks.methods.differences import ALONE, CONTROL, comparisons, shown
from benchmarks.methods.methods import METHODS, NOT_APPLICABLE, Method, not_applicable
from benchmarks.methods.pairs import PAIRS, Lesson
from examples.d3d.significance import holm

RECORDS = sorted(path.stem for path in record.FOLDER.glob("methods_*.json"))


@pytest.fixture(scope="module")
def lessons() -> dict[str, Lesson]:
    short = {name: dataclasses.replace(pair, teacher_steps=2, steps=2) for name, pair in PAIRS.items()}
    return {name: Lesson(pair, 0) for name, pair in short.items()}


def test_every_loss_is_ranked_or_has_a_reason() -> None:
    losses = {name for name in kd.__all__ if inspect.isclass(one := getattr(kd, name)) and issubclass(one, kd.Loss)}
    assert set(METHODS) | set(NOT_APPLICABLE) == losses - {"Loss"} | {"PHIS"}
    assert not set(METHODS) & set(NOT_APPLICABLE)
    assert [name for name, pair in PAIRS.items() if "OFD" in not_applicable(pair)] == ["vit_to_cnn"]


@pytest.mark.parametrize("name", METHODS)
def test_a_method_is_the_loss_of_its_name_and_teaches_every_student(name: str, lessons: dict[str, Lesson]) -> None:
    for pair, lesson in lessons.items():
        if name in not_applicable(lesson.pair):
            continue
        one = training.begin(lesson, METHODS[name])
        assert any(type(module).__name__ == name for module in one.criterion.modules()), pair
        training.kd.check_optimizer(
            torch.nn.ModuleList([one.student, one.criterion]), torch.optim.SGD(one.parameters(), lr=1)
        )
        _, term = one.terms(torch.arange(pairs.BATCH), 0)
        body = [value for key, value in one.student.model.named_parameters() if not key.startswith("head")]
        gradients = torch.autograd.grad(term, body, allow_unused=True)
        assert any(value is not None and bool(value.any()) for value in gradients), pair


def test_all_students_of_a_seed_start_alike(lessons: dict[str, Lesson]) -> None:
    for lesson in lessons.values():
        alone = training.begin(lesson, None).student.model.state_dict()
        for name in ("SoftTarget", "FeatureMSE", "CRD"):
            torch.testing.assert_close(training.begin(lesson, METHODS[name]).student.model.state_dict(), alone)
        other = Lesson(lesson.pair, 1)
        assert not torch.equal(training.begin(other, None).student.model.head.weight, alone["head.weight"])


def test_the_teacher_sees_the_student_s_images_and_no_test_image(lessons: dict[str, Lesson]) -> None:
    assert torch.equal(lessons["images"].data.views, lessons["images"].data.student[0])
    first, second = digits(0), digits(1)
    assert torch.equal(first.test[0], second.test[0])
    assert not torch.equal(first.validation[0], second.validation[0])
    seen = {tuple(image.flatten().tolist()) for image in first.test[0]}
    assert not seen & {tuple(image.flatten().tolist()) for image in first.validation[0]}
    video = lessons["video"].data
    assert video.views.shape[2:] == video.student[0].shape[2:]
    assert not torch.equal(video.validation[1], video.test[1][: len(video.validation[1])])


def test_the_unit_of_a_weight_is_where_gradients_agree(lessons: dict[str, Lesson]) -> None:
    lesson = lessons["images"]
    plain = training.unit(lesson, METHODS["LogitMSE"], 0.01)
    assert training.unit(lesson, Method(lambda _: 4.0 * kd.LogitMSE()), 0.01) == pytest.approx(plain / 4, rel=1e-4)


def test_a_loss_that_stands_alone_has_no_cross_entropy_and_others_have_their_weight(lessons: dict[str, Lesson]) -> None:
    index = torch.arange(pairs.BATCH)
    one = training.begin(lessons["images"], METHODS["LogitMSE"])
    cross_entropy, term = one.terms(index, 0)
    torch.testing.assert_close(one.loss(index, 0, 3.0), cross_entropy + 3 * term)
    alone = training.begin(lessons["images"], METHODS["OFA"])
    torch.testing.assert_close(alone.loss(index, 0, 3.0), alone.terms(index, 0)[1])


def test_sim_kd_predicts_with_the_classifier_of_the_teacher(lessons: dict[str, Lesson]) -> None:
    one = training.begin(lessons["images"], METHODS["SimKD"])
    inputs = lessons["images"].data.validation[0]
    before = one.logits(inputs)
    torch.nn.init.zeros_(one.student.model.head.weight)
    assert torch.equal(one.logits(inputs), before)
    other = training.begin(lessons["images"], METHODS["FeatureMSE"])
    assert not torch.equal(other.logits(inputs), before)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """(flags) -> the record of a run on images, two steps each."""
    monkeypatch.setattr(run, "PAIRS", {"images": dataclasses.replace(PAIRS["images"], teacher_steps=2, steps=2)})
    monkeypatch.setattr(record, "FOLDER", tmp_path / "results")

    def known(*flags: str) -> dict:
        run.main(
            ["--pairs", "images", "--methods", "SoftTarget", "OFA", "--folder", str(tmp_path), "--rounds", "2", *flags]
        )
        return json.loads((tmp_path / "results" / "methods_images.json").read_text())

    return known


def test_a_run_from_end_to_end_and_its_continuation(small, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    rows = small("--seeds", "0", "1")["rows"]
    assert [rows[name]["factor"] is None for name in (ALONE, "SoftTarget", "OFA")] == [True, False, True]
    for name, what in ((ALONE, "rate"), ("SoftTarget", "weight"), ("OFA", "rate")):
        tried = rows[name]["tried"]
        assert rows[name][what] == pytest.approx(float(max(tried, key=tried.__getitem__)))
    assert rows["SoftTarget"]["rate"] == rows[ALONE]["rate"]
    assert all(list(rows[name]["test"]) == ["0", "1"] for name in (ALONE, "SoftTarget", "OFA"))
    assert rows[ALONE]["step"]["median"] == 1.0 < rows["SoftTarget"]["step"]["median"]
    text = (tmp_path / "results" / "methods_images.md").read_text()
    assert text == render.markdown(json.loads((tmp_path / "results" / "methods_images.json").read_text()))
    assert "CosineDistance" not in text
    assert "ValueRelation" in text

    trained: list[int] = []
    train = training.train
    monkeypatch.setattr(
        training, "train", lambda lesson, *a, **k: trained.append(lesson.seed) or train(lesson, *a, **k)
    )
    assert small("--seeds", "0", "1")["rows"]["OFA"]["test"] == rows["OFA"]["test"]
    assert trained == []
    small("--seeds", "0", "1", "2")
    assert trained == [2, 2, 2]


@pytest.mark.parametrize(("peak", "count"), [(1.0, 4), (0.3, 5), (0.09, 6), (0.027, 7), (0.001, 7), (33.3, 6)])
def test_tuning_goes_on_beyond_the_edge_of_the_grid(
    peak: float, count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    runner = run.Runner(PAIRS["images"], tmp_path)
    monkeypatch.setattr(run.Runner, "known", lambda *_, **__: 2.0)
    monkeypatch.setattr(run.Runner, "validation", lambda self, name, one: 80 - abs(math.log(one.factor / peak)))
    found = runner.tuned("SoftTarget", 0.01)
    assert len(found["tried"]) == count
    assert found["weight"] == pytest.approx(2 * found["factor"], rel=0.01)
    assert found["factor"] == pytest.approx(max(peak, 0.0081), rel=0.01)


def test_a_weight_below_the_student_alone_is_lowered(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    runner = run.Runner(PAIRS["images"], tmp_path)
    monkeypatch.setattr(run.Runner, "known", lambda *_, **__: 2.0)
    monkeypatch.setattr(run.Runner, "validation", lambda self, name, one: (80 if one.factor < 0.1 else 40) + one.factor)
    assert runner.tuned("SoftTarget", 0.01, 70.0)["factor"] == 0.09
    assert runner.tuned("SoftTarget", 0.01, 45.0)["factor"] > 100


def test_seeds_of_the_tuning_are_refused(small) -> None:
    for seeds in (("0", "100"), ("0",)):
        with pytest.raises(SystemExit):
            small("--seeds", *seeds)


def known(**tests: list[float]) -> dict:
    step = {"median": 1.5, "low": 1.4, "high": 1.6}
    rows = {
        name: {"weight": 0.5, "factor": 3.0, "rate": 0.01, "step": step, "test": dict(enumerate(values))}
        for name, values in tests.items()
    }
    rows[ALONE] = rows.pop("alone")
    return {"rows": rows | {CONTROL: {"step": step}}}


def test_a_difference_is_shown_where_holm_leaves_it() -> None:
    found = comparisons(
        known(
            alone=[80, 81, 79, 80], SoftTarget=[80.5, 80.6, 79.4, 80.1], DKD=[90, 91.2, 89.1, 90], NST=[85, 80, 82, 83]
        )
    )
    assert set(found) == {(name, ALONE) for name in ("SoftTarget", "DKD", "NST")} | {
        (name, "SoftTarget") for name in ("DKD", "NST")
    }
    assert found["DKD", ALONE].mean == pytest.approx(10.075)
    assert shown(found) == {("DKD", ALONE), ("DKD", "SoftTarget")}
    assert found["NST", "SoftTarget"].low < 0 < found["NST", ALONE].mean


def test_holm_is_never_below_an_earlier_one_or_above_1() -> None:
    assert holm({"a": 0.5, "b": 0.01, "c": 0.012, "d": 0.6}) == pytest.approx(
        {"b": 0.04, "c": 0.04, "a": 1.0, "d": 1.0}
    )


@pytest.mark.parametrize("name", RECORDS)
def test_the_committed_table_is_rendered_from_the_committed_record(name: str) -> None:
    read = json.loads((record.FOLDER / f"{name}.json").read_text())
    assert render.markdown(read) == (record.FOLDER / f"{name}.md").read_text()
    assert len(read["seeds"]) >= 5
    assert set(METHODS) - set(read["not_applicable"]) <= set(read["rows"])
