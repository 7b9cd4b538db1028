"""Run a model and also return the outputs of named layers: the only file of kdvideo with hooks."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from kdvideo._paths import Layers, roles_to_paths

Selector = Callable[[Any], Tensor]


class Output(NamedTuple):
    """Logits of a teacher or a student, and its features by role.

    A plain tuple, so it passes through DDP, FSDP2, `torch.compile`, pickle and pytrees unharmed.

    Args:
        logits: pre-softmax scores, (B, K); None where no logits were asked for.
        features: role -> output of the layer with that role, for instance (B, C, T, H, W).
        raw: what the network itself returned, such as an object with a loss of its own or a detector's losses; None
            after an early exit and where a `TeacherCache` was read.

    Examples:
        >>> Output(torch.zeros(2, 5), {"4c": torch.zeros(2, 512, 4, 14, 14)}).features["4c"].shape
        torch.Size([2, 512, 4, 14, 14])
    """

    logits: Tensor | None
    features: dict[str, Tensor]
    raw: Any = None


class CaptureError(RuntimeError):
    """A tapped layer gave no usable tensor in this forward pass; the message names it and says what to do."""


def itself(output: Any) -> Any:
    """Return what it is given: the default of `logits=` and `select=`, for outputs that are tensors."""
    return output


class FeatureExtractor(nn.Module):
    """A model that returns its logits together with the outputs of named layers.

    The hooks are put on once, here, and record only while this wrapper's own forward runs; nothing is kept
    afterwards. No output bit and no state_dict key of `model` changes. Wrap first, compile after:
    `torch.compile(FeatureExtractor(model, layers))`.

    Args:
        model: any module; held as `.model`.
        layers: module path -> role, such as {"mixed_4c": "4c"}, or -> several roles, which get the same feature; or
            a sequence of paths, each its own role. Names of the model's own `layer_names` mapping (short name ->
            module path) are understood too.
        select: role -> function of that layer's output that gives the tensor, where it is not one already.
        logits: function of the model's output that gives the logits; None where none are wanted. By default the
            output itself or, where it is a dictionary or an object, what is called `logits` in it.
        early_exit: stop the forward pass as soon as every tapped layer has run. Needs `logits=None`.
            A layer that would run a second time after that point goes unnoticed.
        without_gradient: roles of layers that the model itself runs under `no_grad`, such as a momentum branch.

    Raises:
        ValueError: an unknown layer (the closest names are listed), two layers with one role, a selector
            for an unknown role, a model that is compiled already, or an early exit with logits wanted.
        CaptureError: in forward, when a layer did not run, ran twice, was replaced by another module since, was
            overwritten in place afterwards, or ran without gradient, as inside a reentrant checkpoint.

    Examples:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
        >>> output = FeatureExtractor(net, {"1": "hidden"})(torch.zeros(2, 3))
        >>> output.logits.shape, output.features["hidden"].shape
        (torch.Size([2, 5]), torch.Size([2, 4]))
    """

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = (),
        *,
        select: Mapping[str, Selector] = MappingProxyType({}),
        logits: Selector | None = itself,
        early_exit: bool = False,
        without_gradient: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.model = model
        self.paths = roles_to_paths(model, layers)
        for option, roles in (("select", select), ("without_gradient", without_gradient)):
            if unknown := sorted(set(roles) - set(self.paths)):
                raise ValueError(f"{option}= names the roles {unknown}, but the roles are {list(self.paths)}")
        if early_exit and (logits is not None or not self.paths):
            raise ValueError("early_exit=True needs layers and logits=None: the logits come after every layer")
        self._select_logits, self._without_gradient = logits, frozenset(without_gradient)
        self._recorder = _Recorder()
        self._handles, self._places = [], dict[str, tuple[list[str], int]]()
        for role, path in self.paths.items():
            tap = _Tap(self._recorder, role, select.get(role, itself), len(self.paths) if early_exit else None)
            handle = model.get_submodule(path).register_forward_hook(tap)
            self._handles.append(handle)
            self._places[role] = (path.split(".") if path else [], handle.id)

    def forward(self, *inputs: Any, **kwargs: Any) -> Output:
        """Run the model on the given inputs and return its `Output`."""
        raw, seen = self._record(inputs, kwargs)
        return Output(self._logits(raw), self._features(seen), raw)

    def remove(self) -> nn.Module:
        """Take the hooks off again and return the model as it was given."""
        for handle in self._handles:
            handle.remove()
        return self.model

    def _record(self, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, _Seen]:
        seen: _Seen = {}
        self._recorder.seen = seen
        try:
            return self.model(*inputs, **kwargs), seen
        except _EveryLayerRan as stop:
            if stop.recorder is not self._recorder:
                raise
            return None, seen
        finally:
            self._recorder.seen = None

    def _logits(self, raw: Any) -> Tensor | None:
        if self._select_logits is None:
            return None
        logits = self._select_logits(raw)
        if self._select_logits is itself and not isinstance(logits, Tensor):
            logits = logits.get("logits", logits) if isinstance(logits, Mapping) else getattr(logits, "logits", logits)
        if not isinstance(logits, Tensor):
            raise ValueError(f"the logits are {_kind(logits)}; say which tensor is meant: logits={_example(logits)}")
        return logits

    def _features(self, seen: _Seen) -> dict[str, Tensor]:
        return {role: self._checked(role, path, seen.get(role, ())) for role, path in self.paths.items()}

    def _is_tapped(self, role: str) -> bool:
        """Return whether the module that is at the role's path now has its hook."""
        parts, number = self._places[role]
        module: Any = self.model
        for name in parts:
            module = getattr(module, name, None)  # a compiled module passes this on to the one inside
        return isinstance(module, nn.Module) and number in module._forward_hooks

    def _checked(self, role: str, path: str, captures: Sequence[_Capture]) -> Tensor:
        if not captures:
            raise CaptureError(
                f"layer {path!r} (role {role!r}) did not run in this forward pass: tap a layer that the "
                "model calls, wrap again if the layer was replaced, and wrap before torch.compile, not after"
            )
        if len(captures) > 1:
            raise CaptureError(
                f"layer {path!r} (role {role!r}) ran {len(captures)} times in a forward pass; its output is "
                "ambiguous: tap a layer that runs once, such as the block around it"
            )
        if not torch.compiler.is_compiling() and not self._is_tapped(role):
            raise CaptureError(
                f"layer {path!r} (role {role!r}) is another module than when it was tapped, so that what ran is only a "
                "part of it: wrap again after adapters (LoRA) are added or layers are replaced"
            )
        tensor, version, had_grad = captures[0]
        if version is not None and tensor._version != version:
            raise CaptureError(
                f"the output of layer {path!r} (role {role!r}) was overwritten in place by a later operation"
                f": tap that later layer, set inplace=False in it, or keep a copy, select={{{role!r}: torch.clone}}"
            )
        asked = torch.is_grad_enabled() and role not in self._without_gradient
        if asked and not had_grad and any(p.requires_grad for p in self.model.parameters()):
            raise CaptureError(
                f"layer {path!r} (role {role!r}) ran without gradient, as inside a reentrant checkpoint: use "
                "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), or tap the checkpointed block; where the "
                f"model means it, as in a momentum branch, say without_gradient=[{role!r}]"
            )
        return tensor


class _Capture(NamedTuple):
    tensor: Tensor
    version: int | None
    had_grad: bool


_Seen = dict[str, list[_Capture]]


class _Recorder(threading.local):
    """Captures of one extractor in the running forward pass, per thread; None between passes."""

    def __init__(self) -> None:
        self.seen: _Seen | None = None

    def __reduce__(self) -> tuple[type[_Recorder], tuple[()]]:
        return _Recorder, ()


class _EveryLayerRan(BaseException):
    """Signal that ends a forward pass early; not an Exception, so that no model swallows it."""

    def __init__(self, recorder: _Recorder) -> None:
        self.recorder = recorder


class _Tap:
    """The forward hook on one layer. A class and not a closure, so that it pickles and follows deepcopy."""

    def __init__(self, recorder: _Recorder, role: str, select: Selector, stop_at: int | None) -> None:
        self.recorder, self.role, self.select, self.stop_at = recorder, role, select, stop_at

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen = self.recorder.seen
        if seen is not None:
            tensor = self.select(output)
            if not isinstance(tensor, Tensor):
                raise ValueError(
                    f"the layer with role {self.role!r} gives {_kind(tensor)}; say which tensor is meant: "
                    f"select={{{self.role!r}: {_example(tensor)}}}"
                )
            seen.setdefault(self.role, []).append(_capture(tensor))
            # A compiler drops the unused rest of the graph by itself.
            if len(seen) == self.stop_at and not torch.compiler.is_compiling():
                raise _EveryLayerRan(self.recorder)


def _capture(tensor: Tensor) -> _Capture:
    # Compiled graphs and inference mode keep no version counter: a copy cannot be overwritten later.
    if torch.compiler.is_compiling() or tensor.is_inference():
        return _Capture(tensor.clone(), None, torch.is_grad_enabled())
    return _Capture(tensor, tensor._version, torch.is_grad_enabled())


def _example(output: Any) -> str:
    """Return a selector that could be meant for an output that is no tensor."""
    if output is None:
        return '...; attention maps are None where attention is fused: build the model with attn_implementation="eager"'
    if isinstance(output, Mapping) and output:
        return f"lambda output: output[{next(iter(output))!r}]"
    fields = [name for name, value in vars(output).items() if isinstance(value, Tensor)] if _has_fields(output) else []
    return f"lambda output: output.{fields[0]}" if fields else "lambda output: output[0]"


def _has_fields(output: Any) -> bool:
    return hasattr(output, "__dict__") and not isinstance(output, (nn.Module, type))


def _kind(output: Any) -> str:
    if isinstance(output, Mapping):
        return f"a {type(output).__name__} with keys {list(output)}"
    if isinstance(output, (tuple, list)):
        return f"a {type(output).__name__} of length {len(output)}"
    return f"a {type(output).__name__}"
