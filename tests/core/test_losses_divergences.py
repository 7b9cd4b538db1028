"""The laws for divergences and their kin, and what only they do."""

import math
import pickle
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.nn import functional as F
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import kdvideo as kd
from kdvideo import functional as kf
from tests.core import references
from tests.core import references_divergences as ref
from tests.core.battery import Laws, Row, pair

TOKENS = (2, 3, 5)


def tokens(
    function: Callable[..., Tensor], loss: type[kd.Loss], reference: Callable[..., float], **options: Any
) -> Row:
    return Row(
        partial(function, dim=-1, **options),
        loss(dim=-1, **options),
        partial(reference, **options),
        TOKENS,
        orders=(0, 1, 2),
    )


VALUES = torch.randn(6, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
TABLE = {
    "reverse_kl": Row(kf.reverse_kl, kd.ReverseKL(), ref.reverse_kl, (3, 5), orders=(0, 1)),
    "reverse_kl tokens": tokens(kf.reverse_kl, kd.ReverseKL, ref.reverse_kl, temperature=3.0),
    "jensen_shannon": tokens(kf.jensen_shannon, kd.JensenShannon, ref.jensen_shannon, beta=0.5),
    "jensen_shannon 0.1": tokens(kf.jensen_shannon, kd.JensenShannon, ref.jensen_shannon, beta=0.1, temperature=2.0),
    "skewed_kl": tokens(kf.skewed_kl, kd.SkewedKL, ref.skewed_kl, skew=0.1),
    "skewed_kl 0.3": tokens(kf.skewed_kl, kd.SkewedKL, ref.skewed_kl, skew=0.3, temperature=2.0),
    "skewed_reverse_kl": tokens(kf.skewed_reverse_kl, kd.SkewedReverseKL, ref.skewed_reverse_kl, skew=0.1),
    "skewed_reverse_kl 0.3": tokens(
        kf.skewed_reverse_kl, kd.SkewedReverseKL, ref.skewed_reverse_kl, skew=0.3, temperature=2.0
    ),
    "alpha_beta": tokens(kf.alpha_beta, kd.AlphaBeta, ref.alpha_beta, alpha=0.8, beta=0.3, temperature=2.0),
    "alpha_beta 0.2": tokens(kf.alpha_beta, kd.AlphaBeta, ref.alpha_beta, alpha=0.2, beta=0.7),
    "alpha_beta beta=0": tokens(kf.alpha_beta, kd.AlphaBeta, ref.alpha_beta, alpha=0.6, beta=0.0),
    "alpha_beta alpha=0": tokens(kf.alpha_beta, kd.AlphaBeta, ref.alpha_beta, alpha=0.0, beta=1.5),
    "total_variation": tokens(kf.total_variation, kd.TotalVariation, ref.total_variation, temperature=2.0),
    "binary_kd": Row(
        partial(kf.binary_kd, temperature=3.0),
        kd.BinaryKD(temperature=3.0),
        partial(ref.binary_kd, temperature=3.0),
        (3, 5),
        orders=(0, 1),
    ),
    "binary_kd one logit": Row(kf.binary_kd, kd.BinaryKD(), partial(ref.binary_kd, temperature=1.0), (4, 1)),
    "regression": Row(kf.regression, kd.Regression(), ref.smooth_l1, (8,)),
    "regression of boxes": Row(kf.regression, kd.Regression(), ref.smooth_l1, (3, 4), orders=(0, 1)),
    "bounded_regression": Row(
        kf.bounded_regression,
        kd.BoundedRegression(),
        partial(ref.bounded_regression, margin=0.0),
        (6, 3),
        given={"labels": VALUES},
    ),
    "bounded_regression of scalars": Row(
        partial(kf.bounded_regression, margin=0.5),
        kd.BoundedRegression(margin=0.5),
        partial(ref.bounded_regression, margin=0.5),
        (6,),
        zero=False,
        given={"labels": VALUES[:, 0]},
    ),
    "soft_target_chunked": Row(
        partial(kf.soft_target_chunked, chunks=3),
        kd.SoftTargetChunked(chunks=3),
        lambda s, t: references.soft_target(ref.rows(s), ref.rows(t), 4.0),
        (2, 4, 5),
        orders=(0, 1, 2),
    ),
    "soft_target_chunked 2-D": Row(
        partial(kf.soft_target_chunked, temperature=2.0),
        kd.SoftTargetChunked(temperature=2.0),
        partial(references.soft_target, temperature=2.0),
        (5, 3),
        orders=(0, 1),
    ),
}


@pytest.fixture(params=TABLE)
def row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


class TestLaws(Laws):
    """The laws, row by row."""


ALONE = {
    "uniform_teacher": Row(
        lambda s, t: kf.uniform_teacher(s), kd.UniformTeacher(), ref.uniform_teacher, (3, 5), zero=False, orders=(0, 1)
    ),
    "virtual_teacher": Row(
        lambda s, t, labels: kf.virtual_teacher(s, labels=labels),
        kd.VirtualTeacher(),
        partial(ref.virtual_teacher, correct=0.99, temperature=20.0),
        (3, 5),
        zero=False,
        given={"labels": torch.tensor([4, 0, 2])},
    ),
    "virtual_teacher 0.9": Row(
        lambda s, t, labels: kf.virtual_teacher(s, labels=labels, correct=0.9, temperature=2.0),
        kd.VirtualTeacher(correct=0.9, temperature=2.0),
        partial(ref.virtual_teacher, correct=0.9, temperature=2.0),
        (3, 5),
        zero=False,
        given={"labels": torch.tensor([4, 0, 2])},
    ),
}


class TestLawsWithoutTeacher(Laws):
    """The laws of losses that need no teacher; what the teacher's tensor is does not matter."""

    @pytest.fixture(params=ALONE)
    def row(self, request: pytest.FixtureRequest) -> Row:
        return ALONE[request.param]

    def test_shapes_that_differ_are_never_broadcast(self, row: Row) -> None:
        student, teacher = pair(row.shape)
        for name, value in row.given.items():
            with pytest.raises(ValueError, match=rf"{name} must have one class for each position, \(3,\), got \(2,\)"):
                row(student, teacher, **{name: value[:2]})

    def test_bad_tensors_are_refused(self, row: Row) -> None:
        student, teacher = pair(row.shape)
        with pytest.raises(ValueError, match="floating-point"):
            row(student.long(), teacher)
        with pytest.raises(ValueError, match="non-empty"):
            row.function(student[:0], teacher[:0], **{name: value[:0] for name, value in row.given.items()})
        with pytest.raises(ValueError, match="at least 2 classes"):
            row(student[:, :1], teacher)

    def test_outputs_that_lack_the_tensor_are_refused(self, row: Row) -> None:
        student, _ = pair(row.shape)
        assert row.loss(kd.Output(student, {}), kd.Output(None, {}), **row.given).isfinite()
        with pytest.raises(ValueError, match="the student returned no logits"):
            row.loss(kd.Output(None, {}), kd.Output(student, {}), **row.given)


class Pairs(Row):
    """Two features in one tensor, side by side."""

    def outputs(self, student: Tensor, teacher: Tensor) -> tuple[kd.Output, kd.Output]:
        return tuple(  # type: ignore[return-value]
            kd.Output(None, {"image": one[:, : one.shape[1] // 2], "text": one[:, one.shape[1] // 2 :]})
            for one in (student, teacher)
        )


def relations(student: Tensor, teacher: Tensor, **options: Any) -> Tensor:
    return kf.contrastive_relations(*student.chunk(2, 1), *teacher.chunk(2, 1), **options)


class TestLawsOfRelations(Laws):
    """The laws for two embeddings at once."""

    @pytest.fixture
    def row(self) -> Row:
        taus = {"temperature": 0.5, "teacher_temperature": 0.3}
        return Pairs(
            partial(relations, **taus),
            kd.ContrastiveRelations(**taus),
            partial(ref.contrastive_relations, tau=0.5, teacher_tau=0.3),
            (4, 6),
            "both",
            zero=False,
        )

    def test_equal_inputs_give_zero_and_no_gradient(self, row: Row) -> None:
        row.function, row.zero = relations, True
        super().test_equal_inputs_give_zero_and_no_gradient(row)

    def test_shapes_that_differ_are_never_broadcast(self, row: Row) -> None:
        images, texts = torch.randn(2, 4, 3).unbind()
        for arguments, message in (
            ((images, texts, images[:3], texts[:3]), "the same pairs"),
            ((images, texts[:3], images, texts), "of images and texts alike"),
            ((images, texts[:, :2], images, texts), "of images and texts alike"),
            ((images[0], texts[0], images, texts), "of images and texts alike"),
            ((images[:1], texts[:1], images[:1], texts[:1]), "at least 2 pairs"),
        ):
            with pytest.raises(ValueError, match=message):
                kf.contrastive_relations(*arguments)

    def test_bad_tensors_are_refused(self, row: Row) -> None:
        images, texts = torch.randn(2, 4, 3).unbind()
        with pytest.raises(ValueError, match="floating-point"):
            kf.contrastive_relations(images, texts, images, texts.long())
        with pytest.raises(ValueError, match="positive"):
            kf.contrastive_relations(images, texts, images, texts, teacher_temperature=0.0)
        with pytest.raises(ValueError, match="must be two"):
            kd.ContrastiveRelations(("a", "b", "c"))

    def test_widths_may_differ_and_the_temperature_may_be_learned(self, row: Row) -> None:
        s, t = torch.randn(2, 4, 3), torch.randn(2, 4, 5)
        scale = torch.tensor(2.0, requires_grad=True)
        value = kf.contrastive_relations(*s, *t, temperature=1 / scale.exp(), teacher_temperature=0.01)
        value.backward()
        assert scale.grad is not None
        assert scale.grad != 0
        renamed = kd.ContrastiveRelations({"image": "i", "text": "t"}, temperature=0.2)
        student, teacher = kd.Output(None, {"image": s[0], "text": s[1]}), kd.Output(None, {"i": t[0], "t": t[1]})
        assert torch.equal(renamed(student, teacher), kf.contrastive_relations(*s, *t, temperature=0.2))


def logits(*shape: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    return pair(shape, seed=seed)


FAMILY = {
    "reverse_kl": kf.reverse_kl,
    "jensen_shannon": kf.jensen_shannon,
    "skewed_kl": kf.skewed_kl,
    "skewed_reverse_kl": kf.skewed_reverse_kl,
    "alpha_beta": kf.alpha_beta,
    "total_variation": kf.total_variation,
}
TOKEN_LOSSES = FAMILY | {
    "binary_kd": kf.binary_kd,
    "regression": kf.regression,
}


def test_limits_and_special_cases() -> None:
    student, teacher = logits(4, 7)
    forward, reverse = kf.soft_target(student, teacher, temperature=1.0), kf.reverse_kl(student, teacher)
    cases = [
        (kf.jensen_shannon(student, teacher, beta=0.0), forward),
        (kf.jensen_shannon(student, teacher, beta=1.0), reverse),
        (kf.skewed_kl(student, teacher, skew=0.0), forward),
        (kf.skewed_reverse_kl(student, teacher, skew=0.0), reverse),
        (kf.alpha_beta(student, teacher, alpha=1.0, beta=0.0), forward),
        (kf.alpha_beta(student, teacher, alpha=0.0, beta=1.0), reverse),
        (kf.reverse_kl(student, teacher), kf.soft_target(teacher, student, temperature=1.0)),
        (kf.jensen_shannon(student, teacher), kf.jensen_shannon(teacher, student)),
        (kf.alpha_beta(student, teacher, alpha=0.3, beta=0.3), kf.alpha_beta(teacher, student, alpha=0.3, beta=0.3)),
        (
            kf.alpha_beta(student, teacher, alpha=0.5, beta=0.5),
            2 * (student.softmax(1).sqrt() - teacher.softmax(1).sqrt()).square().sum(1).mean(),
        ),
    ]
    for value, expected in cases:
        torch.testing.assert_close(value, expected, rtol=1e-10, atol=1e-12)
    near = 1e-5
    approached = [
        (kf.jensen_shannon(student, teacher, beta=near) / near, forward),
        (kf.jensen_shannon(student, teacher, beta=1 - near) / near, reverse),
        (kf.alpha_beta(student, teacher, alpha=0.6, beta=near), kf.alpha_beta(student, teacher, alpha=0.6, beta=0.0)),
        (kf.alpha_beta(student, teacher, alpha=near, beta=0.6), kf.alpha_beta(student, teacher, alpha=0.0, beta=0.6)),
    ]
    for value, expected in approached:
        torch.testing.assert_close(value, expected, rtol=1e-3, atol=0)


@pytest.mark.parametrize("name", TOKEN_LOSSES)
def test_masked_positions_do_not_count_and_parts_add_up(name: str) -> None:
    function = partial(TOKEN_LOSSES[name], dim=-1)
    student, teacher = logits(3, 4, 5)
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    value = function(student, teacher, mask=mask)
    torch.testing.assert_close(value, function(student[mask.bool()], teacher[mask.bool()]))
    broken, other = (one.detach().masked_fill(~mask.bool()[..., None], torch.nan) for one in (student, teacher))
    again = function(broken.requires_grad_(), other, mask=mask)
    assert torch.equal(again, value)
    assert torch.autograd.grad(again, broken)[0].isfinite().all()
    parts = sum(
        function(student[k : k + 1], teacher[k : k + 1], mask=mask[k : k + 1], normalizer=int(mask.sum()))
        for k in range(3)
    )
    torch.testing.assert_close(parts, value)
    assert function(student, teacher, mask=torch.zeros_like(mask)) == 0


@pytest.mark.parametrize("name", [*FAMILY, "binary_kd"])
def test_the_class_axis_and_reductions(name: str) -> None:
    function = TOKEN_LOSSES[name]
    student, teacher = logits(2, 5, 3, 4)
    value = function(student, teacher)
    torch.testing.assert_close(value, function(student.movedim(1, -1), teacher.movedim(1, -1), dim=-1))
    elements = function(student, teacher, reduction="none")
    assert elements.shape == student.shape
    torch.testing.assert_close(elements.sum(1).mean(), value)
    torch.testing.assert_close(function(student, teacher, reduction="mean") * 5, value)
    with pytest.raises(ValueError, match="reduction must be one of"):
        function(student, teacher, reduction="batchmean")
    for temperature in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(ValueError, match="temperature must be positive"):
            function(student, teacher, temperature=temperature)
    if name != "binary_kd":
        with pytest.raises(ValueError, match="at least 2 classes"):
            function(student[:, :1], teacher[:, :1])


@pytest.mark.parametrize("name", FAMILY)
def test_classes_that_both_exclude_are_left_out(name: str) -> None:
    function = FAMILY[name]
    student, teacher = logits(4, 10)
    excluded = torch.arange(10) >= 7
    masked = [one.masked_fill(excluded, -torch.inf) for one in (student, teacher)]
    value, expected = function(*masked), function(student[:, :7], teacher[:, :7])
    torch.testing.assert_close(value, expected)
    given, wanted = (torch.autograd.grad(one, student)[0] for one in (value, expected))
    torch.testing.assert_close(given, wanted)


@pytest.mark.parametrize("name", FAMILY)
def test_a_class_that_one_excludes(name: str) -> None:
    function = FAMILY[name]
    student, teacher = logits(4, 10)
    only_teacher = function(student, teacher.masked_fill(torch.arange(10) >= 7, -torch.inf))
    only_student = function(student.masked_fill(torch.arange(10) >= 7, -torch.inf), teacher)
    if name == "reverse_kl":
        assert only_teacher == math.inf
    else:
        assert only_teacher.isfinite()
        assert torch.autograd.grad(only_teacher, student)[0].isfinite().all()
    assert only_student.isfinite()
    assert torch.autograd.grad(only_student, student)[0].isfinite().all()


@pytest.mark.parametrize(
    ("function", "loss", "options", "message"),
    [
        (kf.jensen_shannon, kd.JensenShannon, {"beta": 1.5}, r"beta must be in \[0, 1\], got 1.5"),
        (kf.jensen_shannon, kd.JensenShannon, {"beta": -0.1}, r"beta must be in \[0, 1\], got -0.1"),
        (kf.skewed_kl, kd.SkewedKL, {"skew": 1.0}, r"skew must be in \[0, 1\), got 1.0"),
        (kf.skewed_reverse_kl, kd.SkewedReverseKL, {"skew": -1.0}, r"skew must be in \[0, 1\), got -1.0"),
        (kf.alpha_beta, kd.AlphaBeta, {"alpha": -0.1}, "alpha and beta must be finite, not negative"),
        (kf.alpha_beta, kd.AlphaBeta, {"alpha": 0.0, "beta": 0.0}, "not both 0, got 0.0 and 0.0"),
        (kf.alpha_beta, kd.AlphaBeta, {"beta": math.nan}, "alpha and beta must be finite"),
        (kf.soft_target_chunked, kd.SoftTargetChunked, {"chunks": 0}, "chunks must be at least 1, got 0"),
        (kf.soft_target_chunked, kd.SoftTargetChunked, {"temperature": 0.0}, "temperature must be positive"),
        (kf.regression, kd.Regression, {"reduction": "x"}, "reduction must be one of"),
    ],
)
def test_bad_options_are_refused(function, loss, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(*logits(2, 5), **options)
    with pytest.raises(ValueError, match=message):
        loss(**options)


def test_binary_logits_of_infinity() -> None:
    student, teacher = logits(3, 4)
    infinite = torch.tensor([[torch.inf, -torch.inf, 0.0, 1.0]], dtype=torch.float64).expand(3, 4)
    both = kf.binary_kd(
        torch.where(infinite.isinf(), infinite, student), torch.where(infinite.isinf(), infinite, teacher)
    )
    torch.testing.assert_close(both, kf.binary_kd(student[:, 2:], teacher[:, 2:]))
    alone = kf.binary_kd(student, torch.where(infinite.isinf(), infinite, teacher))
    rest = kf.binary_kd(student[:, 2:], teacher[:, 2:])
    torch.testing.assert_close(alone, rest + (F.softplus(-student[:, 0]) + F.softplus(student[:, 1])).mean())
    for value in (both, alone):
        assert torch.autograd.grad(value, student, retain_graph=True)[0].isfinite().all()


def test_binary_kd_of_one_logit_is_soft_target_of_two() -> None:
    student, teacher = logits(6, 1)
    two = [torch.cat([one, torch.zeros_like(one)], 1) for one in (student, teacher)]
    torch.testing.assert_close(kf.binary_kd(student, teacher, temperature=3.0), kf.soft_target(*two, temperature=3.0))


def test_regression_takes_any_error() -> None:
    student, teacher = logits(5, 3)
    for error, expected in (
        (F.l1_loss, (student - teacher).abs().mean()),
        (F.mse_loss, (student - teacher).square().mean()),
        (partial(F.smooth_l1_loss, beta=0.1), F.smooth_l1_loss(student, teacher, beta=0.1)),
    ):
        torch.testing.assert_close(kf.regression(student, teacher, error=error), expected)
        again = pickle.loads(pickle.dumps(kd.Regression(error=error)))
        torch.testing.assert_close(again(kd.Output(student, {}), kd.Output(teacher, {})), expected)
    with pytest.raises(ValueError, match="one value for each output"):
        kf.regression(student, teacher, error=lambda s, t, reduction: F.l1_loss(s, t))
    mask = torch.tensor([True, False, True, True, False])
    one, other = student[:, 0], teacher[:, 0]
    torch.testing.assert_close(kf.regression(one, other, mask=mask), kf.regression(one[mask], other[mask]))
    assert kf.regression(student, teacher, reduction="none").shape == (5, 3)
    assert kf.regression(one, other, reduction="none").shape == (5,)


def test_bounded_regression_leaves_the_better_student_alone() -> None:
    student = torch.tensor([[1.0, 0.0], [3.0, 0.0], [torch.nan, 0.0]], requires_grad=True)
    teacher, labels = torch.tensor([[2.0, 0.0], [2.0, 0.0], [0.0, 0.0]]), torch.zeros(3, 2)
    mask = torch.tensor([1, 1, 0])
    value = kf.bounded_regression(student, teacher, labels=labels.masked_fill(mask[:, None] == 0, torch.nan), mask=mask)
    assert value == 4.5
    (gradient,) = torch.autograd.grad(value, student)
    assert torch.equal(gradient, torch.tensor([[0.0, 0.0], [3.0, 0.0], [0.0, 0.0]]))
    assert kf.bounded_regression(student, teacher, labels=labels, margin=10.0, mask=mask) == 5.0
    with pytest.raises(ValueError, match=r"labels must be the true values in the shape .* \(3, 2\), got \(3,\)"):
        kf.bounded_regression(student, teacher, labels=labels[:, 0])
    for margin in (-1.0, math.inf):
        with pytest.raises(ValueError, match="margin must be finite and not negative"):
            kf.bounded_regression(student, teacher, labels=labels, margin=margin)


def test_label_smoothing_is_cross_entropy_and_a_uniform_teacher() -> None:
    student, _ = logits(4, 6)
    labels, smoothing = torch.tensor([0, 5, 2, 2]), 0.1
    ours = (1 - smoothing) * F.cross_entropy(student, labels) + smoothing * kf.uniform_teacher(student)
    expected = F.cross_entropy(student, labels, label_smoothing=smoothing) - smoothing * math.log(6)
    torch.testing.assert_close(ours, expected)
    masked = student.masked_fill(torch.arange(6) == 1, -torch.inf)
    rest = student[:, [0, 2, 3, 4, 5]]
    torch.testing.assert_close(kf.uniform_teacher(masked), kf.uniform_teacher(rest))
    value = kf.virtual_teacher(masked, labels=labels)
    assert value.isfinite()
    assert torch.autograd.grad(value, student)[0].isfinite().all()


def test_a_student_that_is_the_virtual_teacher_has_nothing_to_learn() -> None:
    labels = torch.tensor([0, 3])
    student = torch.full((2, 5), 0.1 / 4, dtype=torch.float64)
    student[torch.arange(2), labels] = 0.9
    student = student.log().requires_grad_()
    value = kf.virtual_teacher(student, labels=labels, correct=0.9)
    assert abs(value.item()) < 1e-12
    torch.testing.assert_close(torch.autograd.grad(value, student)[0], torch.zeros_like(student), atol=1e-10, rtol=0)


def test_labels_of_the_virtual_teacher() -> None:
    student, _ = logits(2, 3, 5)
    labels = torch.tensor([[0, 4, -100], [1, -100, 255]])
    mask = (labels >= 0) & (labels < 5)
    value = kf.virtual_teacher(student, labels=labels, dim=-1, mask=mask)
    torch.testing.assert_close(value, kf.virtual_teacher(student[mask], labels=labels[mask]))
    with pytest.raises(ValueError, match="labels must be from 0 to 4, got -100 to 255"):
        kf.virtual_teacher(student, labels=labels, dim=-1)
    with pytest.raises(ValueError, match="labels must be integers"):
        kf.virtual_teacher(student, labels=labels.double(), dim=-1)
    for correct in (0.2, 1.0):
        with pytest.raises(ValueError, match=r"correct must be above 1/K = 0\.2"):
            kf.virtual_teacher(student, labels=labels, correct=correct, dim=-1, mask=mask)


def test_common_classes() -> None:
    student, teacher = logits(3, 4)[0], logits(3, 6)[1]
    ours, theirs = kf.common_classes(student, teacher, student_index=[0, 3, 2], teacher_index=torch.tensor([5, 0, 1]))
    assert torch.equal(ours, student[:, [0, 3, 2]])
    assert torch.equal(theirs, teacher[:, [5, 0, 1]])
    viewed, _ = kf.common_classes(student, teacher, student_index=range(1, 3), teacher_index=range(2))
    assert viewed.data_ptr() == student[:, 1:].data_ptr()
    for indices, message in (
        (([0, 1], [0]), "the same classes, got 2 and 1"),
        (([], []), "the same classes, got 0 and 0"),
        (([0, 0], [0, 1]), "the student's classes must be different numbers from 0"),
        (([0, 1], [-1, 1]), "the teacher's classes must be different numbers from 0"),
        (([0, 4], [0, 1]), r"the student has 4 classes on axis 1 of shape \(3, 4\), got class 4"),
    ):
        with pytest.raises(ValueError, match=message):
            kf.common_classes(student, teacher, student_index=indices[0], teacher_index=indices[1])
    with pytest.raises(ValueError, match=r"kdvideo\.losses\.common_classes"):
        kf.soft_target(student, teacher)
    assert kd.losses.common_classes is kf.common_classes


def test_a_loss_on_common_classes() -> None:
    student, teacher = logits(2, 3, 4)[0], logits(2, 3, 6)[1]
    outputs = kd.Output(student, {}), kd.Output(teacher, {})
    criterion = kd.OnClasses(kd.ReverseKL(dim=-1), student=[0, 3, 2], teacher=[5, 0, 1])
    assert criterion.name == "on_classes(reverse_kl)"
    assert not criterion.state_dict()
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]])
    expected = kf.reverse_kl(student[..., [0, 3, 2]], teacher[..., [5, 0, 1]], dim=-1, mask=mask)
    torch.testing.assert_close(criterion(*outputs, mask=mask), expected)
    compiled = torch.compile(criterion, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(*outputs, mask=mask), expected)
    torch.testing.assert_close(pickle.loads(pickle.dumps(criterion))(*outputs, mask=mask), expected)
    padded = kd.OnClasses(kd.SoftTarget(dim=-1), student=range(4), teacher=range(4))
    torch.testing.assert_close(padded(*outputs), kf.soft_target(student, teacher[..., :4], dim=-1))
    with pytest.raises(ValueError, match="the teacher returned no logits"):
        criterion(outputs[0], kd.Output(None, {}))
    with pytest.raises(ValueError, match="one loss on logits"):
        kd.OnClasses(kd.FeatureMSE("x"), student=[0], teacher=[0])
    few = kd.OnClasses(kd.SoftTarget(dim=-1), student=range(5), teacher=range(5))
    with pytest.raises(ValueError, match="the student has 4 classes on axis -1"):
        few(*outputs)


def test_labels_are_renumbered_on_common_classes() -> None:
    student, _ = logits(4, 5)
    criterion = kd.OnClasses(kd.VirtualTeacher(), student=[4, 1, 0], teacher=[0, 1, 2])
    outputs = kd.Output(student, {}), kd.Output(None, {})
    expected = kf.virtual_teacher(student[:, [4, 1, 0]], labels=torch.tensor([2, 0, 1, 1]))
    torch.testing.assert_close(criterion(*outputs, labels=torch.tensor([0, 4, 1, 1])), expected)
    labels = torch.tensor([0, 4, 3, -100])
    for absent in (torch.tensor([0, 4, 3, 1]), torch.tensor([0, 4, 1, -100])):
        with pytest.raises(ValueError, match="labels must be from 0 to 2, got -1 to 2"):
            criterion(*outputs, labels=absent)
    mask = torch.tensor([True, True, False, False])
    torch.testing.assert_close(
        criterion(*outputs, labels=labels, mask=mask),
        kf.virtual_teacher(student[:2, [4, 1, 0]], labels=torch.tensor([2, 0])),
    )


def test_chunks_give_value_and_gradient_of_the_whole() -> None:
    student, teacher = logits(3, 7, 11)
    excluded = torch.arange(11) > 8
    mask = torch.arange(7) < torch.tensor([[7], [1], [4]])
    for ours, theirs in (
        (student, teacher),
        (student[:, :-1], teacher[:, :-1]),
        (student.transpose(0, 1), teacher.transpose(0, 1)),
        (student.masked_fill(excluded, -torch.inf), teacher.masked_fill(excluded, -torch.inf)),
        (student[0], teacher[0]),
    ):
        keep = mask.T if ours.shape[0] == 7 and ours.ndim == 3 else mask[:, : ours.shape[-2]]
        for given in ({}, {"mask": keep}, {"mask": keep, "normalizer": 5}) if ours.ndim == 3 else ({},):
            expected = kf.soft_target(ours, theirs, dim=-1, **given)
            (wanted,) = torch.autograd.grad(2 * expected, student, retain_graph=True)
            for chunks in (1, 2, 5, 128):
                value = kf.soft_target_chunked(ours, theirs, chunks=chunks, **given)
                torch.testing.assert_close(value, expected, rtol=1e-12, atol=1e-14)
                (gradient,) = torch.autograd.grad(2 * value, student, retain_graph=True)
                torch.testing.assert_close(gradient, wanted, rtol=1e-10, atol=1e-14)
    broken, other = (one.detach().masked_fill(~mask[..., None], torch.nan) for one in (student, teacher))
    value = kf.soft_target_chunked(broken.requires_grad_(), other, mask=mask)
    torch.testing.assert_close(value, kf.soft_target(student, teacher, dim=-1, mask=mask))
    assert torch.autograd.grad(value, broken)[0].isfinite().all()


class Memory(TorchDispatchMode):
    """Records the largest storage that an operation allocates, and the most bytes of such that live at once."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, tuple[StorageWeakRef, int]] = {}
        self.largest = self.peak = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        given = {one.untyped_storage()._cdata for one in tree_leaves((args, kwargs)) if isinstance(one, Tensor)}
        result = function(*args, **(kwargs or {}))
        self.alive = {key: one for key, one in self.alive.items() if not one[0].expired()}
        for one in tree_leaves(result):
            storage = one.untyped_storage() if isinstance(one, Tensor) else None
            if storage is not None and storage._cdata not in given:
                self.alive[storage._cdata] = StorageWeakRef(storage), storage.nbytes()
                self.largest = max(self.largest, storage.nbytes())
        self.peak = max(self.peak, sum(size for _, size in self.alive.values()))
        return result


def test_chunks_hold_no_copy_of_the_logits() -> None:
    student, teacher = torch.randn(2, 2, 128, 1000, generator=torch.Generator().manual_seed(0)).bfloat16().unbind()
    student.requires_grad_()
    size = 2 * student.numel()
    with Memory() as plain:
        kf.soft_target(student, teacher, dim=-1).backward()
    assert plain.largest == 2 * size  # float32
    assert plain.peak > 10 * size
    student.grad = None
    with Memory() as forward:
        value = kf.soft_target_chunked(student, teacher)
    assert forward.largest <= 0.02 * size
    assert forward.peak <= 0.1 * 2 * size  # of both logits
    del value
    with Memory() as both:
        kf.soft_target_chunked(student, teacher).backward()
    assert both.largest == size  # the gradient itself, in bfloat16
    assert both.peak <= 1.1 * size
    # A view without the last position, as of language models that predict the next token, is not copied.
    with Memory() as view:
        kf.soft_target_chunked(student[:, :-1], teacher[:, :-1])
    assert view.peak <= 0.1 * 2 * size


def test_hidden_states_need_no_logits_at_all() -> None:
    torch.manual_seed(0)
    head, other = nn.Linear(6, 1000).double(), nn.Linear(4, 1000).double()
    student, teacher = torch.randn(2, 64, 6).double().requires_grad_(), torch.randn(2, 64, 4).double()
    mask = torch.arange(64) < torch.tensor([[64], [10]])
    broken = [one.masked_fill(~mask[..., None], torch.nan) for one in (student, teacher)]
    heads = {"student_head": head, "teacher_head": other}
    expected = kf.soft_target(head(student), other(teacher), dim=-1, mask=mask)
    wanted = torch.autograd.grad(expected, [student, *head.parameters()])
    value = kf.soft_target_from_hidden(*broken, **heads, mask=mask)
    torch.testing.assert_close(value, expected, rtol=1e-12, atol=0)
    given = torch.autograd.grad(value, [student, *head.parameters()])
    torch.testing.assert_close(given, wanted, rtol=1e-9, atol=1e-14)
    assert all(one.grad is None for one in other.parameters())
    whole = 8 * 2 * 64 * 1000
    with Memory() as memory:
        kf.soft_target_from_hidden(student, teacher, **heads, chunks=64).backward()
    assert memory.largest <= whole / 16
    assert memory.peak <= whole / 4
    compiled = torch.compile(kf.soft_target_from_hidden, backend="aot_eager", fullgraph=True)
    torch.testing.assert_close(compiled(student, teacher, **heads, chunks=2, mask=mask), expected)
    identity = kf.soft_target_from_hidden(student, other(teacher), student_head=head, teacher_head=nn.Identity())
    torch.testing.assert_close(identity, kf.soft_target(head(student), other(teacher), dim=-1))
    with pytest.raises(ValueError, match=r"same positions, .* \(2, 64, 6\) and \(2, 63, 4\)"):
        kf.soft_target_from_hidden(student, teacher[:, 1:], **heads)
    with pytest.raises(ValueError, match="one shape"):
        kf.soft_target_from_hidden(student, teacher, student_head=head, teacher_head=nn.Identity())
    with pytest.raises(ValueError, match="chunks must be at least 1"):
        kf.soft_target_from_hidden(student, teacher, **heads, chunks=0)


PROBABILITIES = torch.tensor([[0.2, 0.3, 0.5], [0.0, 1.0, 0.0]])
SCORES = torch.tensor([[1.0, 2.0, -3.0], [0.0, 1.0, 0.0]])


@pytest.mark.parametrize("loss", [kd.SoftTarget, kd.ReverseKL, kd.JensenShannon, kd.LogitMSE])
def test_probabilities_in_place_of_logits_are_warned_of_once(loss: type[kd.Loss]) -> None:
    good, bad = kd.Output(SCORES, {}), kd.Output(PROBABILITIES, {})
    for outputs, who in (((bad, good), "student"), ((good, bad), "teacher")):
        criterion = loss()
        with pytest.warns(UserWarning, match=f"the {who}'s logits are non-negative and sum to 1 over axis 1") as seen:
            criterion(*outputs)
        assert len(seen) == 1
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            criterion(*outputs)


def test_what_looks_like_logits_is_not_warned_of() -> None:
    good, bad = kd.Output(SCORES, {}), kd.Output(PROBABILITIES, {})
    empty, one = kd.Output(None, {}), kd.Output(torch.ones(2, 1), {})
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*as probabilities do")
        kd.SoftTarget()(good, good)
        kd.BinaryKD()(one, one)
        kd.Regression()(bad, good)
        torch.compile(kd.SoftTarget(), backend="aot_eager", fullgraph=True)(bad, good)
        tokens = kd.Output(PROBABILITIES.T.expand(2, 3, 2), {})
        kd.SoftTarget(dim=-1)(tokens, tokens)
        loss = kd.SoftTarget()
        torch.func.vmap(lambda x: loss(kd.Output(x, {}), good))(SCORES.expand(4, 2, 3))
    with pytest.warns(UserWarning, match="over axis 1"):
        kd.SoftTarget()(tokens, tokens)
    with pytest.warns(UserWarning, match="the student's"):
        kd.UniformTeacher()(bad, empty)
