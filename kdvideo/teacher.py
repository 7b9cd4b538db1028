"""The teacher: frozen, always in evaluation mode, never with gradient."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from kdvideo._paths import Layers
from kdvideo.features import FeatureExtractor, Output, Selector, itself


class Teacher(FeatureExtractor):
    """A network to learn from: its parameters, buffers and modes stay bit-equal, whatever the loop does.

    It is a separate object: the student's parameters, buffers and state_dict know nothing of it, and an
    evaluation that calls only the student never runs it. It runs under `no_grad` and not under
    `inference_mode`, whose tensors cannot be saved for the backward pass of a loss.

    A module that holds it, such as a LightningModule, moves it to its device and leaves it out of its state_dict, and
    loads a checkpoint without it; an optimizer gets `[p for p in module.parameters() if p.requires_grad]`.

    Args:
        model: the trained network. It is frozen in place; `release` gives it back as it was. With `dtype`
            a copy of it is frozen and cast instead.
        layers, select, logits, early_exit: as in `FeatureExtractor`.
        dtype: compute in this dtype with autocast off: floating-point inputs are cast to it, outputs come
            back in the dtype of the first floating-point input, or in this one where all inputs are integers.
            Default: whatever the model and autocast say.

    Attributes:
        saved: False; set it to True where the state_dict of a module that holds the teacher must have its weights.

    Raises:
        ValueError, CaptureError: as `FeatureExtractor`.

    Examples:
        >>> teacher = Teacher(nn.Linear(3, 5)).train()
        >>> teacher.training, teacher(torch.zeros(2, 3)).logits.requires_grad
        (False, False)
    """

    saved = False

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = (),
        *,
        select: Mapping[str, Selector] = MappingProxyType({}),
        logits: Selector | None = itself,
        dtype: torch.dtype | None = None,
        early_exit: bool = False,
    ) -> None:
        if dtype is not None:
            model = copy.deepcopy(model).to(dtype)
        super().__init__(model, layers, select=select, logits=logits, early_exit=early_exit)
        self.dtype = dtype
        self._modes = [module.training for module in model.modules()]
        self._required_grad = [parameter.requires_grad for parameter in model.parameters()]
        self.requires_grad_(False).eval()

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever `mode` says."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, *inputs: Any, **kwargs: Any) -> Output:
        """Run the frozen network on the given inputs and return its `Output`, which carries no gradient."""
        training = [module for module in self.modules() if module.training]
        # Modules that the student shares, or that somebody switched, get their mode back.
        for module in training:
            module.training = False
        try:
            if self.dtype is None:
                return super().forward(*inputs, **kwargs)
            return self._forward_as(self.dtype, inputs, kwargs)
        finally:
            for module in training:
                module.training = True

    def release(self) -> nn.Module:
        """Return the network as it was given: training modes, requires_grad, no hooks.

        Examples:
            >>> net = nn.Linear(3, 5)
            >>> Teacher(net).release() is net, net.training, net.weight.requires_grad
            (True, True, True)
        """
        for module, mode in zip(self.model.modules(), self._modes, strict=True):
            module.training = mode
        for parameter, required in zip(self.model.parameters(), self._required_grad, strict=True):
            parameter.requires_grad_(required)
        return self.remove()

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        """Return the state of the teacher; nothing where a module that holds it, and does not save it, asks."""
        destination = kwargs.get("destination")  # the holder's, which every part of it fills
        return super().state_dict(*args, **kwargs) if self.saved or destination is None else destination

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if prefix and not self.saved and not any(name.startswith(prefix) for name in state_dict):
            # What the holder's checkpoint leaves out is as it is here; strict loading finds every name.
            state_dict.update(self.state_dict(prefix=prefix, keep_vars=True))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _forward_as(self, dtype: torch.dtype, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Output:
        tensors = [leaf for leaf in pytree.tree_leaves((inputs, kwargs)) if isinstance(leaf, Tensor)]
        floating = [leaf for leaf in tensors if leaf.is_floating_point()]
        back = floating[0].dtype if floating else dtype
        device = tensors[0].device if tensors else torch.device("cpu")
        with torch.autocast(device.type, enabled=False):
            inputs, kwargs = _cast((inputs, kwargs), dtype)
            output: Output = _cast(super().forward(*inputs, **kwargs), back)
        return output


def _is_floating(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.is_floating_point()


def _cast(tree: Any, dtype: torch.dtype) -> Any:
    return pytree.tree_map(lambda leaf: leaf.to(dtype) if _is_floating(leaf) else leaf, tree)
