"""The base class of loss objects, which compare two `Output`s and compose by sums and weights."""

from __future__ import annotations

import functools
import inspect
import types
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NoReturn

import torch
from torch import Tensor, nn

from kdvideo._checks import check_mask_values
from kdvideo._hints import kind
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses._order import warn_of_order
from kdvideo.losses._weights import Weight, check_weight, term_name, weighted

Part = tuple[tuple[Weight, ...], "Loss"]


class Loss(nn.Module):
    """A loss between a student's and a teacher's `Output`; add losses with `+`, weight them with `*`.

    A subclass sets `name` and defines `compute`; a loss with parameters registers them as any module does.
    A weight is a number or a schedule, that is a function of the step (see `kdvideo.schedules`).

    Args:
        name: of the term; None keeps the name of the class: its `name`, or what it is called, in lower case. Two losses
            of one kind in a sum need names of their own.

    Examples:
        >>> import torch
        >>> from kdvideo.losses import LogitMSE, SoftTarget
        >>> criterion = LogitMSE() + 0.5 * SoftTarget(temperature=2.0)
        >>> same = Output(torch.ones(2, 5), {})
        >>> {name: term.item() for name, term in criterion.terms(same, same).items()}
        {'logit_mse': 0.0, '0.5*soft_target': 0.0}
    """

    name: str
    _mask_seen = _outputs_seen = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "forward" not in vars(cls):
            # torch.compile counts recompilations for each code object: one that all classes shared would reach its
            # limit at the ninth.
            ours = cls.forward
            code = ours.__code__.replace()
            cls.forward = types.FunctionType(  # type: ignore[method-assign]
                code, ours.__globals__, ours.__name__, ours.__defaults__, ours.__closure__
            )
            functools.update_wrapper(cls.forward, ours)

    def __init__(self, *, name: str | None = None) -> None:
        super().__init__()
        if name is not None or not hasattr(type(self), "name"):
            self.name = name or type(self).__name__.lower()

    def forward(
        self,
        student: Output,
        teacher: Output,
        labels: Tensor | None = None,
        mask: Tensor | None = None,
        index: Tensor | None = None,
        step: int | None = None,
        normalizer: float | Tensor | None = None,
    ) -> Tensor:
        """Compute the loss; every loss takes the same arguments and uses those that it needs.

        Args:
            student: the student's output.
            teacher: the teacher's output.
            labels: the true classes, (B,) or one for each position.
            mask: bool or 0 and 1, one for each position: where it counts (no padding, no ignored pixel).
            index: the samples' numbers in the data set, (B,), for losses with a memory.
            step: of the training, for weights that are schedules.
            normalizer: what the sum over valid positions is divided by; None: their number in this batch. Pass
                the number in the whole batch where it is accumulated in parts of different length.

        Returns:
            A scalar; a loss with `reduction="none"` gives a tensor with a value for each element.

        Raises:
            ValueError: the loss, or a weight, needs what was not given, or takes no mask or normalizer and one is given
                (the message names it); or a mask, looked at in the first call, of other numbers than 0 and 1.

        Warns:
            UserWarning: in the first call, a teacher's output that has a gradient beside a student's that has none.
        """
        given = Given(labels, mask, index, step, normalizer)
        self._look_at_call(student, teacher, mask)
        return given.measured(self, student, teacher)

    def _look_at_call(self, student: Output, teacher: Output, mask: Tensor | None) -> None:
        # Looking waits for the device: the first call is enough, and a compiled graph must not.
        if torch.compiler.is_compiling():
            return
        if mask is not None and not self._mask_seen:
            check_mask_values(mask)
            self._mask_seen = True
        if not self._outputs_seen:
            self._outputs_seen = True
            warn_of_order(student, teacher)

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the loss of a subclass."""
        raise NotImplementedError

    def terms(
        self,
        student: Output,
        teacher: Output,
        labels: Tensor | None = None,
        mask: Tensor | None = None,
        index: Tensor | None = None,
        step: int | None = None,
        normalizer: float | Tensor | None = None,
    ) -> dict[str, Tensor]:
        """Compute every weighted term by name; their sum is the value of the loss.

        Args:
            student: as all that follow, as in `forward`.
            teacher: the teacher's output.
            labels: the true classes.
            mask: which positions count.
            index: the samples' numbers.
            step: of the training.
            normalizer: what the sum is divided by.

        Returns:
            Name -> value, in the order of the sum.
        """
        given = Given(labels, mask, index, step, normalizer)
        self._look_at_call(student, teacher, mask)
        return self._terms(student, teacher, given)

    def _terms(self, student: Output, teacher: Output, given: Given) -> dict[str, Tensor]:
        return {self.name: given.measured(self, student, teacher)}

    if TYPE_CHECKING:  # at run time it is torch's

        def __call__(self, *outputs: Any, **given: Any) -> Tensor:  # noqa: D102
            ...

    def extra_repr(self) -> str:
        """Return the parameters of the constructor, where they are kept under their names."""
        names = [name for name in inspect.signature(type(self)).parameters if name != "name"]
        values = {name: getattr(self, name) for name in names if hasattr(self, name)}
        plain = {name: value for name, value in values.items() if not isinstance(value, (nn.Module, Tensor))}
        return ", ".join(f"{name}={_shown(value)}" for name, value in plain.items())

    def _parts(self) -> list[Part]:
        return [((), self)]

    def __add__(self, other: Any) -> Loss:
        if not isinstance(other, Loss):
            advice = "add values, criterion(student, teacher) + value, or make a subclass of kd.Loss of a function"
            if isinstance(other, type):
                advice = f"make one, {other.__name__}(...)"
            raise ValueError(f"a loss must be added to a loss, got {kind(other)}: {advice}")
        return WeightedSum([*self._parts(), *other._parts()])

    def __radd__(self, other: Any) -> Loss:
        # The builtin sum() starts from the integer 0.
        return self if isinstance(other, int) and other == 0 else self + other

    def __sub__(self, other: Any) -> NoReturn:
        raise ValueError(f"losses must be added, got a difference with {kind(other)}: none is maximized, use + and *")

    __rsub__ = __sub__

    def __neg__(self) -> Loss:
        return self - self

    def __truediv__(self, other: Any) -> NoReturn:
        advice = f"{1 / other:g} * loss" if isinstance(other, (int, float)) and other > 0 else "0.5 * loss"
        raise ValueError(f"a loss must be weighted by a product, got a division by {kind(other)}: {advice}")

    def __rtruediv__(self, other: Any) -> NoReturn:
        raise ValueError(f"a loss must be weighted by a product, got {kind(other)} divided by it: 0.5 * loss")

    def __mul__(self, weight: Any) -> Loss:
        if isinstance(weight, Tensor):
            raise ValueError(
                f"a weight must be a number or a schedule, got {kind(weight)}: weight.item(), or multiply the value, "
                "weight * criterion(student, teacher), where it is learned"
            )
        if isinstance(weight, (nn.Module, type)) or not (isinstance(weight, (int, float)) or callable(weight)):
            raise ValueError(f"a weight must be a number or a schedule, got {kind(weight)}: 0.5 * loss")
        if isinstance(weight, (int, float)):
            check_weight(weight, weight)
        return WeightedSum([((weight, *weights), loss) for weights, loss in self._parts()])

    __rmul__ = __mul__


class WeightedSum(Loss):
    """A flat sum of weighted losses, which `+` and `*` build.

    Raises:
        ValueError: two terms have one name; in forward, terms of different shapes (as `reduction="none"`
            beside a scalar), or a schedule as a weight and no `step=`.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        super().__init__()
        self.weights = [weights for weights, _ in parts]
        self.losses = nn.ModuleList(loss for _, loss in parts)
        self.names = [term_name(weights, loss.name) for weights, loss in parts]
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(
                f"terms of a sum must have different names, got {twice} twice: weight one loss instead of adding it "
                f"twice, or give one of them a name of its own, name='{twice[0].rpartition('*')[2]}_2'"
            )
        self.name = " + ".join(self.names)

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the sum of the terms."""
        terms = self._terms(student, teacher, given)
        if any(term.ndim for term in terms.values()) and len({term.shape for term in terms.values()}) > 1:
            shapes = {name: tuple(term.shape) for name, term in terms.items()}
            raise ValueError(f"terms of different shapes cannot be added: {shapes}")
        return functools.reduce(torch.add, terms.values())

    def _terms(self, student: Output, teacher: Output, given: Given) -> dict[str, Tensor]:
        return {
            name: weighted(given.measured(loss, student, teacher), weights, given.step)
            for name, (weights, loss) in zip(self.names, self._parts(), strict=True)
        }

    def _parts(self) -> list[Part]:
        return [(weights, loss) for weights, loss in zip(self.weights, self.losses, strict=True)]  # type: ignore[misc]

    def extra_repr(self) -> str:
        """Return the sum as it is written."""
        return self.name


def check_loss(loss: object) -> None:
    """Raise ValueError unless an option is a loss object."""
    if not isinstance(loss, Loss):
        advice = f"{loss.__name__}(...)" if isinstance(loss, type) else "SoftTarget() for instance"
        raise ValueError(f"loss must be a Loss, got {kind(loss)}: {advice}")


def _shown(value: Any) -> str:
    # Roles are kept as a mapping; most have one name for both networks.
    if isinstance(value, dict) and all(key == one for key, one in value.items()):
        return repr(next(iter(value)) if len(value) == 1 else list(value))
    return repr(value)
