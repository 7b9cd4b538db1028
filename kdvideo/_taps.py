"""What hangs on a tapped module: the hook, what it records, and the signal that ends a pass early."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from kdvideo import _hints
from kdvideo._paths import Place

Selector = Callable[[Any], Tensor]
Call = int | Literal["all"]
Run = tuple[nn.Module, Tensor, int | None, bool]  # module, tensor, its version, whether gradients were on
Seen = dict[str, list[Run]]


def check_call(call: Mapping[str, Call], roles: Iterable[str]) -> None:
    """Raise ValueError where a run is neither a number nor "all", or a role of "all" is another layer's role."""
    for role, run in call.items():
        if run != "all" and type(run) is not int:
            raise ValueError(f'call= must be a number of a run or "all", got {run!r} for the role {role!r}')
        if run == "all" and (taken := [other for other in roles if other.startswith(f"{role}[")]):
            raise ValueError(
                f'call={{{role!r}: "all"}} makes the roles {role}[0] and so on, got {taken} too: rename one'
            )


class Recorder(threading.local):
    """Captures of one extractor in the running forward pass, per thread; None between passes."""

    def __init__(self) -> None:
        self.seen: Seen | None = None

    def __reduce__(self) -> tuple[type[Recorder], tuple[()]]:
        return Recorder, ()


class EveryLayerRan(BaseException):
    """Signal that ends a forward pass early; not an Exception, so that no model swallows it."""

    def __init__(self, recorder: Recorder) -> None:
        self.recorder = recorder


class Tap:
    """The hook on one layer. A class and not a closure, so that it pickles and follows deepcopy."""

    stop_at: int | None = None

    def __init__(
        self,
        recorder: Recorder,
        role: str,
        place: Place,
        select: Selector | None,
        call: Call | None,
        needs_grad: bool,
    ) -> None:
        self.recorder, self.role, self.place, self.select = recorder, role, place, select
        self.call, self.needs_grad = call, needs_grad
        self.name = f"layer {place.name!r} (role {role!r})"
        self.parts = place.path.split(".") if place.path else []

    @property
    def __name__(self) -> str:
        # The first thing that TorchScript asks of a hook, which it cannot compile.
        raise AttributeError(
            f"{self.name} has a hook, which TorchScript cannot compile: script the module that "
            "copy.deepcopy(student).remove() returns"
        )

    def put_on(self, module: nn.Module) -> RemovableHandle:
        """Hook the module: before it runs where an input is tapped, for it may overwrite that in place."""
        if self.place.is_input:
            return module.register_forward_pre_hook(self.before, with_kwargs=True)
        return module.register_forward_hook(self)

    def before(self, module: nn.Module, inputs: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self(module, inputs, {**dict(enumerate(inputs)), **kwargs})

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        seen = self.recorder.seen
        if seen is None:
            return
        for key in self.place.keys:
            output = _hints.item(output, key, self.name)
        tensor = output if self.select is None else self.select(output)
        if not isinstance(tensor, Tensor) or tensor.is_nested:
            raise self.refused(tensor)
        compiling = torch.compiler.is_compiling()
        if compiling or tensor.is_inference():
            # Compiled graphs and inference mode keep no version counter: a copy cannot be overwritten later.
            run: Run = (module, tensor.clone(), None, torch.is_grad_enabled())
        else:
            run = (module, tensor, tensor._version, torch.is_grad_enabled())
        if self.role in seen:
            seen[self.role].append(run)
        else:
            seen[self.role] = [run]
        # A compiler drops the unused rest of the graph by itself.
        if self.stop_at is not None and len(seen) == self.stop_at and not compiling:
            raise EveryLayerRan(self.recorder)

    def refused(self, output: Any) -> ValueError:
        """Return the error for an output that is no ordinary tensor."""
        if isinstance(output, Tensor):
            advice = (
                "nn.TransformerEncoder packs padded batches in evaluation: build it with enable_nested_tensor=False"
            )
            return ValueError(f"{self.name} must give a padded tensor, got a nested one: {advice}")
        key = _hints.key_of_tensor(output)
        advice = f"say which tensor is meant, select={{{self.role!r}: ...}}"
        if output is None:
            advice = _hints.FUSED
        elif key is not None and self.select is None:
            advice = f"say which tensor is meant, as in {{{self.place.name + f'[{key!r}]'!r}: {self.role!r}}}"
        return ValueError(f"{self.name} must give a tensor, got {_hints.kind(output)}: {advice}")
