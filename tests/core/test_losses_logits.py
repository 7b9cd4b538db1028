"""The losses of image classification: their table, and what only one of them does."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

import kdvideo as kd
from kdvideo.functional import (
    ctkd,
    dist,
    dkd,
    logit_mse,
    mlkd,
    nkd,
    ofa,
    soft_target,
    standardize,
    ttm,
    wsld,
    wttm,
)
from tests.core import references_logits as references
from tests.core.battery import Laws, Row, pair

SHAPE = (4, 5)
LABELS = {"labels": torch.tensor([0, 3, 4, 3])}
THETA = torch.tensor(0.3, dtype=torch.float64)
LABELED = {"dkd": dkd, "nkd": nkd, "wsld": wsld, "ofa": ofa}
POSITIONWISE: dict[str, Callable[..., Tensor]] = LABELED | {
    "ttm": ttm,
    "wttm": wttm,
    "ctkd": partial(ctkd, theta=THETA, strength=1.0),
}


def tokens(reference: Callable[..., float]) -> Callable[..., float]:
    """Give a reference on rows the positions of tokens, (B, N, K)."""

    def on_rows(student, teacher, **given) -> float:
        rows = (x.reshape(-1, x.shape[-1]) for x in (student, teacher))
        return reference(*rows, **{name: value.reshape(-1) for name, value in given.items()})

    return on_rows


def standardized_kd(student: Tensor, teacher: Tensor) -> Tensor:
    if student.shape == teacher.shape and teacher.is_floating_point() and len(student):
        student, teacher = standardize(student), standardize(teacher)
    return soft_target(student, teacher, temperature=2.0)


TABLE = {
    "dkd": Row(dkd, kd.DKD(), partial(references.dkd, alpha=1.0, beta=8.0, temperature=4.0), SHAPE, given=LABELS),
    "dkd tokens": Row(
        partial(dkd, alpha=0.5, beta=2.0, temperature=1.0, dim=-1),
        kd.DKD(alpha=0.5, beta=2.0, temperature=1.0, dim=-1),
        tokens(partial(references.dkd, alpha=0.5, beta=2.0, temperature=1.0)),
        (2, 3, 5),
        given={"labels": torch.tensor([[0, 1, 2], [4, 4, 0]])},
    ),
    "nkd": Row(nkd, kd.NKD(), partial(references.nkd, gamma=1.5, temperature=1.0), SHAPE, zero=False, given=LABELS),
    "nkd T=3": Row(
        partial(nkd, gamma=0.7, temperature=3.0),
        kd.NKD(gamma=0.7, temperature=3.0),
        partial(references.nkd, gamma=0.7, temperature=3.0),
        SHAPE,
        zero=False,
        given=LABELS,
    ),
    "dist": Row(dist, kd.DIST(), partial(references.dist, beta=1.0, gamma=1.0, temperature=1.0), SHAPE, orders=(0, 1)),
    "dist tokens": Row(
        partial(dist, beta=0.5, gamma=3.0, temperature=4.0, dim=-1),
        kd.DIST(beta=0.5, gamma=3.0, temperature=4.0, dim=-1),
        tokens(partial(references.dist, beta=0.5, gamma=3.0, temperature=4.0)),
        (2, 3, 5),
        orders=(0, 1, 2),
    ),
    "mlkd": Row(
        mlkd, kd.MLKD(), partial(references.mlkd, batch=1.0, classes=1.0, temperature=4.0), SHAPE, orders=(0, 1)
    ),
    "mlkd tokens": Row(
        partial(mlkd, batch_weight=0.5, class_weight=3.0, temperature=1.0, dim=-1),
        kd.MLKD(batch_weight=0.5, class_weight=3.0, temperature=1.0, dim=-1),
        tokens(partial(references.mlkd, batch=0.5, classes=3.0, temperature=1.0)),
        (2, 3, 5),
        orders=(0, 1, 2),
    ),
    "standardized": Row(
        standardized_kd,
        kd.Standardized(kd.SoftTarget(temperature=2.0)),
        partial(references.standardized_soft_target, temperature=2.0),
        SHAPE,
        orders=(0, 1),
    ),
    "ctkd": Row(
        partial(ctkd, theta=THETA, strength=0.5),
        kd.CTKD(strength=0.5, theta=0.3),
        partial(references.ctkd, theta=0.3, start=1.0, span=20.0),
        SHAPE,
        orders=(0, 1),
    ),
    "wsld": Row(wsld, kd.WSLD(), partial(references.wsld, temperature=2.0), SHAPE, given=LABELS),
    "ttm": Row(ttm, kd.TTM(), partial(references.ttm, gamma=0.1), SHAPE, zero=False, orders=(0, 1)),
    "wttm": Row(wttm, kd.WTTM(), partial(references.ttm, gamma=0.2, weighted=True), SHAPE, zero=False, orders=(0, 1)),
    "ofa": Row(ofa, kd.OFA(), partial(references.ofa, gamma=1.5), SHAPE, zero=False, given=LABELS),
}


@pytest.fixture(params=TABLE)
def row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


class TestLaws(Laws):
    """The laws, row by row."""

    def test_gradient_is_that_of_finite_differences(self, row: Row) -> None:
        if row.function is wsld:
            pytest.skip("its weight has no gradient by definition: see the test of its gradient")
        super().test_gradient_is_that_of_finite_differences(row)


# --- what all losses with labels do ---


@pytest.mark.parametrize("function", LABELED.values(), ids=LABELED)
def test_bad_labels_are_refused(function: Callable[..., Tensor]) -> None:
    student, teacher = pair(SHAPE)
    for wrong in (torch.tensor([0, 1, 2, 5]), torch.tensor([0, -1, 2, 3])):
        with pytest.raises(
            ValueError, match=r"labels must be from 0 to 4, got .*: where a position has no class, pass"
        ):
            function(student, teacher, labels=wrong)
    for wrong in (LABELS["labels"][:3], F.one_hot(LABELS["labels"], 5), LABELS["labels"][:, None], torch.tensor(1)):
        with pytest.raises(ValueError, match=r"labels must have one class for each position, \(4,\), got"):
            function(student, teacher, labels=wrong)
    for wrong in (LABELS["labels"].float(), LABELS["labels"].bool()):
        with pytest.raises(ValueError, match="labels must be integers"):
            function(student, teacher, labels=wrong)
    for dtype in (torch.uint8, torch.int32):
        value = function(student, teacher, labels=LABELS["labels"].to(dtype))
        assert torch.equal(value, function(student, teacher, **LABELS))


@pytest.mark.parametrize("function", [*POSITIONWISE.values(), dist, mlkd], ids=[*POSITIONWISE, "dist", "mlkd"])
def test_one_class_is_refused(function: Callable[..., Tensor]) -> None:
    given = {"labels": torch.zeros(4, dtype=torch.long)} if function in LABELED.values() else {}
    with pytest.raises(ValueError, match=r"at least 2 classes on axis 1, got 1 in shape \(4, 1\)"):
        function(torch.zeros(4, 1), torch.zeros(4, 1), **given)


@pytest.mark.parametrize("name", POSITIONWISE)
def test_masked_positions_do_not_count_and_parts_add_up(name: str) -> None:
    function = partial(POSITIONWISE[name], dim=-1)
    student, teacher = pair((3, 4, 5))
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    labels = torch.arange(12).reshape(3, 4) % 5
    ignored = labels.masked_fill(mask == 0, -100)

    def given(labels: Tensor) -> dict[str, Tensor]:
        return {"labels": labels} if name in LABELED else {}

    value = function(student, teacher, mask=mask, **given(ignored))
    kept = mask.bool()
    torch.testing.assert_close(value, function(student[kept], teacher[kept], **given(labels[kept])))
    broken = teacher.masked_fill(~kept[..., None], torch.nan)
    assert torch.equal(function(student, broken, mask=mask, **given(ignored)), value)
    (gradient,) = torch.autograd.grad(function(student, broken, mask=mask, **given(ignored)), student)
    assert gradient.isfinite().all()
    assert not gradient[~kept].any()
    parts = sum(
        function(
            student[k : k + 1], teacher[k : k + 1], mask=mask[k : k + 1], normalizer=7, **given(ignored[k : k + 1])
        )
        for k in range(3)
    )
    torch.testing.assert_close(parts, value)
    # Classes on axis 1, as in segmentation, are the same classes.
    maps = POSITIONWISE[name](student.mT, teacher.mT, mask=mask, **given(ignored))
    torch.testing.assert_close(maps, value)


@pytest.mark.parametrize("name", POSITIONWISE)
def test_a_masked_vocabulary_is_left_out(name: str) -> None:
    student, teacher = pair((4, 7))
    given = LABELS if name in LABELED else {}
    excluded = torch.arange(7) >= 5
    expected = POSITIONWISE[name](student[:, :5], teacher[:, :5], **given)
    value = POSITIONWISE[name](
        student.masked_fill(excluded, -torch.inf), teacher.masked_fill(excluded, -torch.inf), **given
    )
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, student)[0] for x in (value, expected)))
    # Even the true class may be excluded: its term is 0, never nan.
    if name in LABELED and name != "ofa":
        out = torch.zeros(4, 7, dtype=torch.bool).scatter(1, LABELS["labels"][:, None], True)
        alone = POSITIONWISE[name](student.masked_fill(out, -torch.inf), teacher.masked_fill(out, -torch.inf), **LABELS)
        assert alone.isfinite()
        assert torch.autograd.grad(alone, student)[0].isfinite().all()


@pytest.mark.reliability("C10")
@pytest.mark.parametrize("name", POSITIONWISE)
def test_extreme_logits_stay_finite_in_float32(name: str) -> None:
    """Fails when `kl_elements` takes the logarithm of a softmax."""
    student = torch.tensor([[200.0, 0.0, -200.0], [-3000.0, 0.0, 3000.0]], requires_grad=True)
    teacher = torch.tensor([[0.0, 200.0, -200.0], [3000.0, 0.0, -3000.0]])
    for labels in ([0, 0], [1, 2], [2, 1]):
        given = {"labels": torch.tensor(labels)} if name in LABELED else {}
        value = POSITIONWISE[name](student, teacher, **given)
        assert value.isfinite()
        assert torch.autograd.grad(value, student)[0].isfinite().all()


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (partial(kd.DKD, alpha=-1.0), "alpha must be finite and at least 0, got -1.0"),
        (partial(kd.DKD, beta=math.nan), "beta must be"),
        (partial(kd.DKD, temperature=0.0), "temperature must be positive"),
        (partial(kd.NKD, gamma=-0.5), "gamma must be finite and at least 0"),
        (partial(kd.NKD, temperature=-1.0), "temperature must be positive"),
        (partial(kd.DIST, beta=-1.0), "beta must be"),
        (partial(kd.DIST, gamma=-1.0), "gamma must be"),
        (partial(kd.DIST, temperature=math.inf), "temperature must be positive"),
        (partial(kd.MLKD, batch_weight=-1.0), "batch_weight must be"),
        (partial(kd.MLKD, class_weight=-1.0), "class_weight must be"),
        (partial(kd.MLKD, temperature=0.0), "temperature must be"),
        (partial(kd.Standardized, kd.SoftTarget(), eps=-1.0), "eps must be"),
        (partial(kd.Standardized, kd.FeatureMSE("x")), "one loss on logits, got FeatureMSE"),
        (partial(kd.Standardized, kd.DKD() + kd.SoftTarget()), "one loss on logits, got WeightedSum"),
        (partial(kd.CTKD, strength=-1.0), "strength must be"),
        (partial(kd.CTKD, strength=1.0, start=0.0), "temperature must be positive"),
        (partial(kd.CTKD, strength=1.0, span=-1.0), "span must be"),
        (partial(kd.WSLD, temperature=0.0), "temperature must be"),
        (partial(kd.TTM, gamma=0.0), "gamma must be positive"),
        (partial(kd.WTTM, gamma=-1.0), "gamma must be positive"),
        (partial(kd.OFA, gamma=0.5), "gamma must be finite and at least 1"),
    ],
)
def test_bad_options_are_refused(build: Callable[[], kd.Loss], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


# --- DKD ---


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_kd_is_tckd_plus_nckd_weighted_by_what_the_teacher_leaves(temperature: float) -> None:
    student, teacher = pair((1, 6))
    labels = torch.tensor([2])
    rest = 1 - float((teacher / temperature).softmax(1)[0, 2])
    value = dkd(student, teacher, labels=labels, alpha=1.0, beta=rest, temperature=temperature)
    torch.testing.assert_close(value, soft_target(student, teacher, temperature=temperature))


def test_two_classes_have_no_other_classes() -> None:
    student, teacher = pair((3, 2))
    labels = torch.tensor([0, 1, 1])
    assert dkd(student, teacher, labels=labels, alpha=0.0) == 0
    torch.testing.assert_close(dkd(student, teacher, labels=labels), soft_target(student, teacher))
    assert nkd(student, teacher, labels=labels).isfinite()


# --- NKD ---


def test_nkd_of_the_other_classes_has_the_gradient_of_nckd() -> None:
    student, teacher = pair(SHAPE)
    others = nkd(student, teacher, gamma=2.0, temperature=3.0, **LABELS) - nkd(student, teacher, gamma=0.0, **LABELS)
    decoupled = dkd(student, teacher, alpha=0.0, beta=2.0, temperature=3.0, **LABELS)
    torch.testing.assert_close(*(torch.autograd.grad(x, student)[0] for x in (others, decoupled)))


# --- DIST ---


def test_dist_does_not_see_an_affine_change_of_the_predictions() -> None:
    _, teacher = pair((4, 3))
    smoother = (0.3 * teacher.softmax(1) + 0.7 / 3).log()
    assert dist(smoother, teacher).abs() < 1e-12
    assert soft_target(smoother, teacher, temperature=1.0) > 1e-2


def test_dist_of_one_example_has_no_term_within_classes() -> None:
    student, teacher = pair((1, 5))
    with pytest.raises(ValueError, match=r"gamma must be 0 for a batch of 1.*pass more examples, or gamma=0"):
        dist(student, teacher)
    p, q = teacher.softmax(1), student.softmax(1)
    correlation = torch.corrcoef(torch.cat([p, q]))[0, 1]
    torch.testing.assert_close(dist(student, teacher, gamma=0.0), 1 - correlation)
    maps = [x.unsqueeze(-1).expand(1, 5, 2).contiguous() for x in (student, teacher)]
    assert dist(*maps).isfinite()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_dist_of_constant_predictions(dtype: torch.dtype) -> None:
    _, teacher = pair((6, 7), dtype)
    flat = torch.full((6, 7), 0.1, dtype=dtype, requires_grad=True)
    value = dist(flat, teacher)
    torch.testing.assert_close(value, torch.tensor(2.0, dtype=dtype))
    assert not torch.autograd.grad(value, flat)[0].any()
    learner = teacher.clone().requires_grad_()
    value = dist(learner, flat.detach())
    assert value == 0
    assert not torch.autograd.grad(value, learner)[0].any()
    # A class whose probability is tiny still counts in full.
    rare = teacher - 60 * (torch.arange(7) == 0)
    torch.testing.assert_close(dist(rare, rare.clone()), torch.zeros((), dtype=dtype), atol=1e-5, rtol=0)


@pytest.mark.parametrize("function", [dist, mlkd])
def test_masked_examples_do_not_correlate(function: Callable[..., Tensor]) -> None:
    student, teacher = pair((3, 4, 5))
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    kept = mask.bool()
    expected = function(student[kept], teacher[kept])
    broken = teacher.masked_fill(~kept[..., None], torch.nan)
    value = function(student, broken, dim=-1, mask=mask)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(*(torch.autograd.grad(x, student)[0] for x in (value, expected)))
    torch.testing.assert_close(function(student.mT, broken.mT, mask=mask), expected)
    nothing = function(student, broken, dim=-1, mask=torch.zeros_like(mask))
    assert nothing == 0
    assert not torch.autograd.grad(nothing, student)[0].any()
    with pytest.raises(ValueError, match="mask must have one entry for each position"):
        function(student, teacher, dim=-1, mask=mask[:, 0])


# --- standardization ---


def test_standardized_losses_see_no_shift_and_no_scale() -> None:
    student, teacher = pair(SHAPE)
    scale = torch.tensor([[0.1], [1.0], [3.0], [20.0]], dtype=torch.float64)
    for loss in (kd.SoftTarget(), kd.DKD(), kd.DIST(), kd.LogitMSE(), kd.CTKD(strength=1.0), kd.WTTM()):
        criterion = kd.Standardized(loss)
        assert criterion.name == f"standardized_{loss.name}"
        value = criterion(kd.Output(student, {}), kd.Output(teacher, {}), **LABELS)
        moved = criterion(kd.Output(scale * student - 5, {}), kd.Output(teacher / scale + 3, {}), **LABELS)
        torch.testing.assert_close(moved, value, rtol=1e-5, atol=1e-8)


def test_standardized_logits_have_mean_0_and_deviation_1() -> None:
    logits, _ = pair((2, 5, 3))
    for dim in (1, -1, -2):
        z = standardize(logits, dim=dim, eps=0.0)
        torch.testing.assert_close(z.mean(dim), torch.zeros_like(z.mean(dim)))
        torch.testing.assert_close(z.std(dim, correction=0), torch.ones_like(z.mean(dim)))
    with pytest.raises(ValueError, match="floating-point"):
        standardize(torch.ones(2, 3, dtype=torch.long))


def test_standardization_of_equal_and_of_excluded_logits() -> None:
    logits = torch.tensor([[0.1] * 7, [1.0, 2.0, 4.0, -torch.inf, 3.0, 0.0, -torch.inf]], requires_grad=True)
    z = standardize(logits)
    assert not z[0].any()
    assert torch.equal(z[1] == -torch.inf, logits[1] == -torch.inf)
    keep = logits[1].isfinite()
    torch.testing.assert_close(z[1][keep], standardize(logits[1][keep][None])[0])
    (gradient,) = torch.autograd.grad(z[z.isfinite()].pow(3).sum(), logits)
    assert not gradient[0].any()
    assert gradient[1].isfinite().all()
    assert gradient[1][keep].any()
    same = kd.Output(logits, {}), kd.Output(logits.detach().clone(), {})
    assert kd.Standardized(kd.SoftTarget())(*same).abs() < 1e-6


def test_standardized_padding_of_nan_has_no_gradient_of_nan() -> None:
    student, teacher = pair((3, 5))
    mask = torch.tensor([True, False, True])
    criterion = kd.Standardized(kd.SoftTarget())
    broken = student.detach().masked_fill(~mask[:, None], torch.nan).requires_grad_()
    value = criterion(kd.Output(broken, {}), kd.Output(teacher, {}), mask=mask)
    torch.testing.assert_close(value, criterion(kd.Output(student[mask], {}), kd.Output(teacher[mask], {})))
    (gradient,) = torch.autograd.grad(value, broken)
    assert gradient.isfinite().all()
    assert not gradient[1].any()


# --- curriculum temperature ---


def test_theta_climbs_by_the_strength_of_the_step() -> None:
    student, teacher = pair(SHAPE)
    outputs = kd.Output(student, {}), kd.Output(teacher, {})
    criterion = kd.CTKD(strength=kd.schedules.Cosine(0.0, 1.0, steps=10), theta=0.3).double()
    assert [name for name, _ in criterion.named_parameters()] == ["theta"]

    def at(theta: float) -> float:
        return soft_target(student, teacher, temperature=1 + 20 / (1 + math.exp(-theta))).item()

    theta = criterion.theta.item()
    slope = (at(theta + 1e-5) - at(theta - 1e-5)) / 2e-5
    for step, strength in ((0, 0.0), (5, 0.5), (10, 1.0), (99, 1.0)):
        value = criterion(*outputs, step=step)
        assert value.item() == pytest.approx(at(theta))
        ours, theirs = torch.autograd.grad(value, [student, criterion.theta])
        assert theirs.item() == pytest.approx(-strength * slope, rel=1e-6, abs=1e-15)
        (plain,) = torch.autograd.grad(soft_target(student, teacher, temperature=criterion.temperature), student)
        torch.testing.assert_close(ours, plain, rtol=1e-9, atol=1e-12)
    with pytest.raises(ValueError, match="ctkd needs step"):
        criterion(*outputs)
    with pytest.raises(ValueError, match="theta must be a scalar"):
        ctkd(student, teacher, theta=torch.zeros(4), strength=1.0)


def test_curriculum_temperature_trains_with_a_student() -> None:
    student, teacher = pair(SHAPE, torch.float32)
    criterion = kd.Standardized(kd.CTKD(strength=1.0)) + 0.1 * kd.DKD()
    before = criterion.losses[0].loss.temperature
    optimizer = torch.optim.SGD([student, *criterion.parameters()], lr=1.0)
    for _ in range(3):
        optimizer.zero_grad()
        criterion(kd.Output(student, {}), kd.Output(teacher, {}), **LABELS).backward()
        optimizer.step()
    assert criterion.losses[0].loss.temperature != before
    assert list(criterion.state_dict()) == ["losses.0.loss.theta"]


# --- weighted soft labels ---


def test_wsld_weights_have_no_gradient() -> None:
    student, teacher = pair(SHAPE)
    value = wsld(student, teacher, temperature=2.0, **LABELS)
    index = LABELS["labels"]
    ratio = F.cross_entropy(student, index, reduction="none") / F.cross_entropy(teacher, index, reduction="none")
    weights = 1 - torch.exp(-ratio.detach())
    each = torch.stack([soft_target(student[k : k + 1], teacher[k : k + 1], temperature=2.0) for k in range(4)])
    torch.testing.assert_close(value, (weights * each).mean())
    torch.testing.assert_close(*(torch.autograd.grad(x, student)[0] for x in (value, (weights * each).mean())))


def test_wsld_of_networks_that_are_sure() -> None:
    sure, unsure = torch.tensor([[90.0, 0.0, 0.0]]), torch.tensor([[0.0, 0.0, 1.0]])
    labels = torch.tensor([0])
    torch.testing.assert_close(wsld(unsure, sure, labels=labels), soft_target(unsure, sure, temperature=2.0))
    assert wsld(sure, unsure, labels=labels) < 1e-6
    assert wsld(sure, sure.clone(), labels=labels) == 0


# --- transformed teacher matching ---


def test_ttm_is_kd_with_a_renyi_entropy() -> None:
    # Theorem of the paper: T · H(p_T, q_T) = H(p_T, q) + (T − 1) H_{1/T}(q), with Rényi's entropy of order 1/T.
    student, teacher = pair((1, 6))
    temperature = 4.0
    q = student.softmax(1)
    renyi = (q ** (1 / temperature)).sum().log() / (1 - 1 / temperature)
    p = (teacher / temperature).softmax(1)
    entropy = -(p * p.log()).sum()
    cross_entropy = ttm(student, teacher, gamma=1 / temperature) + entropy
    kd_cross_entropy = soft_target(student, teacher, temperature=temperature) / temperature**2 + entropy
    torch.testing.assert_close(temperature * kd_cross_entropy, cross_entropy + (temperature - 1) * renyi)


def test_ttm_without_a_transform_is_kd() -> None:
    student, teacher = pair(SHAPE)
    for function in (ttm, wttm):
        value = function(student, teacher, gamma=1.0)
        torch.testing.assert_close(value, soft_target(student, teacher, temperature=1.0))
    smooth = torch.zeros(2, 5, dtype=torch.float64)
    ratio = wttm(student[:2], smooth, gamma=0.2) / ttm(student[:2], smooth, gamma=0.2)
    assert ratio.item() == pytest.approx(5**0.8)


# --- one for all ---


def test_ofa_without_enhancement_is_the_label_plus_the_teacher() -> None:
    student, teacher = pair(SHAPE)
    expected = F.cross_entropy(student, LABELS["labels"]) + F.cross_entropy(student, teacher.softmax(1))
    torch.testing.assert_close(ofa(student, teacher, gamma=1.0, **LABELS), expected)
    assert ofa(student, teacher, gamma=2.0, **LABELS) > expected


# --- together ---


def test_a_sum_of_them_compiles_with_labels_and_step() -> None:
    student, teacher = pair((6, 5), torch.float32)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    mask = torch.tensor([True, True, False, True, True, True])
    ramp = kd.schedules.Linear(0.0, 1.0, steps=4)
    criterion = ramp * kd.DKD() + kd.NKD() + kd.DIST() + kd.CTKD(strength=ramp) + kd.Standardized(kd.SoftTarget())
    outputs = kd.Output(student, {}), kd.Output(teacher, {})
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    value = compiled(*outputs, labels=labels, mask=mask, step=2)
    torch.testing.assert_close(value, criterion(*outputs, labels=labels, mask=mask, step=2), rtol=1e-5, atol=1e-6)


def test_terms_have_names() -> None:
    student, teacher = (kd.Output(x, {}) for x in pair(SHAPE))
    criterion = kd.DKD() + 2.0 * kd.DIST() + kd.Standardized(kd.DKD())
    terms = criterion.terms(student, teacher, **LABELS)
    assert list(terms) == ["dkd", "2*dist", "standardized_dkd"]
    with pytest.raises(ValueError, match="dkd needs labels"):
        criterion(student, teacher)
    assert logit_mse(student.logits, teacher.logits).isfinite()
