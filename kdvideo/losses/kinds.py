"""The two kinds of losses: on the logits of two `Output`s, and on their features."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from kdvideo.features import Output
from kdvideo.losses.base import Given, Loss

Roles = str | Sequence[str] | Mapping[str, str]


class LogitLoss(Loss):
    """A loss on logits: a subclass defines `between`.

    Args:
        dim: the class axis: 1 for (B, K) and (B, K, H, W), -1 for tokens (B, N, K).
        name: of the term.
    """

    def __init__(self, *, dim: int = 1, name: str | None = None) -> None:
        super().__init__(name=name)
        self.dim = dim

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the loss on the logits of both.

        Raises:
            ValueError: one of them has no logits.
        """
        if student.logits is None or teacher.logits is None:
            who = "student" if student.logits is None else "teacher"
            raise ValueError(f"the {who} returned no logits: do not build it with logits=None, or drop this loss")
        return self.between(student.logits, teacher.logits, given)

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute the loss between two tensors of logits."""
        raise NotImplementedError


class FeatureLoss(Loss):
    """A loss on the features of one role, or the sum over several: a subclass sets `kind` and defines `between`.

    Args:
        roles: a role; several; or a mapping from the student's roles to the teacher's, where they differ.
        name: of the term; None: the kind and the roles, as in "feature_mse[2c,4c]".

    Raises:
        ValueError: no role.
    """

    kind: str

    def __init__(self, roles: Roles, *, name: str | None = None) -> None:
        if isinstance(roles, str):
            roles = (roles,)
        self_roles = dict(roles) if isinstance(roles, Mapping) else {role: role for role in roles}
        if not self_roles:
            raise ValueError("roles must name at least one feature, got none")
        shown = [a if a == b else f"{a}:{b}" for a, b in self_roles.items()]
        super().__init__(name=name or f"{self.kind}[{','.join(shown)}]")
        self.roles = self_roles

    def compute(self, student: Output, teacher: Output, given: Given) -> Tensor:
        """Compute the sum of the losses over the roles.

        Raises:
            ValueError: the student or the teacher lacks a role.
        """
        values = []
        for ours, theirs in self.roles.items():
            pair = feature_of("student", student, ours), feature_of("teacher", teacher, theirs)
            values.append(self.between(*pair, given))
        return values[0] if len(values) == 1 else torch.stack(values).sum(0)

    def between(self, student: Tensor, teacher: Tensor, given: Given) -> Tensor:
        """Compute the loss between two features of one role."""
        raise NotImplementedError


def feature_of(who: str, output: Output, role: str) -> Tensor:
    """Return the feature of a role, or raise ValueError naming the roles that there are."""
    if role not in output.features:
        raise ValueError(f"the {who} has no feature {role!r}; its roles are {list(output.features)}")
    return output.features[role]
