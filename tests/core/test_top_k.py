"""The divergence over the top classes and the rest: its definition in numbers, and its limits."""

import math
import pickle

import pytest
import torch
from torch import Tensor

import kdvideo as kd
from kdvideo.functional import soft_target, soft_target_top_k, top_k


def logits(*shape: int, seed: int = 0) -> Tensor:
    return 3 * torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def in_numbers(student: list[float], teacher: list[float], k: int, t: float) -> float:
    p, q = ([math.exp(x / t) / sum(math.exp(y / t) for y in z) for x in z] for z in (teacher, student))
    top = sorted(range(len(p)), key=lambda c: -p[c])[:k]
    pairs = [(p[c], q[c]) for c in top]
    pairs.append((1 - sum(p[c] for c in top), 1 - sum(q[c] for c in top)))
    return t * t * sum(a * math.log(a / b) for a, b in pairs)


@pytest.mark.parametrize("temperature", [1.0, 4.0])
@pytest.mark.parametrize("k", [1, 3, 5])
def test_value_is_that_of_the_definition(k: int, temperature: float) -> None:
    student, teacher = logits(4, 6), logits(4, 6, seed=1)
    value = soft_target_top_k(student, top_k(teacher, k, temperature=temperature))
    rows = zip(student.tolist(), teacher.tolist(), strict=True)
    assert value.item() == pytest.approx(sum(in_numbers(s, t, k, temperature) for s, t in rows) / 4)
    full = soft_target(student, teacher, temperature=temperature)
    assert value <= full + 1e-12
    if k == 5:
        torch.testing.assert_close(value, full)


def test_gradients() -> None:
    teacher = top_k(logits(3, 6, seed=1), 2, temperature=2.0)
    assert torch.autograd.gradcheck(lambda s: soft_target_top_k(s, teacher), logits(3, 6).requires_grad_())
    same = logits(3, 6).requires_grad_()
    value = soft_target_top_k(same, top_k(same.detach(), 2))
    value.backward()
    assert abs(value.item()) < 1e-12
    assert same.grad.abs().max() < 1e-12


@pytest.mark.reliability("C10")
def test_certain_and_impossible_classes_stay_finite() -> None:
    """Fails when `_rest` computes log(1 - Σ p)."""
    certain = torch.tensor([[200.0, 0.0, -200.0, -torch.inf]])
    student = certain.clone().masked_fill(certain.isinf(), -300.0).requires_grad_()
    value = soft_target_top_k(student, top_k(certain, 2))
    value.backward()
    assert abs(value.item()) < 1e-6
    assert student.grad.isfinite().all()


def test_masked_positions_do_not_count() -> None:
    student, teacher = logits(2, 3, 6), logits(2, 3, 6, seed=1)
    mask = torch.tensor([[1, 1, 0], [1, 0, 0]]).bool()
    student[~mask] = torch.nan
    student.requires_grad_()
    top = top_k(teacher, 2)
    value = soft_target_top_k(student, top, mask=mask)
    kept = kd.TopK(top.values[mask], top.indices[mask], top.rest[mask], 1.0)
    torch.testing.assert_close(value, soft_target_top_k(student[mask], kept))
    torch.testing.assert_close(soft_target_top_k(student, top, mask=mask, normalizer=6), value / 2)
    value.backward()
    assert student.grad.isfinite().all()


def test_dense_logits_have_the_top_probabilities_and_an_equal_rest() -> None:
    teacher = logits(2, 3, 6)
    p = (teacher / 4).softmax(-1)
    dense = (top_k(teacher, 2, temperature=4.0).logits(6) / 4).softmax(-1)
    assert dense.shape == p.shape
    largest = p.topk(2, -1)
    torch.testing.assert_close(dense.gather(-1, largest.indices), largest.values)
    others = dense.scatter(-1, largest.indices, 0).sort(-1).values[..., 2:]
    torch.testing.assert_close(others, ((1 - largest.values.sum(-1, keepdim=True)) / 4).expand_as(others))


def test_the_object_reads_raw_and_pickles() -> None:
    student, teacher = logits(4, 6), logits(4, 6, seed=1)
    criterion = pickle.loads(pickle.dumps(0.5 * kd.SoftTargetTopK()))
    output = kd.Output(None, {}, top_k(teacher, 2, temperature=3.0))
    ((name, value),) = criterion.terms(kd.Output(student, {}), output).items()
    assert name == "0.5*soft_target_top_k"
    torch.testing.assert_close(value, 0.5 * soft_target_top_k(student, output.raw))
    compiled = torch.compile(criterion, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(kd.Output(student, {}), output), value)
    for s, t in ((student, kd.Output(teacher, {})), (None, output)):
        with pytest.raises(ValueError, match="needs the student's logits and a teacher's TopK"):
            criterion(kd.Output(s, {}), t)


def test_what_does_not_fit_is_refused() -> None:
    top = top_k(logits(4, 6), 2)
    for shape in ((3, 6), (4, 5, 6), (4, 2)):
        with pytest.raises(ValueError, match=r"logits \(4, 'V'\) of more than 2 classes"):
            soft_target_top_k(logits(*shape), top)
    for k in (0, 6):
        with pytest.raises(ValueError, match="between 1 and 5"):
            top_k(logits(4, 6), k)
    with pytest.raises(ValueError, match="temperature"):
        top_k(logits(4, 6), 2, temperature=0.0)
