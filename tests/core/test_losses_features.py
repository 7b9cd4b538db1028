"""Feature losses without parameters: the laws, and what only they do."""

from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor

import kdvideo as kd
from kdvideo import functional as kf
from kdvideo.losses._relations import gram, unit
from kdvideo.losses.phi_s import hadamard
from tests.core import references_features as references
from tests.core.battery import Laws, Row, pair


@dataclass
class TwoLayers(Row):
    """A row whose tensors hold the channels of two layers one after the other: 2 of the first, then the second's."""

    @staticmethod
    def split(tensor: Tensor | np.ndarray):
        return tensor[:, :2], tensor[:, 2:]

    def outputs(self, student: Tensor, teacher: Tensor) -> tuple[kd.Output, kd.Output]:
        if student.ndim == 1:
            return super().outputs(student, teacher)
        pairs = (zip("xy", self.split(tensor), strict=True) for tensor in (student, teacher))
        first, second = (kd.Output(None, dict(pair)) for pair in pairs)
        return first, second


def channels_last(reference, size: int):
    """Read (B, C, ...) or (B, N, C) tensors as rows of positions."""
    return lambda s, t: reference(s.reshape(-1, size), t.reshape(-1, size))


def moved(reference, **options):
    """Read tokens (B, N, C) as (B, C, N)."""
    return lambda s, t: reference(np.moveaxis(s, -1, 1), np.moveaxis(t, -1, 1), **options)


def softmax(maps: Tensor) -> Tensor:
    return maps.softmax(-1)


WIDTHS = {"other_shape": (4, 5, 2, 2), "orders": (0, 1, 2), "refuses": ("batch", "axis less")}
SAMPLES = {"other_shape": (4, 7), "orders": (0, 1), "refuses": ("batch", "axis less")}
AT, CC, NST = kf.attention_transfer, kf.correlation_congruence, kf.nst

TABLE = {
    "at": Row(
        AT,
        kd.AttentionTransfer("x"),
        references.attention_transfer,
        (2, 3, 2, 3),
        "x",
        orders=(0, 1, 2, 3),
        other_shape=(2, 5, 2, 3),
    ),
    "at clips": Row(AT, kd.AttentionTransfer("x"), references.attention_transfer, (2, 3, 2, 2, 3), "x"),
    "at frames": Row(
        partial(AT, per_frame=True),
        kd.AttentionTransfer("x", per_frame=True),
        partial(references.attention_transfer, per_frame=True),
        (2, 3, 2, 2, 3),
        "x",
        orders=(0, 1, 2, 3, 4),
        other_shape=(2, 5, 2, 2, 3),
    ),
    "at tokens, power 3": Row(
        partial(AT, power=3, dim=-1),
        kd.AttentionTransfer("x", power=3, dim=-1),
        moved(references.attention_transfer, power=3),
        (2, 4, 3),
        "x",
        other_shape=(2, 4, 6),
    ),
    "sp": Row(
        kf.similarity_preserving,
        kd.SimilarityPreserving("x"),
        references.similarity_preserving,
        (4, 3, 2, 3),
        "x",
        least_batch=2,
        **WIDTHS,
    ),
    "rkd distance": Row(
        kf.rkd_distance, kd.RKDDistance("x"), references.rkd_distance, (4, 3, 2, 2), "x", least_batch=3, **WIDTHS
    ),
    "rkd angle": Row(kf.rkd_angle, kd.RKDAngle("x"), references.rkd_angle, (4, 5), "x", least_batch=3, **SAMPLES),
    "pkt": Row(kf.pkt, kd.PKT("x"), references.pkt, (4, 5), "x", least_batch=3, **SAMPLES),
    "cc": Row(
        CC, kd.CorrelationCongruence("x"), references.correlation_congruence, (4, 5), "x", least_batch=2, **SAMPLES
    ),
    "cc of order 4": Row(
        partial(CC, gamma=1.0, order=4),
        kd.CorrelationCongruence("x", gamma=1.0, order=4),
        partial(references.correlation_congruence, gamma=1.0, order=4),
        (4, 3, 2, 2),
        "x",
        least_batch=2,
        **WIDTHS,
    ),
    "ickd": Row(
        kf.ickd, kd.ICKD("x"), references.ickd, (2, 3, 2, 3), "x", orders=(0, 1, 2, 3), other_shape=(2, 3, 3, 3)
    ),
    "ickd tokens": Row(
        partial(kf.ickd, dim=-1), kd.ICKD("x", dim=-1), moved(references.ickd), (2, 4, 3), "x", other_shape=(2, 6, 3)
    ),
    "nst": Row(NST, kd.NST("x"), references.nst, (2, 3, 2, 3), "x", orders=(0, 1, 2, 3), other_shape=(2, 5, 2, 3)),
    "nst tokens, cubic": Row(
        partial(NST, degree=3, offset=0.5, dim=-1),
        kd.NST("x", degree=3, offset=0.5, dim=-1),
        moved(references.nst, degree=3, offset=0.5),
        (2, 4, 3),
        "x",
        other_shape=(2, 4, 5),
    ),
    "fsp": TwoLayers(
        lambda s, t: kf.fsp(TwoLayers.split(s), TwoLayers.split(t)),
        kd.FSP("x", "y"),
        lambda s, t: references.fsp(TwoLayers.split(s), TwoLayers.split(t)),
        (2, 5, 2, 3),
        "x",
        orders=(0, 2, 3),
        other_shape=(2, 5, 4, 2),
        refuses=(),
    ),
    "cwd": Row(kf.cwd, kd.CWD("x"), references.cwd, (2, 3, 2, 3), "x", orders=(0, 1, 2, 3)),
    "cwd clips": Row(
        partial(kf.cwd, temperature=1.0),
        kd.CWD("x", temperature=1.0),
        partial(references.cwd, temperature=1.0),
        (2, 3, 2, 2, 2),
        "x",
    ),
    "cwd tokens": Row(partial(kf.cwd, dim=-1), kd.CWD("x", dim=-1), moved(references.cwd), (2, 4, 3), "x"),
    "pkd": Row(kf.pkd, kd.PKD("x"), references.pkd, (2, 3, 2, 3), "x", orders=(0, 1, 2, 3)),
    "pkd of vectors": Row(kf.pkd, kd.PKD("x"), references.pkd, (4, 3), "x"),
    "pkd tokens": Row(partial(kf.pkd, dim=-1), kd.PKD("x", dim=-1), moved(references.pkd), (2, 4, 3), "x"),
    "cosine": Row(kf.feature_cosine, kd.FeatureCosine("x"), references.feature_cosine, (3, 5), "x", orders=(0, 1)),
    "cosine clips": Row(
        kf.feature_cosine,
        kd.FeatureCosine("x"),
        lambda s, t: references.feature_cosine(*(np.moveaxis(x, 1, -1).reshape(-1, x.shape[1]) for x in (s, t))),
        (2, 3, 2, 2, 3),
        "x",
        orders=(0, 1, 2, 3, 4),
    ),
    "cosine tokens": Row(
        partial(kf.feature_cosine, dim=-1),
        kd.FeatureCosine("x", dim=-1),
        channels_last(references.feature_cosine, 5),
        (2, 3, 5),
        "x",
        orders=(0, 1, 2),
    ),
    "foundation": Row(
        kf.foundation_feature, kd.FoundationFeature("x"), references.foundation_feature, (3, 5), "x", orders=(0, 1)
    ),
    "foundation tokens": Row(
        partial(kf.foundation_feature, cosine=0.9, smooth_l1=0.1, beta=0.5, dim=-1),
        kd.FoundationFeature("x", cosine=0.9, smooth_l1=0.1, beta=0.5, dim=-1),
        channels_last(partial(references.foundation_feature, cosine=0.9, smooth_l1=0.1, beta=0.5), 5),
        (2, 3, 5),
        "x",
    ),
    "attention mse": Row(
        kf.attention_mse,
        kd.AttentionMSE("x"),
        references.attention_mse,
        (2, 3, 4, 4),
        "x",
        orders=(0, 1, 2, 3),
        positions=(2, 4),
    ),
    # Between distributions the gradient vanishes only behind the softmax, which a test below goes through.
    "attention kl": Row(
        kf.attention_kl,
        kd.AttentionKL("x"),
        references.attention_kl,
        (2, 3, 4, 4),
        "x",
        zero=False,
        orders=(0, 1, 2, 3),
        prepare=softmax,
        positions=(2, 4),
    ),
    "value relation": Row(
        partial(kf.value_relation, heads=2),
        kd.ValueRelation("x", heads=2),
        partial(references.value_relation, heads=2),
        (2, 4, 6),
        "x",
        orders=(0, 1),
        other_shape=(2, 4, 10),
        positions=(2, 4),
    ),
}


@pytest.fixture(params=TABLE)
def row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


class TestLaws(Laws):
    """The laws, row by row."""


MASKED = {
    "at": partial(kf.attention_transfer, dim=-1),
    "cwd": partial(kf.cwd, dim=-1),
    "pkd": partial(kf.pkd, dim=-1),
    "cosine": partial(kf.feature_cosine, dim=-1),
    "foundation": partial(kf.foundation_feature, dim=-1),
    "value relation": partial(kf.value_relation, heads=2),
}


@pytest.mark.parametrize("name", MASKED)
def test_masked_positions_reach_neither_value_nor_gradient(name: str) -> None:
    student, teacher = pair((3, 5, 6))
    mask = torch.tensor([[1, 1, 1, 0, 0]] * 3)
    value = MASKED[name](student, teacher, mask=mask)
    torch.testing.assert_close(value, MASKED[name](student[:, :3], teacher[:, :3]))
    broken = teacher.masked_fill(mask[..., None] == 0, torch.nan)
    assert torch.equal(MASKED[name](student, broken, mask=mask), value)
    noisy = student.detach().masked_fill(mask[..., None] == 0, torch.inf).requires_grad_()
    (gradient,) = torch.autograd.grad(MASKED[name](noisy, broken, mask=mask), noisy)
    assert gradient.isfinite().all()
    assert not gradient[:, 3:].any()
    with pytest.raises(ValueError, match=r"mask must have one entry for each position, \(3, 5\)"):
        MASKED[name](student, teacher, mask=mask[:, 0])


@pytest.mark.parametrize("name", MASKED)
def test_a_sample_without_valid_positions_counts_nowhere(name: str) -> None:
    student, teacher = pair((3, 5, 6))
    mask = torch.ones(3, 5, dtype=torch.bool)
    mask[1] = False
    with torch.autograd.set_detect_anomaly(True):
        value = MASKED[name](student, teacher, mask=mask)
        (gradient,) = torch.autograd.grad(value, student)
    torch.testing.assert_close(value, MASKED[name](student[::2], teacher[::2]))
    assert gradient.isfinite().all()
    assert not gradient[1].any()
    assert MASKED[name](student, teacher, mask=torch.zeros_like(mask)) == 0


@pytest.mark.parametrize("name", ["at", "cosine", "foundation", "value relation"])
def test_parts_of_a_ragged_batch_add_up(name: str) -> None:
    student, teacher = pair((3, 5, 6))
    mask = torch.arange(5) < torch.tensor([[5], [2], [3]])
    parts = [
        MASKED[name](student[k : k + 1], teacher[k : k + 1], mask=mask[k : k + 1], normalizer=10) for k in range(3)
    ]
    torch.testing.assert_close(sum(parts), MASKED[name](student, teacher, mask=mask))


@pytest.mark.parametrize("function", [kf.attention_mse, kf.attention_kl])
def test_attention_maps_of_padded_tokens(function) -> None:
    student, teacher = (x.softmax(-1) for x in pair((3, 2, 5, 5)))
    mask = torch.tensor([[1, 1, 1, 0, 0]] * 3)
    value = function(student, teacher, mask=mask)
    torch.testing.assert_close(value, function(student[..., :3, :3], teacher[..., :3, :3]))
    invalid = (mask[:, None, :, None] & mask[:, None, None, :]) == 0
    broken = [maps.detach().masked_fill(invalid, torch.nan) for maps in (student, teacher)]
    broken_value = function(broken[0].requires_grad_(), broken[1], mask=mask)
    assert torch.equal(broken_value, value)
    assert torch.autograd.grad(broken_value, broken[0])[0].isfinite().all()
    ragged = torch.arange(5) < torch.tensor([[5], [2], [0]])
    whole = function(student, teacher, mask=ragged)
    parts = [function(student[k : k + 1], teacher[k : k + 1], mask=ragged[k : k + 1], normalizer=7) for k in range(3)]
    torch.testing.assert_close(sum(parts), whole)
    with pytest.raises(ValueError, match=r"\(batch, heads, queries, keys\), got \(3, 5\)"):
        function(student[:, 0, 0], teacher[:, 0, 0])
    with pytest.raises(ValueError, match="as many queries as keys"):
        function(student[:, :, :2], teacher[:, :, :2], mask=mask)


def test_the_mask_of_a_call_reaches_the_losses_that_take_one() -> None:
    student, teacher = (kd.Output(None, {"x": x}) for x in pair((3, 5, 6)))
    mask = torch.arange(5) < torch.tensor([[5], [2], [3]])
    losses = {
        "at": partial(kd.AttentionTransfer, dim=-1),
        "cwd": partial(kd.CWD, dim=-1),
        "pkd": partial(kd.PKD, dim=-1),
        "cosine": partial(kd.FeatureCosine, dim=-1),
        "foundation": partial(kd.FoundationFeature, dim=-1),
        "value relation": partial(kd.ValueRelation, heads=2),
    }
    for name, loss in losses.items():
        function, tensors = MASKED[name], (student.features["x"], teacher.features["x"])
        assert torch.equal(loss("x")(student, teacher, mask=mask), function(*tensors, mask=mask))
        assert torch.equal(loss("x", masked=False)(student, teacher, mask=mask), function(*tensors))


def test_causal_scores_are_equal_above_the_diagonal() -> None:
    student, teacher = pair((2, 3, 4, 4))
    future = torch.ones(4, 4, dtype=torch.bool).triu(1)
    value = kf.attention_mse(student.masked_fill(future, -torch.inf), teacher.masked_fill(future, -torch.inf))
    torch.testing.assert_close(value, kf.attention_mse(student.masked_fill(future, 0), teacher.masked_fill(future, 0)))
    assert torch.autograd.grad(value, student)[0].isfinite().all()
    causal = [x.masked_fill(future, -torch.inf).softmax(-1) for x in (student, teacher)]
    assert torch.autograd.grad(kf.attention_kl(*causal), student)[0].isfinite().all()


def test_attention_kl_has_no_gradient_at_the_teacher() -> None:
    student, _ = pair((2, 3, 4, 4))
    value = kf.attention_kl(student.softmax(-1), student.detach().softmax(-1))
    value.backward()
    assert value.abs() < 1e-12
    assert student.grad is not None
    assert student.grad.abs().max() < 1e-12


@pytest.mark.reliability("C10")
@pytest.mark.parametrize("name", ["sp", "rkd distance", "rkd angle", "pkt", "cc"])
def test_equal_and_zero_samples_have_a_finite_gradient(name: str) -> None:
    """Fails when `unit` takes the root of 0."""
    for kind in ("two equal", "all equal", "zero", "opposite"):
        student, teacher = pair((4, 5))
        student = student.detach()
        if kind == "two equal":
            student[1] = student[0]
        if kind == "all equal":
            student[:] = student[0].clone()
        if kind == "zero":
            student[0] = 0
        if kind == "opposite":
            student[1:] = -student[0].clone()
        student.requires_grad_()
        for given in ((student, teacher), (student, student.detach().clone())):
            value = TABLE[name].function(*given)
            (gradient,) = torch.autograd.grad(value, student)
            assert value.isfinite(), kind
            assert gradient.isfinite().all(), kind


def test_a_vector_of_zeros_has_no_direction() -> None:
    student, teacher = torch.zeros(2, 3, requires_grad=True), torch.ones(2, 3)
    value = kf.feature_cosine(student, teacher)
    value.backward()
    assert value == 1
    assert student.grad is not None
    assert not student.grad.any()
    # Nor does a tiny one lose its own, as it does where 1e-8 is added to its length.
    torch.testing.assert_close(kf.feature_cosine(1e-10 * teacher, 7 * teacher), torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", ["at", "ickd", "nst", "cwd", "pkd", "cosine", "foundation"])
def test_dead_features_have_a_finite_gradient(name: str) -> None:
    row = TABLE[name]
    student, teacher = (x.detach().clone() for x in row.pair())
    for dead in (lambda x: x.zero_(), lambda x: x[:, 0].zero_(), lambda x: x[0].fill_(3.0), lambda x: x.fill_(3.0)):
        student = row.pair()[0].detach().clone()
        dead(student)
        student.requires_grad_()
        value = row.function(student, teacher)
        (gradient,) = torch.autograd.grad(value, student)
        assert value.isfinite()
        assert gradient.isfinite().all()
        assert gradient.abs().max() < 1e4


def test_opposite_samples_of_float32_have_neighbors_all_the_same() -> None:
    # Rounding leaves the cosine of a sample and its opposite below -1 in many of these.
    half = torch.randn(50, 5, generator=torch.Generator().manual_seed(0))
    samples = torch.cat([half, -half]).requires_grad_()
    assert (gram(unit(samples.detach())) < -1).any()
    assert kf.pkt(samples, samples.detach()).item() == pytest.approx(0, abs=1e-6)
    value = kf.pkt(torch.randn(100, 5, generator=torch.Generator().manual_seed(1)), samples.detach())
    assert value.isfinite()


def test_what_scale_and_shift_do_not_change() -> None:
    student, teacher = pair((4, 5, 2, 3))
    for function in (AT, kf.similarity_preserving, kf.rkd_distance, kf.rkd_angle, kf.pkt, CC, kf.ickd, NST):
        torch.testing.assert_close(function(3 * student, teacher), function(student, teacher))
    for function in (kf.rkd_distance, kf.rkd_angle, kf.cwd, kf.pkd):
        torch.testing.assert_close(function(student + 3, teacher), function(student, teacher))
    many = student.repeat(1, 3, 1, 1)
    torch.testing.assert_close(NST(many, teacher), NST(student, teacher))
    torch.testing.assert_close(AT(many, teacher), AT(student, teacher))


def test_known_cases() -> None:
    student, teacher = pair((4, 5, 2, 3))
    columns = [x.detach().transpose(0, 1).reshape(5, -1).numpy() for x in (student, teacher)]
    correlations = [np.corrcoef(a, b)[0, 1] for a, b in zip(*columns, strict=True)]
    assert kf.pkd(student, teacher, eps=1e-14).item() == pytest.approx(1 - np.mean(correlations), rel=1e-8)
    # The Taylor series becomes the Gaussian kernel.
    rows = [torch.nn.functional.normalize(x.flatten(1)) for x in (student, teacher)]
    kernels = [torch.exp(-0.4 * torch.cdist(x, x).square()) for x in rows]
    torch.testing.assert_close(CC(student, teacher, order=30), (kernels[0] - kernels[1]).square().mean())
    # One frame is one map.
    clip, other = student[:, :, None], teacher[:, :, None]
    torch.testing.assert_close(AT(clip, other, per_frame=True), AT(student, teacher))
    torch.testing.assert_close(AT(clip, other), AT(student, teacher))
    # Cosine and smooth L1 are the two ends of the foundation loss.
    torch.testing.assert_close(
        kf.foundation_feature(student, teacher, cosine=1, smooth_l1=0), kf.feature_cosine(student, teacher)
    )
    torch.testing.assert_close(
        kf.foundation_feature(student, teacher, cosine=0, smooth_l1=1, beta=100.0),
        kf.feature_mse(student, teacher) / 200,
    )
    # At a high temperature CWD is half the variance of the difference, over the number of positions.
    difference = (student - teacher).flatten(2)
    torch.testing.assert_close(
        kf.cwd(student, teacher, temperature=1e4), difference.var(-1, correction=0).mean() / 2, rtol=1e-3, atol=0
    )
    # One head of size C with one value everywhere relates all tokens alike.
    assert kf.value_relation(torch.ones(2, 3, 4), 5 * torch.ones(2, 3, 6), heads=1) == 0


def test_fsp_of_several_stages_and_its_errors() -> None:
    first, second, third = torch.randn(2, 3, 4, 4), torch.randn(2, 5, 4, 4), torch.randn(2, 6, 4, 4)
    same = kd.Output(None, {"a": first, "b": second, "c": third})
    criterion = kd.FSP("a", "b") + kd.FSP("b", "c")
    assert list(criterion.terms(same, same)) == ["fsp[a,b]", "fsp[b,c]"]
    with pytest.raises(ValueError, match=r"two layers of the student.*\(2, 3, 4, 4\) and \(2, 5, 2, 2\).*pool"):
        kf.fsp((first, second[:, :, ::2, ::2]), (first, second))
    with pytest.raises(ValueError, match="channels"):
        kf.fsp((first, second), (first, third))
    with pytest.raises(ValueError, match="the batch"):
        kf.fsp((first[:1], second[:1]), (first, second))
    with pytest.raises(ValueError, match="two layers of each network, got 3 and 2"):
        kf.fsp((first, second, third), (first, second))
    with pytest.raises(ValueError, match=r"the student has no feature 'z'"):
        kd.FSP("a", "z")(same, same)


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (AT, {"power": 0.5}, "power must be at least 1"),
        (AT, {"per_frame": True}, r"per_frame needs \(B, C, T, H, W\)"),
        (AT, {"per_frame": 1}, "per_frame must be True or False"),
        (AT, {"dim": 0}, "dim must name the channel axis"),
        (AT, {"dim": 7}, "dim must name the channel axis"),
        (CC, {"gamma": -1}, "gamma must be positive"),
        (CC, {"order": 0}, "order must be a whole number of at least 1"),
        (NST, {"degree": 0}, "degree must be a whole number of at least 1"),
        (NST, {"offset": -1}, "offset must be at least 0"),
        (kf.cwd, {"temperature": 0}, "temperature must be positive"),
        (kf.cwd, {"dim": 0}, "dim must name the channel axis"),
        (kf.pkd, {"eps": 0}, "eps must be positive"),
        (kf.pkd, {"dim": 0}, "dim must name the channel axis"),
        (kf.ickd, {"dim": 4}, "dim must name the channel axis"),
        (kf.foundation_feature, {"cosine": -1}, "cosine must be a weight of at least 0"),
        (kf.foundation_feature, {"cosine": 0, "smooth_l1": 0}, "one of cosine and smooth_l1"),
        (kf.foundation_feature, {"beta": 0}, "beta must be positive"),
        (kf.value_relation, {"heads": 0}, "heads must be a whole number of at least 1"),
        (kf.value_relation, {"heads": 2}, "that heads=2 divides, got"),
    ],
)
def test_bad_options_are_refused(function, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        function(*pair((4, 3, 2, 3)), **options)


@pytest.mark.parametrize(
    ("loss", "options"),
    [
        (kd.AttentionTransfer, {"power": 0}),
        (kd.CorrelationCongruence, {"gamma": 0}),
        (kd.NST, {"degree": 0}),
        (kd.CWD, {"temperature": -1}),
        (kd.PKD, {"eps": -1}),
        (kd.FoundationFeature, {"beta": -1}),
        (kd.ValueRelation, {"heads": -1}),
    ],
)
def test_bad_options_are_refused_where_the_object_is_made(loss, options: dict) -> None:
    with pytest.raises(ValueError, match=f"{next(iter(options))} must be"):
        loss("x", **options)


@pytest.mark.parametrize("function", [AT, NST, kf.cwd])
def test_vectors_have_no_map(function) -> None:
    with pytest.raises(ValueError, match="at least 2 positions"):
        function(*pair((4, 3)))
    with pytest.raises(ValueError, match="at least 2 positions"):
        function(*pair((4, 3, 1, 1)))


def test_too_few_values_are_refused() -> None:
    with pytest.raises(ValueError, match="at least 2 positions in a frame"):
        AT(*pair((2, 3, 4, 1, 1)), per_frame=True)
    with pytest.raises(ValueError, match="at least 2 values in a channel"):
        kf.pkd(*pair((1, 3)))
    with pytest.raises(ValueError, match="channels needs at least 2"):
        kf.ickd(*pair((3, 1, 4)))
    with pytest.raises(ValueError, match="at least 2 tokens"):
        kf.value_relation(*pair((3, 1, 4)), heads=2)


def test_phi_s_gives_every_channel_the_variance_one_by_a_rotation_and_one_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    mixing = torch.randn(12, 12, dtype=torch.float64, generator=generator) * torch.logspace(-3, 2, 12)
    features = torch.randn(500, 12, dtype=torch.float64, generator=generator) @ mixing + 5
    standardize = kd.PHIS.fit(features)
    moved = standardize(features)
    torch.testing.assert_close(moved.mean(0), torch.zeros_like(moved[0]), atol=1e-9, rtol=0)
    torch.testing.assert_close(moved.var(0), torch.ones_like(moved[0]))
    ratio = torch.pdist(moved[:20]) / torch.pdist(features[:20])
    torch.testing.assert_close(ratio, (1 / standardize.scale).expand_as(ratio))
    torch.testing.assert_close(standardize.scale**2, features.var(0).mean())
    torch.testing.assert_close(standardize.inverse(moved), features)
    torch.testing.assert_close(
        standardize(features.reshape(20, 25, 12).movedim(-1, 1), dim=1), moved.reshape(20, 25, 12).movedim(-1, 1)
    )
    assert set(standardize.state_dict()) == {"mean", "rotation", "scale"}
    assert not list(standardize.parameters())
    standardize.float()
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(standardize(features.float()), moved.float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("order", [1, 2, 4, 8, 12, 20, 44, 384, 768, 1024])
def test_hadamard_matrices(order: int) -> None:
    matrix = hadamard(order)
    torch.testing.assert_close(matrix @ matrix.T, torch.eye(order, dtype=torch.float64))
    torch.testing.assert_close(matrix.abs(), torch.full_like(matrix, order**-0.5))


def test_phi_s_refuses_what_it_cannot_standardize() -> None:
    with pytest.raises(ValueError, match="no Hadamard matrix of order 7"):
        kd.PHIS.fit(torch.randn(20, 7))
    with pytest.raises(ValueError, match=r"\(N, C\) with at least 2 rows, got \(1, 4\)"):
        kd.PHIS.fit(torch.randn(1, 4))
    with pytest.raises(ValueError, match="must vary"):
        kd.PHIS.fit(torch.ones(20, 4))
    with pytest.raises(ValueError, match="expected a mean"):
        kd.PHIS(torch.zeros(4), torch.eye(3), torch.ones(()))
