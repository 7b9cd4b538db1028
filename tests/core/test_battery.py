"""The battery holds for the three losses that everything began with, and fails for losses that are wrong."""

from functools import partial

import pytest
import torch
from torch import Tensor

import kdvideo as kd
from kdvideo.functional import feature_mse, logit_mse, soft_target
from tests.core import references
from tests.core.battery import Laws, Row

TABLE = {
    "logit_mse": Row(logit_mse, kd.LogitMSE(), references.logit_mse, (3, 5), orders=(0, 1)),
    "soft_target": Row(
        soft_target, kd.SoftTarget(), partial(references.soft_target, temperature=4.0), (3, 5), orders=(0, 1)
    ),
    "soft_target tokens": Row(
        partial(soft_target, dim=-1),
        kd.SoftTarget(dim=-1),
        lambda s, t: references.soft_target(s.reshape(-1, 5), t.reshape(-1, 5), 4.0),
        (2, 4, 5),
        orders=(0, 1, 2),
    ),
    "feature_mse": Row(feature_mse, kd.FeatureMSE("x"), references.feature_mse, (2, 3, 2, 2, 3), "x", orders=(0, 1)),
}


@pytest.fixture(params=TABLE)
def row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


class TestLaws(Laws):
    """The laws, row by row."""


@pytest.mark.parametrize(
    ("wrong", "law"),
    [
        (lambda s, t: 2 * logit_mse(s, t), "test_value_is_that_of_the_paper"),
        (lambda s, t: logit_mse(s, t.detach() + 0 * s.detach()[:1]), "test_shapes_that_differ_are_never_broadcast"),
        (lambda s, t: logit_mse(s.detach(), t) + 0 * s.sum(), "test_only_the_student_learns"),
    ],
)
def test_a_wrong_loss_fails(wrong, law: str) -> None:
    row = Row(wrong, kd.LogitMSE(), references.logit_mse, (3, 5))
    with pytest.raises((AssertionError, pytest.fail.Exception, RuntimeError)):
        getattr(Laws(), law)(row)


def test_masked_positions_do_not_count_and_parts_add_up() -> None:
    student, teacher = torch.randn(2, 3, 4, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    student.requires_grad_()
    mask = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0], [1, 1, 0, 0]])
    for function in (partial(soft_target, dim=-1), partial(logit_mse, dim=-1), partial(feature_mse, dim=-1)):
        value = function(student, teacher, mask=mask)
        kept = function(student[mask.bool()], teacher[mask.bool()])
        torch.testing.assert_close(value, kept)
        broken = teacher.masked_fill(~mask.bool()[..., None], torch.nan)
        assert torch.equal(function(student, broken, mask=mask), value)
        count = int(mask.sum())
        parts = sum(
            function(student[k : k + 1], teacher[k : k + 1], mask=mask[k : k + 1], normalizer=count) for k in range(3)
        )
        torch.testing.assert_close(parts, value)
        (gradient,) = torch.autograd.grad(function(student, broken, mask=mask), student)
        assert gradient.isfinite().all()
        assert function(student, teacher, mask=torch.zeros_like(mask)) == 0
    with pytest.raises(ValueError, match=r"mask must have one entry for each position, \(3, 4\), got \(3,\)"):
        soft_target(student, teacher, dim=-1, mask=mask[:, 0])
    with pytest.raises(ValueError, match="bool, or integers"):
        soft_target(student, teacher, dim=-1, mask=mask.float())
    with pytest.raises(ValueError, match="normalizer must be positive"):
        soft_target(student, teacher, dim=-1, mask=mask, normalizer=0)


def test_a_masked_vocabulary_is_left_out() -> None:
    student, teacher = torch.randn(2, 4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    student.requires_grad_()
    allowed = torch.arange(10) < 7

    def masked(logits: Tensor) -> Tensor:
        return logits.masked_fill(~allowed, -torch.inf)

    for function, scale in ((soft_target, 1.0), (partial(logit_mse, reduction="sum"), 1.0)):
        expected = function(student[:, :7], teacher[:, :7]) * scale
        value = function(masked(student), masked(teacher))
        torch.testing.assert_close(value, expected)
        given, wanted = (torch.autograd.grad(one, student)[0] for one in (value, expected))
        torch.testing.assert_close(given, wanted)
    alone = soft_target(student, masked(teacher))
    assert alone.isfinite()
    assert torch.autograd.grad(alone, student)[0].isfinite().all()


def test_one_class_is_refused() -> None:
    with pytest.raises(ValueError, match=r"at least 2 classes on axis 1, got 1 in shape \(4, 1\)"):
        soft_target(torch.zeros(4, 1), torch.zeros(4, 1))


def test_several_roles_and_roles_of_other_names() -> None:
    a, b, c, d = torch.randn(4, 2, 3, 4, generator=torch.Generator().manual_seed(0))
    student, teacher = kd.Output(None, {"x": a, "y": b}), kd.Output(None, {"x": c, "y": d, "z": d})
    both = kd.FeatureMSE(("x", "y"))
    assert both.name == "feature_mse[x,y]"
    torch.testing.assert_close(both(student, teacher), feature_mse(a, c) + feature_mse(b, d))
    other = kd.FeatureMSE({"x": "z"})
    assert other.name == "feature_mse[x:z]"
    assert torch.equal(other(student, teacher), feature_mse(a, d))
    with pytest.raises(ValueError, match="at least one feature"):
        kd.FeatureMSE(())


def test_two_losses_of_one_kind_take_names() -> None:
    student, teacher = (kd.Output(x, {}) for x in torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0)))
    criterion = kd.SoftTarget(temperature=1.0, name="sharp") + kd.SoftTarget(temperature=4.0)
    assert list(criterion.terms(student, teacher)) == ["sharp", "soft_target"]


def test_which_losses_take_neither_mask_nor_normalizer() -> None:
    from tests.core._distributed_losses import ROWS  # it imports this file

    refusals = {"mask": set(), "normalizer": set()}
    for row in ROWS.values():
        for name, value in (("mask", row.mask), ("normalizer", 2)):
            if isinstance(row.masked(**{name: value}), str):
                refusals[name].add(type(row.loss))
    without_mask = {
        kd.SimilarityPreserving, kd.RKDDistance, kd.RKDAngle, kd.PKT, kd.CorrelationCongruence, kd.ICKD, kd.NST, kd.FSP,
        kd.CRD, kd.ReviewKD, kd.FactorTransfer, kd.SemCKD, kd.SRRL,
    }  # fmt: skip
    assert refusals["mask"] == without_mask
    assert refusals["normalizer"] == without_mask | {kd.CWD, kd.PKD, kd.DIST, kd.MLKD, kd.MGD, kd.OFD}
