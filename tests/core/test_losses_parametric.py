"""The losses with parameters or memories, row by row, and what only they do."""

import copy
import math
from collections.abc import Callable
from functools import partial

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import kdvideo as kd
from kdvideo.functional import crd, factor_transfer, hcl, mgd, ofd, sem_ckd, simkd, srrl, vid
from kdvideo.losses import ofd_margin
from kdvideo.losses.mgd import random_keep
from tests.core import references_parametric as references
from tests.core.battery import Laws, Row, pair

SHAPE = (3, 4, 2, 3)
CLIP = (2, 4, 2, 2, 3)


def function_of(loss: kd.Loss) -> Callable[..., Tensor]:
    """The loss object as a function of two features, in their dtype."""

    def function(student: Tensor, teacher: Tensor, **given: Tensor) -> Tensor:
        one = copy.deepcopy(loss).to(torch.float64 if student.dtype == torch.float64 else torch.float32)
        return one(kd.Output(None, {"x": student}), kd.Output(None, {"x": teacher}), **given)

    return function


def weights_of(module: nn.Module) -> list[np.ndarray]:
    return [one.detach().double().numpy() for one in module.parameters()]


def seeded(build: Callable[[], kd.Loss]) -> kd.Loss:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return build()


def vid_row(shape: tuple[int, ...], dim: int = 1) -> Row:
    loss = seeded(lambda: kd.VID("x", 4, initial_variance=0.7, dim=dim))
    with torch.no_grad():
        loss.scale += torch.tensor([0.3, -1.0, 2.0, 0.0])

    def reference(student: np.ndarray, teacher: np.ndarray) -> float:
        first = [np.moveaxis(one, dim, 1) for one in (student, teacher)]
        return references.vid(*first, scale=loss.scale.detach().double().numpy(), eps=1e-5)

    function = partial(vid, scale=loss.scale.detach(), dim=dim)
    return Row(function, loss, reference, shape, "x", zero=False)


def mgd_row(shape: tuple[int, ...]) -> Row:
    loss = seeded(lambda: kd.MGD("x", 4, axes=len(shape) - 2, hidden_ratio=0.0))
    reference = partial(references.mgd, keep=np.ones(1), weights=weights_of(loss.generator))
    return Row(function_of(loss), loss, reference, shape, "x", zero=False)


def crd_row() -> Row:
    # Of two samples each has one other: nothing is random. In evaluation mode nothing is remembered.
    loss = seeded(lambda: kd.CRD("x", 5, 5, samples=2, dim=3, negatives=2, temperature=0.5, constant=1.5)).eval()
    ours, our_bias, theirs, their_bias = weights_of(loss)
    memories = [one.double().numpy() for one in (loss.student_memory, loss.teacher_memory)]

    def reference(student: np.ndarray, teacher: np.ndarray, index: np.ndarray) -> float:
        s = np.array([references.unit(references.affine(one, ours, our_bias)) for one in student])
        t = np.array([references.unit(references.affine(one, theirs, their_bias)) for one in teacher])
        negatives = [memory[[[1 - i, 1 - i] for i in index]] for memory in memories]
        return references.crd(s, t, *negatives, samples=2, temperature=0.5, constant=1.5)

    given = {"index": torch.tensor([0, 1, 1])}
    return Row(function_of(loss), loss, reference, (3, 5), "x", zero=False, given=given)


def review_row(shape: tuple[int, ...]) -> Row:
    loss = seeded(lambda: kd.ReviewKD("x", [4], [4], middle=3, axes=len(shape) - 2))
    stages = stages_of(loss)
    return Row(function_of(loss), loss, lambda s, t: references.review_kd([s], [t], stages), shape, "x", zero=False)


def stages_of(loss: kd.ReviewKD) -> list[dict[str, np.ndarray]]:
    return [{name: one.detach().double().numpy() for name, one in stage.named_parameters()} for stage in loss.fusions]


def factor_row(shape: tuple[int, ...]) -> Row:
    axes = len(shape) - 2
    loss = seeded(lambda: kd.FactorTransfer("x", 4, kd.losses.Paraphraser(4, axes=axes))).eval()

    def factor(layers: nn.Module, features: np.ndarray) -> np.ndarray:
        for conv, norm, _ in layers:
            features = np.stack([references.conv(one, *weights_of(conv)) for one in features])
            features = features / math.sqrt(1 + norm.eps)  # in evaluation mode, with the statistics of the start
            features = np.where(features > 0, features, 0.1 * features)
        return features

    def reference(student: np.ndarray, teacher: np.ndarray) -> float:
        return references.factor_transfer(
            factor(loss.translator, student), factor(loss.paraphraser.module.encoder, teacher)
        )

    return Row(function_of(loss), loss, reference, shape, "x", zero=False)


def sem_row(shape: tuple[int, ...]) -> Row:
    loss = seeded(lambda: kd.SemCKD("x", "x", [4], [4], batch_size=shape[0], axes=len(shape) - 2))

    def reference(student: np.ndarray, teacher: np.ndarray) -> float:
        return references.sem_ckd([student], [teacher], np.ones((shape[0], 1, 1)), projections_of(loss))

    return Row(function_of(loss), loss, reference, shape, "x", zero=False)


def projections_of(loss: kd.SemCKD) -> list[list[list]]:
    found = []
    for row in loss.projections:
        weights = [weights_of(one) for one in row]
        found.append([[one[:3], one[3:6], one[6:]] for one in weights])
    return found


MARGIN = torch.tensor([-0.5, -1.0, -0.1, 0.0])
CLASSIFIER = seeded(lambda: nn.Linear(4, 6))

TABLE = {
    "vid": vid_row(SHAPE),
    "vid clip": vid_row(CLIP),
    "vid tokens": vid_row((3, 5, 4), -1),
    "mgd": mgd_row(SHAPE),
    "mgd clip": mgd_row(CLIP),
    "simkd": Row(simkd, kd.SimKD("x", CLASSIFIER), references.simkd, SHAPE, "x", orders=(0, 1)),
    "crd": crd_row(),
    "review_kd": review_row((2, 4, 5, 6)),
    "review_kd clip": review_row((2, 4, 2, 2, 3)),
    "ofd": Row(
        partial(ofd, margin=MARGIN),
        kd.OFD("x", MARGIN),
        partial(references.ofd, margin=MARGIN.double().numpy()),
        CLIP,
        "x",
    ),
    "factor_transfer": factor_row(SHAPE),
    "factor_transfer clip": factor_row(CLIP),
    "sem_ckd": sem_row(SHAPE),
    "sem_ckd clip": sem_row(CLIP),
    "srrl": Row(
        lambda s, t: srrl(s, t, classifier=copy.deepcopy(CLASSIFIER).to(torch.promote_types(s.dtype, torch.float32))),
        kd.SRRL("x", CLASSIFIER),
        lambda s, t: references.srrl(s, t, *weights_of(CLASSIFIER)),
        SHAPE,
        "x",
    ),
}


@pytest.fixture(params=TABLE)
def row(request: pytest.FixtureRequest) -> Row:
    return TABLE[request.param]


class TestLaws(Laws):
    """The laws, row by row."""


def test_parameters_learn_and_the_teacher_does_not(row: Row) -> None:
    if isinstance(row.loss, kd.SemCKD):
        pytest.skip("of one layer the attention is 1; see the test of several")
    loss = copy.deepcopy(row.loss)
    student, teacher = pair(row.shape, torch.float32)
    loss(*row.outputs(student, teacher), **row.given).backward()
    learned = [one for one in loss.parameters() if one.requires_grad]
    assert all(one.grad is not None and one.grad.any() for one in learned)
    assert bool(learned) == (loss.kind not in ("simkd", "ofd", "srrl"))


@pytest.mark.parametrize(
    "build",
    [
        lambda roles: kd.VID(roles, 4),
        lambda roles: kd.MGD(roles, 4),
        lambda roles: kd.SimKD(roles, CLASSIFIER),
        lambda roles: kd.CRD(roles, 4, 4, samples=9),
        lambda roles: kd.OFD(roles, MARGIN),
        lambda roles: kd.FactorTransfer(roles, 4, kd.losses.Paraphraser(4)),
        lambda roles: kd.SRRL(roles, CLASSIFIER),
    ],
)
def test_one_layer_for_one_set_of_parameters(build: Callable[..., kd.Loss]) -> None:
    with pytest.raises(ValueError, match=r"must have one role, .* got \['a', 'b'\]: add up one loss for each"):
        build(("a", "b"))
    assert build({"a": "b"}).name.endswith("[a:b]")


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: kd.VID("x", 0), "channels must be positive, got 0"),
        (lambda: kd.VID("x", 4, eps=0.0), "eps must be positive"),
        (lambda: kd.VID("x", 4, initial_variance=1e-6), "initial_variance must be finite and above eps"),
        (lambda: kd.VID("x", 4, reduction="max"), "reduction must be one of"),
        (lambda: kd.MGD("x", 4, hidden_ratio=1.5), "hidden_ratio must be from 0 to 1, got 1.5"),
        (lambda: kd.MGD("x", 4, hidden="pixels"), "hidden must be one of"),
        (lambda: kd.MGD("x", 4, reduction="none"), "reduction must be 'sum' or 'mean'"),
        (lambda: kd.MGD("x", 4, axes=4), "axes must be 1 to 3, got 4"),
        (lambda: kd.CRD("x", 4, 4, samples=0), "samples must be positive"),
        (lambda: kd.CRD("x", 4, 4, samples=9, temperature=-1.0), "temperature must be positive"),
        (lambda: kd.CRD("x", 4, 4, samples=9, momentum=2.0), "momentum must be from 0 to 1"),
        (lambda: kd.CRD("x", 4, 4, samples=9, classes=torch.zeros(9)), "at least two classes"),
        (lambda: kd.CRD("x", 4, 4, samples=9, classes=torch.zeros(8)), "one entry for each of 9 samples"),
        (lambda: kd.ReviewKD(("a", "b"), [4], [4, 8]), "channels for each of 2 roles"),
        (lambda: kd.ReviewKD("a", [4], [4], middle=0), "middle must be positive"),
        (lambda: kd.OFD("x", torch.tensor([-1.0, 0.5])), "margins must be at most 0"),
        (lambda: kd.OFD("x", nn.ReLU()), "norm must have a weight and a bias, got ReLU"),
        (lambda: kd.OFD("x", MARGIN, reduction="none"), "reduction must be 'sum' or 'mean'"),
        (lambda: kd.FactorTransfer("x", 4, kd.losses.Paraphraser(4), p=0.5), "p must be finite and at least 1"),
        (lambda: kd.losses.Paraphraser(4, rate=0.0), "rate must be positive"),
        (
            lambda: kd.SemCKD(("a", "b"), "x", [4], [4], batch_size=3),
            r"channels for each role, got \(4,\) for \('a', 'b'\)",
        ),
        (lambda: kd.SemCKD("x", (), [4], [], batch_size=3), "channels for each role"),
        (lambda: kd.SemCKD("x", "x", [4], [4], batch_size=0), "batch_size must be positive"),
        (lambda: kd.SRRL("x", CLASSIFIER, beta=-1.0), "alpha and beta must be finite and at least 0"),
    ],
)
def test_bad_options_are_refused(build: Callable[[], kd.Loss], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build()


# VID


def test_vid_sums_channels_and_leaves_out_what_is_masked() -> None:
    student, teacher = pair(SHAPE)
    scale = torch.tensor([0.3, -1.0, 2.0, 0.0], dtype=torch.float64)
    value = vid(student, teacher, scale=scale, reduction="sum")
    expected = references.vid(student.detach().numpy(), teacher.numpy(), scale.numpy(), 1e-5, sum_channels=True)
    assert value.item() == pytest.approx(expected)
    torch.testing.assert_close(vid(student, teacher, scale=scale, reduction="none").mean() * 4, value)
    mask = torch.tensor([True, False, True]).reshape(3, 1, 1).expand(3, 2, 3)
    kept = vid(student[[0, 2]], teacher[[0, 2]], scale=scale)
    teacher[1] = torch.nan
    torch.testing.assert_close(vid(student, teacher, scale=scale, mask=mask), kept)
    with pytest.raises(ValueError, match="one value for each of the 4 channels"):
        vid(student, teacher, scale=scale[:1])


@pytest.mark.parametrize("variance", [1e-3, 5.0, 200.0])
def test_vid_starts_at_the_variance_asked_for_and_learns_that_of_the_error(variance: float) -> None:
    loss = kd.VID("x", 2, initial_variance=variance)
    start = torch.nn.functional.softplus(loss.scale) + loss.eps
    torch.testing.assert_close(start, torch.full((2,), variance))
    if variance != 5.0:
        return
    student, teacher = pair((500, 2), torch.float32)
    teacher = student.detach() + torch.tensor([0.5, 2.0]) * teacher
    optimizer = torch.optim.Adam(loss.parameters(), lr=0.1)
    for _ in range(300):
        optimizer.zero_grad()
        loss(kd.Output(None, {"x": student}), kd.Output(None, {"x": teacher})).backward()
        optimizer.step()
    error = (student - teacher).square().mean(0).detach()
    torch.testing.assert_close(torch.nn.functional.softplus(loss.scale).detach(), error, rtol=0.02, atol=0.0)


# MGD


@pytest.mark.parametrize("hidden", ["positions", "channels"])
def test_mgd_hides_what_it_says(hidden: str) -> None:
    student, teacher = pair(SHAPE)
    loss = seeded(lambda: kd.MGD("x", 4, hidden=hidden, hidden_ratio=0.5)).double()
    torch.manual_seed(3)
    value = loss(kd.Output(None, {"x": student}), kd.Output(None, {"x": teacher}))
    torch.manual_seed(3)
    keep = random_keep(student, 0.5, hidden)
    assert keep.shape == ((3, 1, 2, 3) if hidden == "positions" else (3, 4, 1, 1))
    expected = references.mgd(student.detach().numpy(), teacher.numpy(), keep.numpy(), weights_of(loss.generator))
    assert value.item() == pytest.approx(expected, rel=1e-10)
    # What is hidden gets no gradient.
    (gradient,) = torch.autograd.grad(value, student)
    assert not gradient[~keep.expand_as(gradient)].any()


def test_mgd_hides_the_ratio_asked_for() -> None:
    torch.manual_seed(0)
    share = random_keep(torch.zeros(10, 2, 50, 50), 0.65).float().mean().item()
    assert share == pytest.approx(0.35, abs=0.02)
    assert random_keep(torch.zeros(2, 3, 4, 4), 0.0).all()
    assert not random_keep(torch.zeros(2, 3, 4, 4), 1.0).any()


def test_mgd_means_masks_and_refusals() -> None:
    student, teacher = pair(SHAPE)
    keep = torch.ones(1, 1, 1, 1)
    identity = partial(mgd, generate=lambda x: x, keep=keep)
    torch.testing.assert_close(identity(student, teacher) / 24, identity(student, teacher, reduction="mean"))
    mask = torch.tensor([True, False, True]).reshape(3, 1, 1).expand(3, 2, 3)
    kept = identity(student[[0, 2]], teacher[[0, 2]], reduction="mean")
    teacher[1] = torch.nan
    torch.testing.assert_close(identity(student, teacher, reduction="mean", mask=mask), kept)
    torch.testing.assert_close(identity(student, teacher, mask=mask), kept * 2 * 24 / 3)
    # What is not valid does not reach its neighbors through the generator.
    blur = seeded(lambda: nn.Conv2d(4, 4, 3, padding=1).double())
    inside = torch.zeros(3, 2, 3, dtype=torch.bool)
    inside[:, 0] = True
    values = [
        mgd(student.masked_fill(~inside[:, None], fill), student, generate=blur, keep=keep, mask=inside)
        for fill in (torch.nan, 0.0)
    ]
    torch.testing.assert_close(*values)
    with pytest.raises(ValueError, match=r"keep must expand to \(3, 4, 2, 3\), got \(3, 2, 3\)"):
        mgd(student, teacher, generate=lambda x: x, keep=torch.ones(3, 2, 3))
    with pytest.raises(ValueError, match="generate must keep the shape"):
        mgd(student, teacher, generate=lambda x: x[..., :1], keep=keep)


# SimKD


def test_simkd_predicts_with_the_frozen_classifier_of_the_teacher() -> None:
    classifier = nn.Sequential(nn.Linear(4, 6), nn.Dropout(0.5))
    loss = kd.SimKD("x", classifier).train()
    student, _ = pair(SHAPE, torch.float32)
    expected = classifier.eval()(student.mean((2, 3)))
    torch.testing.assert_close(loss.logits(kd.Output(None, {"x": student})), expected)
    assert not any(one.requires_grad for one in loss.parameters())
    assert all(one.requires_grad for one in classifier.parameters())
    assert loss.logits(kd.Output(None, {"x": student})).requires_grad


# CRD


def remember(loss: kd.CRD, index: list[int], seed: int = 0) -> Tensor:
    student, teacher = pair((len(index), 4), torch.float32, seed)
    return loss(kd.Output(None, {"x": student}), kd.Output(None, {"x": teacher}), index=torch.tensor(index))


def test_crd_draws_from_all_others_alike() -> None:
    torch.manual_seed(0)
    loss = kd.CRD("x", 4, 4, samples=5, negatives=4000)
    drawn = loss._others(torch.tensor([0, 2, 4]))
    for own, others in zip((0, 2, 4), drawn, strict=True):
        shares = torch.bincount(others, minlength=5) / 4000
        assert shares[own] == 0
        assert (shares - 0.25).abs()[torch.arange(5) != own].max() < 0.03


def test_crd_draws_from_other_classes_alone() -> None:
    torch.manual_seed(0)
    classes = torch.tensor([7, 1, 7, 3, 1, 1])
    loss = kd.CRD("x", 4, 4, samples=6, negatives=4000, classes=classes)
    for own, others in zip(range(6), loss._others(torch.arange(6)), strict=True):
        assert set(others.tolist()) == {k for k in range(6) if classes[k] != classes[own]}
        shares = torch.bincount(others, minlength=6)[classes != classes[own]] / 4000
        assert (shares - shares.mean()).abs().max() < 0.03


def test_crd_remembers_what_it_saw_in_training_only() -> None:
    loss = seeded(lambda: kd.CRD("x", 4, 4, samples=6, dim=3, negatives=2, momentum=0.25))
    before = loss.student_memory.clone()
    remember(loss.eval(), [1, 4])
    assert torch.equal(loss.student_memory, before)
    assert loss.constant == 0
    value = remember(loss.train(), [1, 4])
    value.backward()
    student, _ = pair((2, 4), torch.float32)
    new = nn.functional.normalize(loss.embed_student(student), dim=1).detach()
    expected = nn.functional.normalize(0.25 * before[[1, 4]] + 0.75 * new, dim=1)
    torch.testing.assert_close(loss.student_memory[[1, 4]], expected)
    assert torch.equal(loss.student_memory[[0, 2, 3, 5]], before[[0, 2, 3, 5]])
    constant = loss.constant.clone()
    assert constant > 0
    remember(loss, [1, 4], seed=1)
    assert torch.equal(loss.constant, constant)


def test_crd_survives_a_checkpoint() -> None:
    loss = seeded(lambda: kd.CRD("x", 4, 4, samples=6, negatives=2))
    remember(loss, [1, 4])
    again = kd.CRD("x", 4, 4, samples=6, negatives=2)
    again.load_state_dict(copy.deepcopy(loss.state_dict()))
    values = []
    for one in (loss, again):
        torch.manual_seed(0)
        values.append(remember(one, [1, 3], seed=1))
        values.append(remember(one, [0, 4], seed=2))
    assert torch.equal(values[0], values[2])
    assert torch.equal(values[1], values[3])


def test_crd_takes_its_constant_from_the_first_batch() -> None:
    loss = seeded(lambda: kd.CRD("x", 4, 4, samples=2, negatives=3, temperature=0.5)).double()
    memories = loss.student_memory.clone(), loss.teacher_memory.clone()
    student, teacher = pair((1, 4))
    s, t = (
        nn.functional.normalize(embed(one), dim=1).detach()[0]
        for embed, one in ((loss.embed_student, student), (loss.embed_teacher, teacher))
    )
    loss(kd.Output(None, {"x": student}), kd.Output(None, {"x": teacher}), index=torch.tensor([0]))
    scores = [math.exp(float(u @ v) / 0.5) for u, v in ((s, memories[1][1]), (t, memories[0][1]))]
    assert loss.constant.item() == pytest.approx(2 * sum(scores) / 2)


def test_crd_refuses_wrong_numbers_of_samples() -> None:
    loss = kd.CRD("x", 4, 4, samples=6, negatives=2)
    for index in ([1, 6], [-1, 2]):
        with pytest.raises(ValueError, match="index must be from 0 to 5, got"):
            remember(loss, index)
    student = kd.Output(None, {"x": torch.randn(2, 4)})
    for index in (torch.zeros(2), torch.zeros(3, dtype=torch.long)):
        with pytest.raises(ValueError, match=r"index must be \(2,\) integers"):
            loss(student, student, index=index)
    with pytest.raises(ValueError, match=r"channels must be 4 and 4 on axis 1, got \(2, 5\) and \(2, 4\)"):
        loss(kd.Output(None, {"x": torch.randn(2, 5)}), student, index=torch.tensor([0, 1]))
    vector, negatives = torch.randn(2, 4), torch.randn(2, 3, 4)
    with pytest.raises(ValueError, match=r"teacher_negatives \(B, N, D\)"):
        crd(vector, vector, student_negatives=negatives, teacher_negatives=negatives[..., :2], samples=9)


def test_crd_is_right_where_float32_would_round_h_to_one() -> None:
    one, other = torch.tensor([[1.0, 0.0]]), torch.tensor([[[1.0, 0.0]]])
    value = crd(one, one, student_negatives=other, teacher_negatives=other, samples=10**6, temperature=0.02)
    # log(1 - h) = log(N/M) - log(p + N/M), with p = e^50.
    assert value.item() == pytest.approx(2 * (50 + math.log(10**6)), rel=1e-6)


def test_crd_brings_pairs_together() -> None:
    torch.manual_seed(0)
    loss = kd.CRD("x", 8, 8, samples=64, dim=8, negatives=32)
    teacher = torch.randn(64, 8)
    student = nn.Parameter(torch.randn(64, 8))
    optimizer = torch.optim.Adam([student, *loss.parameters()], lr=0.02)
    values = []
    for _ in range(60):
        for index in torch.randperm(64).chunk(4):
            optimizer.zero_grad()
            value = loss(kd.Output(None, {"x": student[index]}), kd.Output(None, {"x": teacher[index]}), index=index)
            value.backward()
            optimizer.step()
            values.append(value.item())
    assert np.mean(values[-20:]) < 0.3 * np.mean(values[:20])
    with torch.no_grad():
        ours = nn.functional.normalize(loss.embed_student(student), dim=1)
        theirs = nn.functional.normalize(loss.embed_teacher(teacher), dim=1)
    assert ((ours @ theirs.T).argmax(1) == torch.arange(64)).float().mean() > 0.9


# ReviewKD


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 5), (2, 3, 8, 8), (2, 3, 4, 6), (2, 2, 2, 5, 6)])
def test_hcl_is_the_mean_over_a_pyramid(shape: tuple[int, ...]) -> None:
    student, teacher = pair(shape)
    if len(shape) == 2:
        torch.testing.assert_close(hcl(student, teacher), (student - teacher).square().mean())
        return
    value = hcl(student, teacher)
    assert value.item() == pytest.approx(references.hcl(student.detach().numpy(), teacher.numpy()))
    assert hcl(teacher, teacher) == 0
    # A level as large as the map is the map again, and is left out.
    side = max(shape[2:])
    same = hcl(student, teacher, levels=(side, 1))
    torch.testing.assert_close(same, hcl(student, teacher, levels=(1,)))
    with pytest.raises(ValueError, match="positive levels"):
        hcl(student, teacher, levels=(4, 0))


def test_review_fuses_each_stage_with_the_later_ones() -> None:
    students = [pair((2, c, n, n))[0] for c, n in ((3, 8), (5, 4), (6, 2))]
    teachers = [pair((2, c, n, n), seed=1)[1] for c, n in ((4, 6), (6, 3), (8, 1))]
    loss = seeded(lambda: kd.ReviewKD(("a", "b", "c"), (3, 5, 6), (4, 6, 8), middle=4)).double()
    outputs = [kd.Output(None, dict(zip("abc", ones, strict=True))) for ones in (students, teachers)]
    value = loss(*outputs)
    expected = references.review_kd(
        [one.detach().numpy() for one in students], [one.numpy() for one in teachers], stages_of(loss)
    )
    assert value.item() == pytest.approx(expected, rel=1e-8)
    value.backward()
    assert all(one.grad is not None and one.grad.any() for one in (*students, *loss.parameters()))
    with pytest.raises(ValueError, match="axes=2 was given a feature of shape"):
        loss(*(kd.Output(None, {k: x.flatten(2) for k, x in one.features.items()}) for one in outputs))


# OFD


def test_ofd_leaves_alone_what_is_negative_enough() -> None:
    teacher = torch.tensor([[-3.0, -3.0, -0.5, -0.5, 2.0, 2.0]])
    student = torch.tensor([[-2.0, -0.5, -1.0, 0.0, 3.0, -1.0]], requires_grad=True)
    value = ofd(student, teacher, margin=torch.full((6,), -1.0))
    assert value.item() == pytest.approx(0 + 0.25 + 0 + 0.25 + 1 + 9)
    value.backward()
    assert (student.grad != 0).tolist() == [[False, True, False, True, True, True]]
    torch.testing.assert_close(ofd(student, teacher, margin=torch.full((6,), -1.0), reduction="mean"), value / 6)


def test_ofd_masks_positions() -> None:
    student, teacher = pair(SHAPE)
    mask = torch.tensor([True, False, True]).reshape(3, 1, 1).expand(3, 2, 3)
    kept = ofd(student[[0, 2]], teacher[[0, 2]], margin=MARGIN, reduction="mean")
    teacher[1] = torch.nan
    torch.testing.assert_close(ofd(student, teacher, margin=MARGIN, reduction="mean", mask=mask), kept)


@pytest.mark.parametrize(("mean", "deviation"), [(0.0, 1.0), (1.5, 0.7), (-2.0, 0.5), (0.3, 2.0)])
def test_ofd_margins_are_means_of_negative_values(mean: float, deviation: float) -> None:
    values = mean + deviation * torch.randn(400_000, generator=torch.Generator().manual_seed(0))
    margin = ofd_margin(torch.tensor([mean]), torch.tensor([deviation]))
    assert margin.item() == pytest.approx(values[values < 0].mean().item(), abs=0.01)


def test_ofd_margins_hold_far_from_zero() -> None:
    # E[x | x < 0] is about -sigma²/mu for mu far above 0, and mu far below.
    margins = ofd_margin(torch.tensor([100.0, 1e4, -100.0]), torch.ones(3))
    torch.testing.assert_close(margins, torch.tensor([-0.01, -1e-4, -100.0]), rtol=1e-3, atol=1e-6)
    norm = nn.BatchNorm2d(2)
    with torch.no_grad():
        norm.weight.copy_(torch.tensor([-1.0, 0.0]))
    margin = kd.OFD("x", norm).margin
    assert margin[0].item() == pytest.approx(-math.sqrt(2 / math.pi))
    assert -1e-5 < margin[1] < 0


# Factor transfer


def test_factors_are_compared_by_direction() -> None:
    student, teacher = pair(SHAPE)
    for p in (1.0, 2.0, 3.0):
        expected = references.factor_transfer(student.detach().numpy(), teacher.numpy(), p)
        assert factor_transfer(student, teacher, p=p).item() == pytest.approx(expected)
    torch.testing.assert_close(factor_transfer(3 * teacher, teacher), torch.zeros((), dtype=torch.float64))
    (gradient,) = torch.autograd.grad(factor_transfer(student, student.detach(), p=2.0), student)
    assert not gradient.any()


def test_a_paraphraser_learns_before_and_never_after() -> None:
    torch.manual_seed(0)
    paraphraser = kd.losses.Paraphraser(4, rate=0.75)
    assert paraphraser.factors == 3
    feature = torch.randn(8, 2, 5, 5).repeat(1, 2, 1, 1)
    optimizer = torch.optim.Adam(paraphraser.parameters(), lr=0.01)
    values = []
    for _ in range(100):
        optimizer.zero_grad()
        values.append(paraphraser.reconstruction(feature))
        values[-1].backward()
        optimizer.step()
    assert values[-1] < 0.5 * values[0]
    loss = kd.FactorTransfer("x", 6, paraphraser).train()
    before = copy.deepcopy(loss.paraphraser.state_dict())
    student, teacher = kd.Output(None, {"x": torch.randn(8, 6, 5, 5)}), kd.Output(None, {"x": feature})
    loss(student, teacher).backward()
    assert all(torch.equal(before[name], one) for name, one in loss.paraphraser.state_dict().items())
    assert all(one.grad is None for one in loss.paraphraser.parameters())
    assert all(one.grad is not None for one in loss.translator.parameters())


# SRRL


def test_srrl_weighs_features_and_logits() -> None:
    student, teacher = pair((3, 4), torch.float32)
    both = [srrl(student, teacher, classifier=CLASSIFIER, alpha=a, beta=b) for a, b in ((1, 0), (0, 1), (2, 3))]
    torch.testing.assert_close(both[2], 2 * both[0] + 3 * both[1])
    torch.testing.assert_close(both[1], (CLASSIFIER(student) - CLASSIFIER(teacher)).square().mean())


# SemCKD


def test_sem_ckd_attends_to_every_pair_of_layers() -> None:
    students = [pair((4, c, n, n + 1))[0] for c, n in ((3, 4), (2, 2))]
    teachers = [pair((4, c, n, n), seed=1)[1] for c, n in ((4, 5), (3, 3), (2, 1))]
    loss = seeded(lambda: kd.SemCKD(tuple("ab"), tuple("cde"), (3, 2), (4, 3, 2), batch_size=4, factor=2)).double()
    assert loss.name == "sem_ckd[a,b:c,d,e]"
    outputs = (
        kd.Output(None, dict(zip("ab", students, strict=True))),
        kd.Output(None, dict(zip("cde", teachers, strict=True))),
    )
    value = loss(*outputs)
    ours, theirs = [one.detach().numpy() for one in students], [one.numpy() for one in teachers]
    queries, keys = ([weights_of(one) for one in ones] for ones in (loss.queries, loss.keys))
    attention = references.sem_ckd_attention(ours, theirs, queries, keys)
    np.testing.assert_allclose(loss.attention(students, teachers).detach().numpy(), attention, rtol=1e-10)
    assert attention.std() > 0.01
    expected = references.sem_ckd(ours, theirs, attention, projections_of(loss))
    assert value.item() == pytest.approx(expected, rel=1e-8)
    value.backward()
    assert all(one.grad is not None and one.grad.any() for one in (*students, *loss.parameters()))
    half = (kd.Output(None, {k: x[:2] for k, x in one.features.items()}) for one in outputs)
    with pytest.raises(ValueError, match=r"batch_size=4 and axes=2 were given .*drop_last=True"):
        loss(*half)


def test_sem_ckd_refuses_attention_of_another_shape() -> None:
    student, teacher = pair(SHAPE)
    with pytest.raises(ValueError, match=r"attention must be \(3, 1, 1\), got \(3, 1\)"):
        sem_ckd([[student]], [[teacher]], attention=torch.ones(3, 1))
