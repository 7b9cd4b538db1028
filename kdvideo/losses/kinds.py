"""The kinds of losses: on the logits of two `Output`s, on the student's alone, and on features."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence, Set
from typing import TypeVar

import torch
from torch import Tensor

from kdvideo._hints import kind as in_words
from kdvideo._numbers import check_numbers
from kdvideo.features import Output
from kdvideo.losses._given import Given
from kdvideo.losses.base import Loss, WeightedSum, check_loss

Roles = str | Sequence[str] | Mapping[str, str]


class _OnLogits(Loss):
    """Holds the class axis and looks once whether logits are logits."""

    softmax = True
    axis_matters = True
    _looked = False

    def __init__(self, *, dim: int = 1, name: str | None = None) -> None:
        super().__init__(name=name)
        check_numbers("a whole number", lambda axis: isinstance(axis, int), "1, or -1 for tokens", dim=dim)
        self.dim = dim

    def _look(self, student: Tensor, teacher: Tensor | None = None) -> None:
        # Looking waits for the device: the first call is enough, and a compiled graph must not.
        if torch.compiler.is_compiling() or self._looked:
            return
        self._looked = True
        if self.softmax and self.axis_matters:
            warn_of_tokens(student, self.dim)
        for who, logits in (("student", student), ("teacher", teacher)):
            if self.softmax and logits is not None:
                warn_of_probabilities(logits, who, self.dim)


OnLogits = TypeVar("OnLogits", bound=_OnLogits)


class LogitLoss(_OnLogits):
    """A loss on the logits of both: a subclass defines `between`.

    The first call warns (UserWarning) of logits that look like probabilities, which a second softmax would flatten, and
    of (B, N, K) with fewer positions than classes where `dim` is not -1.

    Args:
        dim: the class axis: 1 for (B, K) and (B, K, H, W), -1 for tokens (B, N, K).
        name: of the term.

    Attributes:
        softmax: False in a subclass whose logits no softmax follows: there is nothing to warn of.
        axis_matters: False where the value is the same whatever the class axis, as the mean over all.
    """

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the loss on the logits of both.

        Raises:
            ValueError: one of them has no logits.
        """
        if student.logits is None or teacher.logits is None:
            who = "student" if student.logits is None else "teacher"
            raise without_logits(who)
        self._look(student.logits, teacher.logits)
        return self.between(student.logits, teacher.logits, given)

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute the loss between two tensors of logits."""
        raise NotImplementedError


class StudentLogitLoss(_OnLogits):
    """A loss on the student's logits alone, whatever the teacher's `Output` holds: a subclass defines `of`.

    Args:
        dim: the class axis.
        name: of the term.
    """

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the loss on the logits of the student.

        Raises:
            ValueError: it has no logits.
        """
        if student.logits is None:
            raise without_logits("student")
        self._look(student.logits)
        return self.of(student.logits, given)

    def of(self, student: Tensor, given: Given) -> Tensor:
        """Compute the loss of a tensor of logits."""
        raise NotImplementedError


class FeatureLoss(Loss):
    """A loss on the features of one role, or the sum over several: a subclass sets `kind` and defines `between`.

    Args:
        roles: a role; several; or a mapping from the student's roles to the teacher's, where they differ.
        masked: whether the mask and the normalizer of a call hold for these features.
        name: of the term; None: the kind and the roles, as in "feature_mse[2c,4c]".

    Raises:
        ValueError: no role, a set of roles, which has no order, or roles that are no texts.
    """

    kind: str

    def __init__(self, roles: Roles, *, masked: bool = True, name: str | None = None) -> None:
        if isinstance(roles, str):
            roles = (roles,)
        if isinstance(roles, Set):
            raise ValueError(f"roles must be in an order, got a set: a tuple, {tuple(sorted(map(str, roles)))}")
        if not isinstance(roles, (Sequence, Mapping)) or not all(isinstance(role, str) for role in roles):
            raise ValueError(f'roles must be names of features, got {in_words(roles)}: "4c", as layers= has it')
        self_roles = dict(roles) if isinstance(roles, Mapping) else {role: role for role in roles}
        if not all(isinstance(role, str) for role in self_roles.values()):
            raise ValueError(
                f"roles must map each role of the student to one of the teacher, got {self_roles}: add up one loss for "
                "each pair"
            )
        if not self_roles:
            raise ValueError("roles must name at least one feature, got none")
        shown = [a if a == b else f"{a}:{b}" for a, b in self_roles.items()]
        super().__init__(name=name or f"{self.kind}[{','.join(shown)}]")
        self.roles, self.masked = self_roles, masked

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the sum of the losses over the roles.

        Raises:
            ValueError: the student or the teacher lacks a role.
        """
        pairs = self.pairs(student, teacher)
        if not self.masked:
            given = given.without_mask()
        given.note_vectors(pairs)
        values = [self.between(ours, theirs, given) for ours, theirs in pairs]
        return values[0] if len(values) == 1 else torch.stack(values).sum(0)

    def pairs(self, student: Output, teacher: Output) -> list[tuple[Tensor, Tensor]]:
        """Return the student's and the teacher's feature of every role.

        Raises:
            ValueError: the student or the teacher lacks a role.
        """
        return [
            (feature_of("student", student, ours), feature_of("teacher", teacher, theirs))
            for ours, theirs in self.roles.items()
        ]

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute the loss between two features of one role."""
        raise NotImplementedError


def on_logits(loss: object, kinds: tuple[type[OnLogits], ...], around: str) -> OnLogits:
    """Return a loss; ValueError unless it is one of the kinds that another, `around` it, takes."""
    check_loss(loss)
    if isinstance(loss, kinds):
        return loss
    advice = "choose one such as SoftTarget"
    if isinstance(loss, WeightedSum):
        advice = f"put {around} around the terms of a sum one by one"
    elif isinstance(getattr(loss, "loss", None), Loss):
        advice = f"put {around} inside, {type(loss).__name__}({around}(...), ...)"
    raise ValueError(f"loss must be one loss on logits, got {type(loss).__name__}: {advice}")


def without_logits(who: str) -> ValueError:
    """Return the error for an output without logits."""
    return ValueError(
        f"the {who} returned no logits: do not build it with logits=None, use SoftTargetTopK for a TeacherCache with "
        "top_k, or drop this loss"
    )


def feature_of(who: str, output: Output, role: str) -> Tensor:
    """Return the feature of a role, or raise ValueError naming the roles that there are."""
    if role not in output.features:
        raise ValueError(
            f"the {who} has no feature {role!r}; its roles are {list(output.features)}: tap a layer with that role, "
            "layers={path: role}, or name one of these"
        )
    return output.features[role]


def warn_of_tokens(logits: Tensor, dim: int) -> None:
    """Warn if three axes look like those of tokens, (B, N, K), and the softmax would be over the positions."""
    if logits.ndim == 3 and dim in (1, -2) and logits.shape[1] < logits.shape[2]:
        warnings.warn(
            f"the class axis of logits {tuple(logits.shape)} is {dim}, so that a softmax is over {logits.shape[1]} "
            f"classes at {logits.shape[2]} positions: pass dim=-1 for tokens (B, N, K), or silence this warning if "
            "this is meant",
            stacklevel=2,
        )


def warn_of_probabilities(logits: Tensor, who: str, dim: int) -> None:
    """Warn if the first rows of what should be logits are non-negative and sum to 1."""
    if type(logits) is not Tensor or logits.is_meta or not logits.is_floating_point():
        return
    if not -logits.ndim <= dim < logits.ndim or logits.shape[dim] < 2:
        return
    rows = logits.detach()
    # A look at all rows of a large vocabulary would cost time and memory.
    for axis in range(rows.ndim):
        if axis != dim % rows.ndim:
            rows = rows.narrow(axis, 0, min(4, rows.shape[axis]))
    totals = rows.sum(dim, dtype=torch.float32)
    try:
        alike = totals.numel() > 0 and bool((rows >= 0).all() & ((totals - 1).abs() < 0.01).all())
    except RuntimeError:  # no values to look at, as inside vmap
        return
    if alike:
        warnings.warn(
            f"the {who}'s logits are non-negative and sum to 1 over axis {dim}, as probabilities do: return the scores "
            "before the softmax, or their log, or silence this warning if logits they are",
            stacklevel=2,
        )
