"""The teacher: frozen, always in evaluation mode, never with gradient."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils import _pytree as pytree

from kdvideo._checks import check_device, check_dtype
from kdvideo._hints import check_module
from kdvideo._paths import Layers
from kdvideo._sharing import enter_teacher
from kdvideo.features import Call, FeatureExtractor, Output, Selector, itself

_CPU = torch.device("cpu")


class Teacher(FeatureExtractor):
    """A network to learn from: its parameters, buffers and modes stay bit-equal, whatever the loop does.

    It is a separate object: the student's parameters, buffers and state_dict do not contain it, and an
    evaluation that calls only the student never runs it. It runs under `no_grad` and not under
    `inference_mode`, whose tensors cannot be saved for the backward pass of a loss.

    A module that holds it, such as a LightningModule, moves it to its device and leaves it out of its state_dict, and
    loads a checkpoint without it; an optimizer gets `[p for p in module.parameters() if p.requires_grad]`.

    Args:
        model: the trained network. It is frozen in place; `release` gives it back as it was. With `dtype`
            a copy of it is frozen and cast instead.
        layers: as in `FeatureExtractor`.
        select: as in `FeatureExtractor`.
        logits: as in `FeatureExtractor`.
        early_exit: as in `FeatureExtractor`.
        call: as in `FeatureExtractor`.
        dtype: compute in this dtype with autocast off: floating-point inputs are cast to it, outputs come
            back in the dtype of the first floating-point input, or in this one where all inputs are integers.
            `Output.raw` stays as the network gave it. Default: whatever the model and autocast say.
        device: keep the network on this device, whatever device a module that holds it moves to; inputs are moved to
            it, logits and features back to the device of the first input tensor. Default: where the network is.
        batch_statistics: normalize by the statistics of the batch in every BatchNorm, and leave the running ones as
            they are. For inputs that differ from those the teacher was trained on, such as the flow of another
            estimator, or to see the student's augmented views as a momentum encoder does. Batches must be large and
            mixed: a prediction then depends on the other samples.

    Attributes:
        saved: False; set it to True where the state_dict of a module that holds the teacher must have its weights.
        model: the frozen network; with `dtype` a copy of the one that was given.
        device: as given, or None.
        dtype: as given, or None.

    Raises:
        ValueError, CaptureError: as `FeatureExtractor`; a model that is no module; batch statistics without
            a BatchNorm; a device that this machine lacks, or a dtype that is not floating-point.

    Warns:
        UserWarning: the teacher freezes parameters that a `Student` learns.

    Examples:
        >>> teacher = Teacher(nn.Linear(3, 5)).train()
        >>> teacher.training, teacher(torch.zeros(2, 3)).logits.requires_grad
        (False, False)

    Source:
        For `batch_statistics`: Li et al., "Revisiting Batch Normalization For Practical Domain Adaptation", 2016,
        arXiv 1603.04779.
    """

    saved = False
    device: torch.device | None = None

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = (),
        *,
        select: Mapping[str, Selector | str | int] = MappingProxyType({}),
        logits: Selector | str | int | None = itself,
        dtype: torch.dtype | None = None,
        device: torch.device | str | None = None,
        batch_statistics: bool = False,
        early_exit: bool = False,
        call: Mapping[str, Call] = MappingProxyType({}),
    ) -> None:
        check_module(model)
        if device is not None:
            device = check_device(device)
        if dtype is not None:
            check_dtype(dtype)
            model = copy.deepcopy(model).to(dtype)
        super().__init__(model, layers, select=select, logits=logits, early_exit=early_exit, call=call)
        if batch_statistics and not any(isinstance(module, _BatchNorm) for module in model.modules()):
            self.remove()
            raise ValueError("batch_statistics=True needs a BatchNorm in the network, got none: leave it out")
        self.dtype, self.batch_statistics = dtype, batch_statistics
        self._modes = [module.training for module in model.modules()]
        self._required_grad = [parameter.requires_grad for parameter in model.parameters()]
        try:
            enter_teacher(model)
            self.requires_grad_(False).eval()
            if device is not None:
                self.device = device
                self.to(device)
        except BaseException:
            self.release()
            raise

    def train(self, mode: bool = True) -> Teacher:
        """Stay in evaluation mode, whatever `mode` says.

        Args:
            mode: has no effect.

        Returns:
            The teacher.
        """
        try:
            return super().train(False)
        except NotImplementedError:  # an exported program is in the mode that it was exported in
            return self

    @torch.no_grad()
    def forward(self, *inputs: Any, **kwargs: Any) -> Output:
        """Run the frozen network on the given inputs, without gradient.

        Args:
            inputs: what the network takes.
            kwargs: what it takes by keyword.

        Returns:
            Its `Output`, which carries no gradient.

        Raises:
            ValueError: inputs on another device than the teacher, which has no `device`.
        """
        # Modules that the student shares, or that somebody switched, get their mode back.
        training = _training(self)
        for module in training:
            module.training = False
        norms = [module for module in self.modules() if isinstance(module, _BatchNorm)] if self.batch_statistics else []
        tracking = [norm.track_running_stats for norm in norms]
        for norm in norms:
            norm.training, norm.track_running_stats = True, False
        try:
            return self._run(inputs, kwargs)
        except RuntimeError as error:
            self._check_devices(inputs, kwargs, error)
            raise
        finally:
            for norm, tracked in zip(norms, tracking, strict=True):
                norm.training, norm.track_running_stats = False, tracked
            for module in training:
                module.training = True

    def _shown(self) -> dict[str, Any]:
        options = {"dtype": self.dtype, "device": self.device, "batch_statistics": self.batch_statistics}
        return super()._shown() | {name: value for name, value in options.items() if value}

    def release(self) -> nn.Module:
        """Restore the network as it was given: training modes, requires_grad, no hooks.

        Returns:
            The network; with `dtype` the copy.

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
        """Collect the state of the teacher.

        Args:
            args: as in `torch.nn.Module.state_dict`.
            kwargs: as there.

        Returns:
            Name -> tensor; nothing of the teacher for a module that holds it, unless `saved` is True.
        """
        destination = kwargs.get("destination")  # the holder's, which every part of it fills
        return super().state_dict(*args, **kwargs) if self.saved or destination is None else destination

    def _load_from_state_dict(self, state_dict: dict[str, Any], prefix: str, *args: Any) -> None:
        if prefix and not self.saved and not any(name.startswith(prefix) for name in state_dict):
            # What the holder's checkpoint leaves out is as it is here; strict loading finds every name.
            state_dict.update(self.state_dict(prefix=prefix, keep_vars=True))
        super()._load_from_state_dict(state_dict, prefix, *args)

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        # A module that holds the teacher moves all its parts to one device.
        device = self.device
        return super()._apply(fn if device is None else lambda tensor: fn(tensor).to(device), recurse)  # type: ignore[no-untyped-call]

    def _run(self, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> Output:
        if self.dtype is None and self.device is None:
            return super().forward(*inputs, **kwargs)
        tensors = _tensors((inputs, kwargs))
        floating = [leaf for leaf in tensors if leaf.is_floating_point()]
        home = tensors[0].device if tensors else self.device
        dtype = floating[0].dtype if floating else self.dtype
        inputs, kwargs = _moved((inputs, kwargs), self.device, self.dtype)
        with nullcontext() if self.dtype is None else torch.autocast((self.device or home or _CPU).type, enabled=False):
            output: Output = super().forward(*inputs, **kwargs)
        logits, features = _moved((output.logits, output.features), self.device and home, self.dtype and dtype)
        return Output(logits, features, output.raw)

    def _check_devices(self, inputs: tuple[Any, ...], kwargs: dict[str, Any], error: RuntimeError) -> None:
        """Raise ValueError if inputs and teacher are on different devices."""
        theirs = {str(tensor.device) for tensor in _tensors((inputs, kwargs))}
        ours = {str(tensor.device) for tensor in (*self.parameters(), *self.buffers())}
        if self.device is None and theirs and ours and not theirs & ours:
            there, here = ", ".join(sorted(theirs)), ", ".join(sorted(ours))
            raise ValueError(
                f"inputs must be on the teacher's device, {here}, got {there}: teacher.to({there!r}), or "
                f"Teacher(..., device={here!r}), which moves inputs there and outputs back"
            ) from error


def _training(root: nn.Module) -> list[nn.Module]:
    """Return the modules in training mode, shared ones once for each place; `modules()` takes six times as long."""
    found, every = [], [root]
    for module in every:  # grows as it goes
        if module.training:
            found.append(module)
        if module._modules:
            for child in module._modules.values():
                if child is not None:
                    every.append(child)
    return found


def _tensors(tree: Any) -> list[Tensor]:
    return [leaf for leaf in pytree.tree_leaves(tree) if isinstance(leaf, Tensor)]


def _moved(tree: Any, device: torch.device | None, dtype: torch.dtype | None) -> Any:
    """Return the tree with its tensors on a device and its floating-point tensors in a dtype; None: as they are."""

    def moved(leaf: Any) -> Any:
        if not isinstance(leaf, Tensor):
            return leaf
        return leaf.to(device or leaf.device, dtype if dtype and leaf.is_floating_point() else leaf.dtype)

    return pytree.tree_map(moved, tree)
