"""One table of losses, one battery of laws for every row, and what only one loss or their sums do."""

import inspect
import itertools
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import pytest
import torch
from torch import Tensor

import kdvideo as kd
from kdvideo.functional import feature_mse, logit_mse, soft_target
from tests.core import references

LOGITS, FEATURE = (3, 5), (2, 3, 2, 2, 3)


class Row(NamedTuple):
    function: Callable[..., Tensor]
    loss: kd.Loss
    reference: Callable[..., float]
    shape: tuple[int, ...]


def feature(reduction: str = "mean") -> kd.Loss:
    return kd.FeatureMSE("x", reduction=reduction)


TABLE = {
    "logit_mse": Row(logit_mse, kd.LogitMSE(), references.logit_mse, LOGITS),
    "logit_mse sum": Row(
        partial(logit_mse, reduction="sum"),
        kd.LogitMSE(reduction="sum"),
        partial(references.logit_mse, divide_by_classes=False),
        LOGITS,
    ),
    "soft_target": Row(soft_target, kd.SoftTarget(), partial(references.soft_target, temperature=4.0), LOGITS),
    "soft_target T=1": Row(
        partial(soft_target, temperature=1.0),
        kd.SoftTarget(temperature=1.0),
        partial(references.soft_target, temperature=1.0),
        LOGITS,
    ),
    "soft_target mean": Row(
        partial(soft_target, reduction="mean"),
        kd.SoftTarget(reduction="mean"),
        lambda s, t: references.soft_target(s, t, 4.0) / s.shape[1],
        LOGITS,
    ),
    "feature_mse": Row(feature_mse, feature(), references.feature_mse, FEATURE),
    "feature_mse sum": Row(
        partial(feature_mse, reduction="sum"),
        feature("sum"),
        partial(references.feature_mse, divide_by_channels=False),
        FEATURE,
    ),
    "feature_mse (B, C)": Row(feature_mse, feature(), references.feature_mse, (4, 6)),
}


@pytest.fixture(params=TABLE, name="row")
def _row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


def pair(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, *shape, dtype=torch.float64, generator=generator).unbind()
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def outputs(row: Row, student: Tensor, teacher: Tensor) -> tuple[kd.Output, kd.Output]:
    if isinstance(row.loss, kd.FeatureMSE):
        return kd.Output(None, {"x": student}), kd.Output(None, {"x": teacher})
    return kd.Output(student, {}), kd.Output(teacher, {})


def test_value_is_that_of_the_paper(row: Row) -> None:
    student, teacher = pair(row.shape)
    expected = row.reference(student.detach().numpy(), teacher.numpy())
    assert row.function(student, teacher).item() == pytest.approx(expected, rel=1e-12)


def test_object_is_the_function_on_outputs(row: Row) -> None:
    student, teacher = pair(row.shape, torch.float32)
    value = row.loss(*outputs(row, student, teacher))
    assert torch.equal(value, row.function(student, teacher))
    assert list(row.loss.terms(*outputs(row, student, teacher))) == [row.loss.name]


@pytest.mark.reliability("C8")
def test_gradient_is_that_of_finite_differences(row: Row) -> None:
    """Fails when half of the student is detached in `kl_terms`: the value stays, the gradient is halved."""
    student, teacher = pair(row.shape)
    assert torch.autograd.gradcheck(lambda s: row.function(s, teacher), student)


def test_order_of_examples_and_of_classes_does_not_matter(row: Row) -> None:
    student, teacher = pair(row.shape)
    for axis in (0, 1):
        order = torch.randperm(row.shape[axis], generator=torch.Generator().manual_seed(1))
        moved = row.function(student.index_select(axis, order), teacher.index_select(axis, order))
        torch.testing.assert_close(moved, row.function(student, teacher), rtol=1e-12, atol=0)


def test_student_comes_first(row: Row) -> None:
    student, teacher = pair(row.shape)
    row.function(student, teacher).backward()
    assert student.grad is not None
    assert teacher.grad is None


def test_equal_inputs_give_zero_and_no_gradient(row: Row) -> None:
    student, _ = pair(row.shape)
    value = row.function(student, student.detach().clone())
    value.backward()
    assert value.item() == 0
    torch.testing.assert_close(student.grad, torch.zeros_like(student), atol=1e-15, rtol=0)


def test_half_precision_is_computed_in_float32(row: Row) -> None:
    student, teacher = pair(row.shape, torch.bfloat16)
    expected = row.function(student.float(), teacher.float())
    for autocast, dtype in itertools.product([False, True], [torch.bfloat16, torch.float16]):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            value = row.function(student.to(dtype), teacher.to(dtype))
            mixed = row.function(student.to(dtype), teacher.float())
        assert value.dtype == mixed.dtype == torch.float32
        assert torch.equal(value, expected)
        assert torch.equal(mixed, expected)


def test_no_reduction_keeps_every_element(row: Row) -> None:
    function = getattr(row.function, "func", row.function)
    given = getattr(row.function, "keywords", {})
    student, teacher = pair(row.shape)
    elements = function(student, teacher, **{**given, "reduction": "none"})
    assert elements.shape == row.shape
    by_hand = elements.mean() if function is not soft_target else elements.sum(1).mean()
    expected = function(student, teacher, **{k: v for k, v in given.items() if k != "reduction"})
    torch.testing.assert_close(by_hand, expected, rtol=1e-12, atol=0)


def test_shapes_that_differ_are_never_broadcast(row: Row) -> None:
    student, teacher = pair(row.shape)
    for other in (teacher[:1], teacher[:, :1], teacher[0], teacher.unsqueeze(-1)):
        with pytest.raises(ValueError) as error:
            row.function(student, other)
        assert str(tuple(student.shape)) in str(error.value)
        assert str(tuple(other.shape)) in str(error.value)


def test_bad_tensors_are_refused(row: Row) -> None:
    student, teacher = pair(row.shape)
    with pytest.raises(ValueError, match="floating-point"):
        row.function(student, teacher.long())
    with pytest.raises(ValueError, match=r"non-empty.*\(0, "):
        row.function(student[:0], teacher[:0])
    with pytest.raises(ValueError, match=r"got shape \(5,\)"):
        row.function(torch.ones(5), torch.ones(5))


def test_unknown_reduction_is_refused(row: Row) -> None:
    function = getattr(row.function, "func", row.function)
    with pytest.raises(ValueError, match="'batchmean'"):
        function(*pair(row.shape), reduction="batchmean")
    kind = type(row.loss)
    with pytest.raises(ValueError, match="'batchmean'"):
        kind(*(["x"] if kind is kd.FeatureMSE else []), reduction="batchmean")


def test_losses_pickle(row: Row) -> None:
    student, teacher = pair(row.shape)
    again = pickle.loads(pickle.dumps(row.loss))
    assert torch.equal(again(*outputs(row, student, teacher)), row.function(student, teacher))


def test_outputs_that_lack_the_tensor_are_refused(row: Row) -> None:
    student, teacher = outputs(row, *pair(row.shape))
    empty = kd.Output(None, {"y": torch.zeros(1)})
    for arguments, who in (((empty, teacher), "student"), ((student, empty), "teacher")):
        with pytest.raises(ValueError, match=f"the {who} (returned no logits|has no feature 'x'.*'y')"):
            row.loss(*arguments)


def test_dense_logits_have_their_classes_on_axis_1() -> None:
    student, teacher = pair((2, 5, 3))
    for function in (logit_mse, soft_target):
        each = [function(student[..., i], teacher[..., i]) for i in range(3)]
        torch.testing.assert_close(function(student, teacher), sum(each) / 3)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
def test_temperature_must_be_positive(temperature: float) -> None:
    with pytest.raises(ValueError, match="temperature must be positive"):
        soft_target(*pair(LOGITS), temperature=temperature)
    with pytest.raises(ValueError, match="temperature must be positive"):
        kd.SoftTarget(temperature=temperature)


@pytest.mark.parametrize("temperature", [1e-3, 1.0, 20.0, 100.0, 1e3])
@pytest.mark.parametrize("scale", [1.0, 1e4])
@pytest.mark.parametrize("shape", [(4, 5), (1, 2), (1, 400)])
def test_soft_target_at_extremes(temperature: float, scale: float, shape: tuple[int, int]) -> None:
    student, teacher = pair(shape, torch.float32)
    value = soft_target(student * scale, teacher * scale, temperature=temperature)
    expected = soft_target(student.double() * scale, teacher.double() * scale, temperature=temperature)
    given, wanted = (torch.autograd.grad(loss, student)[0] for loss in (value, expected))
    assert value.isfinite()
    # T² multiplies the rounding of float32 too, eps x log 400 = 7e-7; the gradient below does not suffer.
    rounding = 1e-6 * temperature**2 if temperature >= 100 else 0.0
    torch.testing.assert_close(value.double(), expected, rtol=1e-3, atol=rounding)
    assert (given - wanted).norm() <= 1e-3 * wanted.norm() + 1e-6


def test_half_precision_logits_do_not_overflow() -> None:
    student = torch.full((2, 5), 6e4, dtype=torch.float16)
    assert logit_mse(student, -student).item() == pytest.approx(1.2e5**2, rel=1e-3)
    assert soft_target(student, -student, temperature=300.0).item() == 0


def batch() -> tuple[kd.Output, kd.Output]:
    (s, t), (a, b) = pair(LOGITS, torch.float32), pair(FEATURE, torch.float32)
    return kd.Output(s, {"4c": a}), kd.Output(t, {"4c": b})


def test_terms_are_named_weighted_and_add_up() -> None:
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("4c") + kd.SoftTarget(temperature=4.0)
    student, teacher = batch()
    terms = criterion.terms(student, teacher)
    assert list(terms) == ["logit_mse", "0.5*feature_mse[4c]", "soft_target"]
    half = 0.5 * feature_mse(student.features["4c"], teacher.features["4c"])
    assert torch.equal(terms["0.5*feature_mse[4c]"], half)
    assert torch.equal(criterion(student, teacher), sum(terms.values()))
    assert criterion.name == "logit_mse + 0.5*feature_mse[4c] + soft_target"
    assert "0.5*feature_mse[4c]" in repr(criterion)


def test_weights_distribute_over_sums() -> None:
    student, teacher = batch()
    inner = kd.LogitMSE() + 0.5 * kd.SoftTarget()
    criterion = 2 * inner
    assert list(criterion.terms(student, teacher)) == ["2*logit_mse", "2*0.5*soft_target"]
    torch.testing.assert_close(criterion(student, teacher), 2 * inner(student, teacher))
    assert list((inner * 2).terms(student, teacher)) == list(criterion.terms(student, teacher))


def test_builtin_sum_of_losses() -> None:
    student, teacher = batch()
    criterion = sum([kd.LogitMSE(), kd.SoftTarget()])
    assert torch.equal(criterion(student, teacher), (kd.LogitMSE() + kd.SoftTarget())(student, teacher))


def test_weight_by_schedule_takes_the_step_and_remembers_nothing() -> None:
    student, teacher = batch()
    criterion = 2 * (kd.schedules.Linear(0.0, 1.0, steps=10) * kd.LogitMSE()) + kd.SoftTarget()
    value = logit_mse(student.logits, teacher.logits)
    for step, weight in ((10, 2.0), (5, 1.0), (0, 0.0), (5, 1.0)):
        terms = criterion.terms(student, teacher, step=step)
        assert list(terms) == ["2*linear*logit_mse", "soft_target"]
        assert torch.equal(terms["2*linear*logit_mse"], weight * value)
        assert torch.equal(criterion(student, teacher, step=step), sum(terms.values()))
    again = pickle.loads(pickle.dumps(criterion))
    assert torch.equal(again(student, teacher, step=3), criterion(student, teacher, step=3))


def test_any_function_of_the_step_is_a_schedule() -> None:
    def ramp(step: int) -> float:
        return step / 4

    student, teacher = batch()
    terms = (kd.LogitMSE() * ramp).terms(student, teacher, step=2)
    assert torch.equal(terms["ramp*logit_mse"], 0.5 * logit_mse(student.logits, teacher.logits))


def test_schedule_without_step_is_refused() -> None:
    with pytest.raises(ValueError, match=r"Linear\(start=0.0.*step=step"):
        (kd.schedules.Linear(0.0, 1.0, steps=10) * kd.LogitMSE())(*batch())


def test_two_terms_of_one_name_are_refused() -> None:
    with pytest.raises(ValueError, match=r"\['logit_mse'\]"):
        kd.LogitMSE() + kd.LogitMSE()
    assert kd.FeatureMSE("a") + kd.FeatureMSE("b")


def test_terms_of_different_shapes_are_not_added() -> None:
    criterion = kd.LogitMSE(reduction="none") + kd.SoftTarget()
    with pytest.raises(ValueError, match=r"'logit_mse': \(3, 5\), 'soft_target': \(\)"):
        criterion(*batch())


@pytest.mark.parametrize(
    "build",
    [
        lambda: kd.LogitMSE() + 1,
        lambda: 1 + kd.LogitMSE(),
        lambda: kd.LogitMSE() * kd.SoftTarget(),
        lambda: "2" * kd.LogitMSE(),
        lambda: kd.LogitMSE() * torch.nn.ReLU(),
    ],
)
def test_only_losses_add_and_only_weights_multiply(build: Callable[[], object]) -> None:
    with pytest.raises(ValueError, match=r"a (loss|weight) must be"):
        build()


class Learned(kd.Loss):
    """A loss with a parameter, as a user writes one."""

    name = "learned"

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(2.0))

    def compute(self, student: kd.Output, teacher: kd.Output, given: object) -> Tensor:
        return self.scale * logit_mse(student.logits, teacher.logits)


def test_parameters_of_a_loss_are_registered_through_sums() -> None:
    learned = Learned()
    criterion = 0.5 * (kd.SoftTarget() + learned)
    assert [id(p) for p in criterion.parameters()] == [id(learned.scale)]
    criterion(*batch()).backward()
    assert learned.scale.grad is not None


def test_a_mask_that_one_term_cannot_use_is_refused() -> None:
    x, y, z, w = torch.randn(4, 2, 4, 5, generator=torch.Generator().manual_seed(0))
    student, teacher = (
        kd.Output(x, {"tokens": y, "pooled": y.mean(1)}),
        kd.Output(z, {"tokens": w, "pooled": w.mean(1)}),
    )
    tokens, mask = kd.SoftTarget(dim=-1), torch.tensor([[1, 1, 0, 0], [1, 1, 1, 1]])
    for order in (tokens + kd.RKDDistance("tokens"), kd.RKDDistance("tokens") + tokens, 2 * kd.PKT("tokens")):
        for call in (order, order.terms):
            with pytest.raises(ValueError, match=r"(rkd_distance|pkt)\[tokens\] takes no mask: .*call it on its own"):
                call(*triples(student, teacher), mask=torch.cat([mask, mask]))
    # A vector for each sample has no positions; a mask of samples is another matter.
    pooled = tokens + kd.SimilarityPreserving("pooled")
    terms = pooled.terms(student, teacher, mask=mask)
    assert torch.equal(terms["similarity_preserving[pooled]"], kd.SimilarityPreserving("pooled")(student, teacher))
    with pytest.raises(ValueError, match="takes no mask"):
        kd.SimilarityPreserving("pooled")(student, teacher, mask=torch.tensor([True, False]))
    with pytest.raises(ValueError, match="takes no normalizer"):
        pooled(student, teacher, mask=mask, normalizer=6)


def triples(*outputs: kd.Output) -> list[kd.Output]:
    return [
        kd.Output(torch.cat([one.logits] * 2), {name: torch.cat([x, x + 1]) for name, x in one.features.items()})
        for one in outputs
    ]


def test_a_loss_of_ones_own_that_ignores_a_mask_is_refused() -> None:
    with pytest.raises(ValueError, match="learned takes no mask"):
        Learned()(*batch(), mask=torch.ones(3, dtype=torch.bool))


@pytest.mark.parametrize("weight", [-1, -0.5, float("nan"), float("inf")])
def test_bad_weights_are_refused(weight: float) -> None:
    with pytest.raises(ValueError, match=f"a weight must be finite and at least 0, got {weight}: "):
        weight * kd.LogitMSE()
    criterion = kd.LogitMSE() * kd.schedules.Constant(weight)
    with pytest.raises(ValueError, match=f"at least 0, got {weight} from Constant"):
        criterion(*batch(), step=0)


def test_more_criteria_compile_in_one_process_than_the_limit_of_one_function() -> None:
    losses = [
        kd.LogitMSE(), kd.SoftTarget(), kd.TTM(), kd.WTTM(), kd.ReverseKL(), kd.JensenShannon(), kd.SkewedKL(),
        kd.SkewedReverseKL(), kd.TotalVariation(), kd.DIST(), kd.MLKD(), kd.AlphaBeta(),
    ]  # fmt: skip
    assert len(losses) > torch._dynamo.config.recompile_limit
    torch.compiler.reset()
    for loss in losses:
        compiled = torch.compile(loss, backend="eager", fullgraph=True)
        torch.testing.assert_close(compiled(*batch()), loss(*batch()))
    # Sums are of one class, whose versions the limit is for.
    with torch._dynamo.config.patch(recompile_limit=32):
        for loss in losses:
            compiled = torch.compile(loss + kd.FeatureMSE("4c"), backend="eager", fullgraph=True)
            assert compiled(*batch()).isfinite()


@pytest.mark.parametrize("mask", [None, torch.tensor([True, True, False])])
def test_masks_and_schedules_compile_in_one_graph(mask: Tensor | None) -> None:
    torch.compiler.reset()
    ramp = kd.schedules.Linear(0.0, 1.0, steps=4)
    criterion = (
        ramp * kd.SoftTarget()
        + kd.FeatureMSE("4c", masked=False)
        + kd.OnClasses(kd.LogitMSE(), student=[0, 2], teacher=[1, 2])
    )
    student, teacher = batch()
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    given = {"mask": mask, "step": 2, "normalizer": 2}
    torch.testing.assert_close(compiled(student, teacher, **given), criterion(student, teacher, **given))


PAIRED = [
    name
    for name in kd.functional.__all__
    if list(inspect.signature(getattr(kd.functional, name)).parameters)[:2] == ["student", "teacher"]
    and name not in ("fsp", "sem_ckd", "soft_target_top_k")  # of several layers, or of a TopK
]
GIVEN = {"labels": torch.zeros(2, 4, 6, 6), "samples": 4, "strength": 1.0, "theta": torch.zeros(1), "heads": 2}


@pytest.mark.parametrize("name", PAIRED)
def test_functions_take_tensors_of_one_device(name: str) -> None:
    function = getattr(kd.functional, name)
    needed = [p.name for p in inspect.signature(function).parameters.values() if p.default is p.empty][2:]
    given = {key: GIVEN.get(key, torch.zeros(2, dtype=torch.long)) for key in needed}
    x = torch.randn(2, 4, 6, 6)
    for ours, theirs, shown in (
        (kd.Output(x, {}), kd.Output(x, {}), "an Output of length 3 and an Output of length 3: pass output.logits"),
        (x.numpy(), x.numpy(), "a ndarray and a ndarray.*torch.as_tensor"),
        (x, x.numpy(), "a Tensor and a ndarray"),
    ):
        with pytest.raises(ValueError, match=f"student and teacher must be tensors, got {shown}"):
            function(ours, theirs, **given)
    with pytest.raises(ValueError, match=r"on one device, got cpu and meta: .*teacher.to\('cpu'\)"):
        function(x, x.to("meta"), **given)


def test_tokens_without_their_axis_are_warned_of_once() -> None:
    student, teacher = (kd.Output(torch.randn(2, 5, 30), {}) for _ in range(2))
    loss = kd.SoftTarget()
    with pytest.warns(UserWarning, match=r"\(2, 5, 30\) is 1, .* 5 classes at 30 positions: pass dim=-1"):
        loss(student, teacher)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        loss(student, teacher)
        kd.SoftTarget(dim=-1)(student, teacher)
        kd.LogitMSE()(student, teacher)
        kd.SoftTarget()(*(kd.Output(output.logits.mT, {}) for output in (student, teacher)))


@pytest.mark.parametrize("build", [lambda w: w * kd.LogitMSE(), lambda w: kd.LogitMSE() * w])
def test_a_weight_that_is_a_tensor_is_refused(build: Callable[[Tensor], kd.Loss]) -> None:
    with pytest.raises(ValueError, match=r"a weight must be a number .* got a Tensor: weight.item\(\), or multiply"):
        build(torch.tensor(0.5))


def test_top_classes_are_no_logits_and_the_other_way_round() -> None:
    logits = torch.randn(3, 5)
    top = kd.Output(None, {}, kd.functional.top_k(logits, 2))
    with pytest.raises(ValueError, match=r"the teacher returned no logits.*use SoftTargetTopK for a TeacherCache"):
        kd.SoftTarget()(kd.Output(logits, {}), top)
    with pytest.raises(ValueError, match=r"TopK, got a Tensor and a Tensor: functional.top_k"):
        kd.functional.soft_target_top_k(logits, logits)


@pytest.mark.parametrize("name", ["labels", "mask", "index"])
def test_what_is_given_beside_the_outputs_are_tensors(name: str) -> None:
    with pytest.raises(ValueError, match=rf"{name} must be a tensor, got a list of length 3: .*as_tensor\({name}\)"):
        (kd.SoftTarget() + kd.LogitMSE()).terms(*batch(), **{name: [1, 0, 1]})


def test_swapped_outputs_are_warned_of_once() -> None:
    """Fails when no call looks which output learns; no gradient, or one in both, is no fault."""
    learns, fixed = kd.Output(torch.ones(2, 5, requires_grad=True), {}), kd.Output(torch.zeros(2, 5), {})
    feature = kd.Output(None, {"4c": torch.ones(2, 5, requires_grad=True)})
    calls = [
        lambda loss: loss(fixed, learns),
        lambda loss: loss.terms(fixed, learns),
        lambda loss: loss(
            fixed._replace(features={"4c": torch.zeros(2, 5)}), feature._replace(logits=torch.ones(2, 5))
        ),
    ]
    for call in calls:
        criterion = kd.LogitMSE() + kd.SoftTarget()
        with pytest.warns(UserWarning, match=r"teacher's output has a gradient and the student's has none") as seen:
            call(criterion)
        assert len(seen) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            call(criterion)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for pair in ((learns, fixed), (learns, learns), (fixed, fixed)):
            kd.LogitMSE()(*pair)
        with torch.no_grad():
            kd.LogitMSE()(fixed, learns)


def test_the_values_of_a_mask_are_looked_at_once() -> None:
    """Fails when a mask is looked at in every step, which waits for the device, or not at all."""
    tokens, bad = kd.Output(torch.randn(2, 3, 4), {}), torch.tensor([[2, 1, 0]] * 2)
    criterion = kd.SoftTarget(dim=-1)
    for _ in range(2):
        with pytest.raises(ValueError, match=r"integers 0 and 1, got 0 to 2"):
            criterion(tokens, tokens, mask=bad)
    criterion(tokens, tokens, mask=bad != 0)
    criterion(tokens, tokens, mask=bad)
    torch.compile(kd.SoftTarget(dim=-1), backend="eager", fullgraph=True)(tokens, tokens, mask=bad)
