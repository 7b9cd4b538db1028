"""The student: a network, its tapped layers and its projectors in one trainable module."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo._hints import check_mapping, kind
from kdvideo._paths import Layers
from kdvideo._sharing import enter_student, leave_student
from kdvideo.features import Call, FeatureExtractor, Selector, itself, unknown_roles


class Student(FeatureExtractor):
    """A network that learns, with a projector on each feature whose shape differs from the teacher's.

    Optimize `student.parameters()`, which include the projectors; wrap this whole module in DDP, FSDP2 or
    `torch.compile`; save `student.model.state_dict()`, which is the bare network.

    Args:
        model: the network; held as `.model`.
        layers: as in `FeatureExtractor`.
        select: as in `FeatureExtractor`.
        logits: as in `FeatureExtractor`.
        without_gradient: as in `FeatureExtractor`.
        call: as in `FeatureExtractor`.
        projectors: role -> module that maps the student's feature to the teacher's space; see
            `kdvideo.projectors`. Held as `.projectors`, where a "." in a role is written "/"
            and a role that such a dictionary forbids, as "keys", gets one before it. With call="all" it is
            applied to the feature of every run.

    Attributes:
        model: the bare network.
        projectors: an `nn.ModuleDict`; part of the parameters and of the state_dict.

    Raises:
        ValueError: as `FeatureExtractor`; projectors that are no mapping of modules; one for a role that no layer has,
            or two for roles that differ in "." and "/" only; in forward, one that does not take the feature;
            or parameters that a `Teacher` froze, as where both share layers.
        CaptureError: as `FeatureExtractor`.

    Examples:
        >>> import torch
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
        >>> student = Student(net, {"1": "hidden"}, projectors={"hidden": nn.Linear(4, 16)})
        >>> student(torch.zeros(2, 3)).features["hidden"].shape
        torch.Size([2, 16])
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = (),
        *,
        projectors: Mapping[str, nn.Module] = MappingProxyType({}),
        select: Mapping[str, Selector | str | int] = MappingProxyType({}),
        logits: Selector | str | int | None = itself,
        without_gradient: Sequence[str] = (),
        call: Mapping[str, Call] = MappingProxyType({}),
    ) -> None:
        check_mapping("projectors", projectors, '{"role": nn.Linear(8, 16)}')
        for role, module in projectors.items():
            if not isinstance(module, nn.Module):
                raise ValueError(f"the projector for {role!r} must be a module, got {module!r}: nn.Linear(8, 16)")
        super().__init__(model, layers, select=select, logits=logits, without_gradient=without_gradient, call=call)
        try:
            enter_student(self, model)
        except ValueError:
            self.remove()
            raise
        unknown = sorted(set(projectors) - set(self.paths))
        if unknown:
            self.remove()
            raise unknown_roles("projectors", unknown, self.paths)
        self._projector_keys = {role: _key(role) for role in projectors}
        if len(set(self._projector_keys.values())) < len(projectors):
            self.remove()
            raise ValueError(
                f"roles with projectors must differ in more than '.' and '/', got {list(projectors)}: rename one"
            )
        self.projectors = nn.ModuleDict({_key(role): module for role, module in projectors.items()})

    def _projected(self, role: str, feature: Tensor) -> Tensor:
        key = self._projector_keys.get(role)
        if key is None:
            return feature
        try:
            projected: Tensor = self.projectors[key](feature)
        except RuntimeError as error:
            raise ValueError(
                f"the projector for {role!r} must take the student's feature, {tuple(feature.shape)}, got {error}: "
                "kd.projectors.infer finds one that fits"
            ) from error
        return projected

    def _shown(self) -> dict[str, Any]:
        projectors = {role: self.projectors[key] for role, key in self._projector_keys.items()}
        return super()._shown() | ({"projectors": projectors} if projectors else {})

    def remove(self) -> nn.Module:
        """Remove the hooks, so that the network is as it was given and may be a teacher.

        Returns:
            The network, without projectors.
        """
        leave_student(self)
        return super().remove()


def _key(role: str) -> str:
    # ModuleDict forbids dots in its keys, the empty key, and those that are attributes of it, such as "keys".
    key = role.replace(".", "/")
    return key if key and not hasattr(_ATTRIBUTES, key) else "/" + key


_ATTRIBUTES = nn.ModuleDict()


def check_optimizer(student: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Check that an optimizer sees every parameter of a student that learns, its projectors and losses among them.

    Args:
        student: the module that learns: a `Student`, or a `ModuleList` of a student and its criterion.
        optimizer: any optimizer of torch.

    Raises:
        ValueError: parameters that require a gradient are in no group of the optimizer; the message names them.

    Examples:
        >>> student = Student(nn.Linear(3, 4), {"": "f"}, projectors={"f": nn.Linear(4, 8)})
        >>> check_optimizer(student, torch.optim.SGD(student.parameters(), lr=0.1))
        >>> check_optimizer(student, torch.optim.SGD(student.model.parameters(), lr=0.1))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        ValueError: the optimizer must see every parameter that learns, got none of projectors.f.weight...: pass ...
    """
    if not isinstance(student, nn.Module) or not hasattr(optimizer, "param_groups"):
        got = f"{kind(student)} and {kind(optimizer)}"
        raise ValueError(f"student and optimizer must come in this order, got {got}: check_optimizer(student, sgd)")
    seen = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    unseen = [name for name, p in student.named_parameters() if p.requires_grad and id(p) not in seen]
    if unseen:
        shown = ", ".join(unseen[:5]) + (", ..." if len(unseen) > 5 else "")
        raise ValueError(
            f"the optimizer must see every parameter that learns, got none of {shown}: pass student.parameters(), and "
            "criterion.parameters() where a loss has some"
        )
