"""Several teachers: means by their definition, and one criterion for all of them."""

import math
import pickle

import pytest
import torch
from torch import Tensor, nn

import kdvideo as kd
from kdvideo import ensemble
from tests.core.nets import VideoNet, clips

LABELS = torch.tensor([0, 3])


def logits(count: int = 3, *shape: int) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [3 * torch.randn(shape or (2, 5), generator=generator, dtype=torch.float64) for _ in range(count)]


def by_hand(given: list[Tensor], weights: list[list[float]], *, temperature: float | None) -> list[list[float]]:
    """The means in numbers: of logits, or with a temperature of softened probabilities; weights[sample][teacher]."""
    rows = []
    for b in range(len(given[0])):
        share = [w / sum(weights[b]) for w in weights[b]]
        if temperature is None:
            rows.append([sum(w * t[b, k].item() for w, t in zip(share, given, strict=True)) for k in range(5)])
            continue
        sizes = [[math.exp(t[b, k].item() / temperature) for k in range(5)] for t in given]
        rows.append([sum(w * s[k] / sum(s) for w, s in zip(share, sizes, strict=True)) for k in range(5)])
    return rows


WEIGHTS = {
    "none": (None, [[1, 1, 1]] * 2),
    "numbers": ([1, 0, 3], [[1, 0, 3]] * 2),
    "tensor": (torch.tensor([0.5, 2.0, 1.0]), [[0.5, 2.0, 1.0]] * 2),
    "samples": (torch.tensor([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]]), [[1, 2, 3], [4, 0, 1]]),
}


@pytest.mark.parametrize(("weights", "numbers"), WEIGHTS.values(), ids=WEIGHTS.keys())
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_means_are_those_of_the_definition(weights, numbers, temperature: float) -> None:
    given = logits()
    expected = torch.tensor(by_hand(given, numbers, temperature=None), dtype=torch.float64)
    torch.testing.assert_close(ensemble.mean_logits(given, weights=weights), expected)
    mean = ensemble.mean_probabilities(given, weights=weights, temperature=temperature)
    expected = torch.tensor(by_hand(given, numbers, temperature=temperature), dtype=torch.float64)
    torch.testing.assert_close((mean / temperature).softmax(1), expected)
    torch.testing.assert_close((mean / temperature).exp(), expected)


def test_token_logits_and_half_precision() -> None:
    given = [values.half() for values in logits(2, 2, 4, 5)]
    mean = ensemble.mean_probabilities(given, weights=torch.tensor([[1.0, 0.0], [0.0, 1.0]]), dim=-1)
    assert mean.dtype == ensemble.mean_logits(given).dtype == torch.float32
    torch.testing.assert_close(mean[0], given[0][0].float().log_softmax(-1))
    torch.testing.assert_close(mean[1], given[1][1].float().log_softmax(-1))


def test_confidence_is_that_of_the_paper() -> None:
    given = logits()
    weights = ensemble.confidence_weights(given, LABELS)
    for b in range(2):
        errors = [-t[b].log_softmax(0)[LABELS[b]].item() for t in given]
        sizes = [math.exp(error) for error in errors]
        expected = [(1 - size / sum(sizes)) / 2 for size in sizes]
        assert weights[b].tolist() == pytest.approx(expected)
        assert max(expected) == expected[errors.index(min(errors))]
    assert ensemble.confidence_weights(given[:1], LABELS).tolist() == [[1.0], [1.0]]
    ensemble.mean_probabilities(given, weights=weights)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: ensemble.mean_logits([]), "one tensor for each teacher"),
        (lambda: ensemble.mean_logits([torch.zeros(2, 5), torch.zeros(2, 6)]), r"\(2, 5\), \(2, 6\)"),
        (lambda: ensemble.mean_logits(logits(2), weights=[1, 2, 3]), r"\(2,\) or \(2, 2\).*got \(3,\)"),
        (lambda: ensemble.mean_logits(logits(2), weights=[1, -1]), "at least 0"),
        (lambda: ensemble.mean_logits(logits(2), weights=[0, 0]), "not all 0"),
        (lambda: ensemble.mean_probabilities(logits(2), temperature=0), "temperature"),
        (lambda: ensemble.confidence_weights(logits(2, 2, 4, 5), LABELS), r"\(B, K\)"),
        (lambda: ensemble.merge({}), "at least one"),
    ],
)
def test_what_makes_no_sense_is_refused(call, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def family() -> tuple[kd.Student, dict[str, kd.Teacher], kd.Loss]:
    """A student of one tapped layer with a projector for each of two teachers of other widths and inputs."""
    torch.manual_seed(0)
    teachers = {
        "flow": kd.Teacher(VideoNet(channels=2, width=6), {"stem": "low"}),
        "depth": kd.Teacher(VideoNet(channels=1, width=8), {"stem": "low"}),
    }
    projectors = {"flow/low": kd.projectors.conv(4, 6), "depth/low": kd.projectors.conv(4, 8)}
    student = kd.Student(VideoNet(), {"stem": ["flow/low", "depth/low"]}, projectors=projectors)
    criterion = (
        kd.FromTeacher("flow", kd.SoftTarget())
        + 0.5 * kd.FromTeacher("depth", kd.SoftTarget(temperature=2.0))
        + 2.0 * kd.FeatureMSE(["flow/low", "depth/low"])
        + kd.LogitMSE()
    )
    return student, teachers, criterion


def outputs(teachers: dict[str, kd.Teacher]) -> dict[str, kd.Output]:
    return {"flow": teachers["flow"](clips(channels=2)), "depth": teachers["depth"](clips(channels=1))}


def test_one_layer_and_one_criterion_serve_two_teachers() -> None:
    student, teachers, criterion = family()
    each = outputs(teachers)
    flow, depth = each.values()
    mean = ensemble.mean_logits([flow.logits, depth.logits])
    s = student(clips())
    terms = criterion.terms(s, ensemble.merge(each, logits=mean))
    assert list(terms) == [
        "flow:soft_target", "0.5*depth:soft_target", "2*feature_mse[flow/low,depth/low]", "logit_mse"
    ]  # fmt: skip
    expected = [
        kd.functional.soft_target(s.logits, flow.logits, temperature=4.0),
        0.5 * kd.functional.soft_target(s.logits, depth.logits, temperature=2.0),
        2.0 * sum(nn.functional.mse_loss(s.features[f"{n}/low"], t.features["low"]) for n, t in each.items()),
        kd.functional.logit_mse(s.logits, mean),
    ]
    for value, wanted in zip(terms.values(), expected, strict=True):
        torch.testing.assert_close(value, wanted)
    sum(terms.values()).backward()
    assert all(p.grad is not None for p in student.parameters())


def test_the_criterion_compiles_whole_and_pickles() -> None:
    torch._dynamo.reset()
    student, teachers, criterion = family()
    criterion = pickle.loads(pickle.dumps(criterion))

    rgb, flow, depth = clips(), clips(channels=2), clips(channels=1)

    def loss() -> Tensor:
        each = {"flow": teachers["flow"](flow), "depth": teachers["depth"](depth)}
        mean = ensemble.mean_probabilities([t.logits for t in each.values()], weights=[2, 1])
        return criterion(student(rgb), ensemble.merge(each, logits=mean))

    torch.testing.assert_close(torch.compile(loss, fullgraph=True, backend="eager")(), loss())


def test_a_teacher_that_is_not_there_is_named() -> None:
    output = kd.Output(torch.zeros(2, 5), {})
    criterion = kd.FromTeacher("flow", kd.SoftTarget())
    with pytest.raises(ValueError, match=r"must have 'flow', got \['depth'\]"):
        criterion(output, ensemble.merge({"depth": output}))
    for raw in (None, {"flow": torch.zeros(2, 5)}):
        with pytest.raises(ValueError, match=r"ensemble\.merge"):
            criterion(output, output._replace(raw=raw))
