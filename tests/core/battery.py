"""One battery of laws for every loss: a test file gives a table of rows and a class that inherits `Laws`.

TABLE = {"kl": Row(function, loss, references.kl, (3, 5))}

@pytest.fixture(params=TABLE)
def row(request): return TABLE[request.param]

class TestLaws(Laws): ...
"""

import copy
import functools
import itertools
import pickle
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
import torch
from torch import Tensor

import kdvideo as kd


@dataclass
class Row:
    """One loss.

    Args:
        function: (student, teacher, **given) -> value, with all options bound.
        loss: the object that does the same on two `Output`s.
        reference: the same on float64 numpy arrays, written down from the paper in loops.
        shape: of both tensors.
        role: of the feature; None: the tensors are logits.
        zero: whether equal inputs give zero and no gradient.
        orders: axes along which both tensors may be permuted alike.
        given: what function, object and reference are given besides, such as labels.
        rounding: relative tolerance between function and reference in float64.
        other_shape: of a teacher's tensor that may be compared with a student's of `shape`; None: of none but `shape`.
        refuses: which shapes of a teacher must raise: of another batch, of an axis less or of an axis more.
        least_batch: the samples without which there is nothing to compare.
        prepare: what a random tensor goes through before, as where a loss expects probabilities.
        positions: the shape of a mask; None: that of the tensors without the class or channel axis.
    """

    function: Callable[..., Tensor]
    loss: kd.Loss
    reference: Callable[..., float]
    shape: tuple[int, ...]
    role: str | None = None
    zero: bool = True
    orders: tuple[int, ...] = (0,)
    given: dict[str, Tensor] = field(default_factory=dict)
    rounding: float = 1e-10
    other_shape: tuple[int, ...] | None = None
    refuses: tuple[str, ...] = ("batch", "axis less", "axis more")
    least_batch: int = 1
    prepare: Callable[[Tensor], Tensor] | None = None
    positions: tuple[int, ...] | None = None

    def __call__(self, student: Tensor, teacher: Tensor, **given: Any) -> Tensor:
        return self.function(student, teacher, **(self.given | given))

    @property
    def mask(self) -> Tensor:
        """True at every second position, and nowhere in the last sample where there are several positions."""
        shape = list(self.shape)
        if self.positions is None and len(shape) > 1:
            del shape[getattr(self.loss, "dim", 1)]
        mask = torch.arange(torch.Size(self.positions or shape).numel()).reshape(self.positions or shape) % 2 == 0
        if mask.ndim > 1:
            mask[-1] = False
        return mask

    def masked(self, **given: Any) -> Tensor | str:
        """The value of the object with a mask or a normalizer, or the error with which it takes none."""
        student, teacher = self.pair(torch.float32)
        try:
            return self.loss(*self.outputs(student, teacher), **(self.given | given))
        except ValueError as error:
            if "takes no" not in str(error):
                raise
            return str(error)

    @property
    def others(self) -> tuple[bool, ...]:
        return (False,) if self.other_shape is None else (False, True)

    def pair(self, dtype: torch.dtype = torch.float64, seed: int = 0, other: bool = False) -> tuple[Tensor, Tensor]:
        student, teacher = pair(self.shape, seed=seed)
        if other and self.other_shape is not None:
            _, teacher = pair(self.other_shape, seed=seed)
        if self.prepare is not None:
            student, teacher = self.prepare(student), self.prepare(teacher)
        return student.detach().to(dtype).requires_grad_(), teacher.to(dtype)

    def outputs(self, student: Tensor, teacher: Tensor) -> tuple[kd.Output, kd.Output]:
        if self.role is None:
            return kd.Output(student, {}), kd.Output(teacher, {})
        return kd.Output(None, {self.role: student}), kd.Output(None, {self.role: teacher})


def pair(shape: tuple[int, ...], dtype: torch.dtype = torch.float64, seed: int = 0) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    student, teacher = torch.randn(2, *shape, dtype=torch.float64, generator=generator).unbind()
    return student.to(dtype).requires_grad_(), teacher.to(dtype)


def network(row: Row) -> torch.nn.Module:
    """A small student from (B, 7) to all elements of a row's shape, the same at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        size = torch.Size(row.shape[1:]).numel()
        last = torch.nn.Linear(5, size)
        torch.nn.init.normal_(last.weight)
        return torch.nn.Sequential(torch.nn.Linear(7, 5), torch.nn.Tanh(), last)


class Laws:
    """What every loss obeys."""

    def test_value_is_that_of_the_paper(self, row: Row) -> None:
        for seed, other in itertools.product(range(3), row.others):
            student, teacher = row.pair(seed=seed, other=other)
            given = {name: value.numpy() for name, value in row.given.items()}
            expected = row.reference(student.detach().numpy(), teacher.numpy(), **given)
            assert row(student, teacher).item() == pytest.approx(expected, rel=row.rounding, abs=1e-13)

    def test_object_is_the_function_on_outputs(self, row: Row) -> None:
        student, teacher = row.pair(torch.float32)
        value = row.loss(*row.outputs(student, teacher), **row.given)
        torch.testing.assert_close(value, row(student, teacher), rtol=1e-6, atol=1e-7)
        terms = row.loss.terms(*row.outputs(student, teacher), **row.given)
        assert list(terms) == [row.loss.name]
        assert torch.equal(terms[row.loss.name], value)

    def test_gradients_of_a_step_are_those_of_the_function_by_hand(self, row: Row) -> None:
        x, teacher = (
            torch.randn(row.shape[0], 7, generator=torch.Generator().manual_seed(2)),
            row.pair(torch.float32)[1],
        )
        nets = [network(row) for _ in range(2)]
        ours, by_hand = (net(x).view(row.shape) for net in nets)
        if row.prepare is not None:
            ours, by_hand = row.prepare(ours), row.prepare(by_hand)
        (3 * row.loss(*row.outputs(ours, teacher), **row.given)).backward()
        (3 * row(by_hand, teacher)).backward()
        for one, other in zip(nets[0].parameters(), nets[1].parameters(), strict=True):
            assert one.grad.any()
            assert torch.equal(one.grad, other.grad)

    def test_gradient_is_that_of_finite_differences(self, row: Row) -> None:
        for other in row.others:
            student, teacher = row.pair(other=other)
            assert torch.autograd.gradcheck(functools.partial(row, teacher=teacher), student)

    def test_order_does_not_matter(self, row: Row) -> None:
        student, teacher = row.pair()
        for axis in row.orders:
            order = torch.randperm(row.shape[axis], generator=torch.Generator().manual_seed(1))
            given = {name: value[order] for name, value in row.given.items()} if axis == 0 else row.given
            moved = row.function(student.index_select(axis, order), teacher.index_select(axis, order), **given)
            torch.testing.assert_close(moved, row(student, teacher), rtol=1e-10, atol=1e-12)

    def test_only_the_student_learns(self, row: Row) -> None:
        student, teacher = row.pair()
        row(student, teacher).backward()
        assert student.grad is not None
        assert student.grad.any()
        assert teacher.grad is None

    def test_equal_inputs_give_zero_and_no_gradient(self, row: Row) -> None:
        if not row.zero:
            pytest.skip("by its definition this loss is not zero there")
        student, _ = row.pair()
        value = row(student, student.detach().clone())
        value.backward()
        assert abs(value.item()) < 1e-12
        torch.testing.assert_close(student.grad, torch.zeros_like(student), atol=1e-8, rtol=0)

    def test_half_precision_is_computed_in_float32(self, row: Row) -> None:
        student, teacher = row.pair(torch.bfloat16)
        expected = row(student.float(), teacher.float())
        for autocast, dtype in itertools.product([False, True], [torch.bfloat16, torch.float16]):
            with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
                value = row(student.to(dtype), teacher.to(dtype))
            assert value.dtype == torch.float32
            torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)

    def test_shapes_that_differ_are_never_broadcast(self, row: Row) -> None:
        student, teacher = row.pair()
        shapes = {"batch": teacher[:1], "axis less": teacher[0], "axis more": teacher.unsqueeze(-1)}
        for other in (shapes[name] for name in row.refuses):
            with pytest.raises(ValueError) as error:
                row(student, other)
            assert str(tuple(student.shape)) in str(error.value)
            assert str(tuple(other.shape)) in str(error.value)

    def test_bad_tensors_are_refused(self, row: Row) -> None:
        student, teacher = row.pair()
        with pytest.raises(ValueError, match="floating-point"):
            row(student, teacher.long())
        empty = {name: value[:0] for name, value in row.given.items()}
        with pytest.raises(ValueError, match="non-empty"):
            row.function(student[:0], teacher[:0], **empty)

    def test_what_is_no_output_is_refused(self, row: Row) -> None:
        student, teacher = row.pair()
        with pytest.raises(ValueError, match=r"student must be an Output.*got a Tensor: .*kd.Output\(logits"):
            row.loss(student, teacher, **row.given)
        with pytest.raises(ValueError, match=r"teacher must be an Output"):
            row.loss.terms(row.outputs(student, teacher)[0], teacher, **row.given)

    def test_bad_labels_are_refused(self, row: Row) -> None:
        labels = row.given.get("labels")
        if labels is None or labels.is_floating_point():
            pytest.skip("it takes no class labels")
        student, teacher = row.pair()
        classes = row.shape[getattr(row.loss, "dim", 1)]
        for bad, message in (
            (torch.full_like(labels, classes), rf"labels must be from 0 to {classes - 1}, got"),
            (torch.full_like(labels, -1), rf"labels must be from 0 to {classes - 1}, got"),
            (labels[:1], "labels must have one class for each position"),
            (labels.double(), "labels must be integers"),
            (labels.tolist(), "labels must be a tensor, got a list"),
        ):
            with pytest.raises(ValueError, match=message):
                row(student, teacher, labels=bad)

    def test_a_single_class_has_no_softmax(self, row: Row) -> None:
        if row.role is not None or not getattr(row.loss, "softmax", False) or isinstance(row.loss, kd.LogitMSE):
            pytest.skip("no softmax over classes")
        student, teacher = row.pair()
        dim = getattr(row.loss, "dim", 1)
        given = {name: torch.zeros_like(value) for name, value in row.given.items()}
        with pytest.raises(ValueError, match="at least 2 classes on axis"):
            row(student.narrow(dim, 0, 1), teacher.narrow(dim, 0, 1), **given)

    def test_a_batch_too_small_to_be_compared_is_refused(self, row: Row) -> None:
        if row.least_batch == 1:
            pytest.skip("one sample is enough")
        student, teacher = row.pair()
        enough, few = row.least_batch, row.least_batch - 1
        assert row.function(student[:enough], teacher[:enough], **row.given).isfinite()
        with pytest.raises(ValueError, match=f"at least {enough} samples.*batch of {few}"):
            row.function(student[:few], teacher[:few], **row.given)

    def test_a_mask_is_used_or_refused(self, row: Row) -> None:
        value, everywhere = row.masked(mask=row.mask), row.masked(mask=torch.ones_like(row.mask))
        if isinstance(value, str):
            assert f"{row.loss.name} takes no mask" in value
            assert isinstance(everywhere, str)
            return
        torch.testing.assert_close(everywhere, row.masked())
        assert not torch.equal(value, row.masked())
        assert torch.equal(row.masked(mask=row.mask.int()), value)
        for wrong, message in (
            (row.mask.unsqueeze(-1), "mask must have one entry for each position"),
            (row.mask.float(), "mask must be bool, or integers 0 and 1"),
            (row.mask.tolist(), "mask must be a tensor, got a list"),
        ):
            with pytest.raises(ValueError, match=message):
                row.masked(mask=wrong)

    def test_nothing_valid_is_zero_without_a_gradient(self, row: Row) -> None:
        student, teacher = row.pair(torch.float32)
        nowhere = {"mask": torch.zeros_like(row.mask)}
        if isinstance(row.masked(**nowhere), str):
            pytest.skip("it takes no mask, which the law above says")
        value = row.loss(*row.outputs(student, teacher), **(row.given | nowhere))
        assert value == 0
        (gradient,) = torch.autograd.grad(value, student)
        assert not gradient.any()

    def test_a_normalizer_divides_or_is_refused(self, row: Row) -> None:
        value, other = (row.masked(mask=row.mask, normalizer=n) for n in (int(row.mask.sum()), 8 * row.mask.sum()))
        if isinstance(value, str):
            assert f"{row.loss.name} takes no " in value
            return
        torch.testing.assert_close(8 * other, value)
        torch.testing.assert_close(value, row.masked(mask=row.mask))
        for wrong in (0, -1.0, torch.tensor(0), float("nan"), float("inf")):
            with pytest.raises(ValueError, match="normalizer must be positive"):
                row.masked(normalizer=wrong)
        with pytest.raises(ValueError, match=r"normalizer must be one number, got shape \(3,\)"):
            row.masked(normalizer=torch.ones(3))

    def test_parts_of_a_ragged_batch_add_up(self, row: Row) -> None:
        total = int(row.mask.sum())
        if isinstance(row.masked(mask=row.mask, normalizer=total), str):
            pytest.skip("it takes no mask or no normalizer, which the laws above say")
        student, teacher = row.pair()
        loss, given = copy.deepcopy(row.loss).double(), row.given | {"mask": row.mask}
        whole = loss(*row.outputs(student, teacher), **given)
        parts = [
            loss(
                *row.outputs(student[k], teacher[k]),
                **{name: value[k] for name, value in given.items()},
                normalizer=total,
            )
            for k in torch.arange(row.shape[0]).split(1)
        ]
        torch.testing.assert_close(sum(parts), whole)
        torch.testing.assert_close(*(torch.autograd.grad(value, student)[0] for value in (sum(parts), whole)))

    def test_losses_pickle_and_copy(self, row: Row) -> None:
        student, teacher = row.pair(torch.float32)
        value = row.loss(*row.outputs(student, teacher), **row.given)
        for again in (pickle.loads(pickle.dumps(row.loss)), copy.deepcopy(row.loss)):
            assert torch.equal(again(*row.outputs(student, teacher), **row.given), value)

    def test_compiled_in_one_graph_it_gives_the_same(self, row: Row) -> None:
        student, teacher = row.pair(torch.float32)
        torch.compiler.reset()  # Rows of one class compile the same code again, which has a limit.
        compiled = torch.compile(row.loss, backend="aot_eager", fullgraph=True)
        value = compiled(*row.outputs(student, teacher), **row.given)
        torch.testing.assert_close(value, row.loss(*row.outputs(student, teacher), **row.given), rtol=1e-5, atol=1e-6)

    def test_outputs_that_lack_the_tensor_are_refused(self, row: Row) -> None:
        student, teacher = row.outputs(*row.pair())
        empty = kd.Output(None, {"y": torch.zeros(1)})
        for arguments, who in (((empty, teacher), "student"), ((student, empty), "teacher")):
            with pytest.raises(ValueError, match=f"the {who} (returned no logits|has no feature)"):
                row.loss(*arguments, **row.given)

    def test_what_it_needs_and_was_not_given_is_named(self, row: Row) -> None:
        for name in row.given:
            rest = {key: value for key, value in row.given.items() if key != name}
            with pytest.raises(ValueError, match=f"needs {name}"):
                row.loss(*row.outputs(*row.pair()), **rest)
