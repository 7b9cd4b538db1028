"""Run a model and also return the outputs of named layers: the only file of kdvideo with hooks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, nn

from kdvideo import _hints
from kdvideo._hints import check_module
from kdvideo._paths import Layers, roles_to_places
from kdvideo._taps import Call, EveryLayerRan, Recorder, Run, Seen, Selector, Tap, check_call

__all__ = ["Call", "CaptureError", "FeatureExtractor", "Output", "Selector", "itself"]


class Output(NamedTuple):
    """Logits of a teacher or a student, and its features by role.

    A plain tuple, so it passes through DDP, FSDP2, `torch.compile`, pickle and pytrees unchanged.

    Args:
        logits: pre-softmax scores, (B, K); None where no logits were asked for.
        features: role -> output of the layer with that role, for instance (B, C, T, H, W).
        raw: what the network itself returned, such as an object with a loss of its own or a detector's losses; None
            after an early exit and where a `TeacherCache` was read.

    Examples:
        >>> Output(torch.zeros(2, 5), {"4c": torch.zeros(2, 512, 4, 14, 14)}).features["4c"].shape
        torch.Size([2, 512, 4, 14, 14])
    """

    logits: Tensor | Any  # None or a tensor: `Tensor | None` would make every loop assert what it knows
    features: dict[str, Tensor]
    raw: Any = None


class CaptureError(RuntimeError):
    """Signal that a tapped layer gave no usable tensor in this pass; the message names it and says what to do."""


def unknown_roles(option: str, unknown: Sequence[str], roles: Iterable[str]) -> ValueError:
    """Return the error for an option that names roles that no layer has."""
    return ValueError(
        f"{option}= names the roles {unknown}, but the roles are {list(roles)}: name roles of layers=, or tap one more"
    )


def itself(output: Any) -> Any:
    """Return what it is given: the default of `logits=` and `select=`, for outputs that are tensors."""
    return output


class _Short(str):
    """A text that is shown without quotes."""

    def __repr__(self) -> str:
        return str(self)


class FeatureExtractor(nn.Module):
    """A model that returns its logits together with the outputs of named layers.

    The hooks are put on once, here, and record only while this wrapper's own forward runs; nothing is kept
    afterwards. No output bit and no state_dict key of `model` changes. Wrap first, compile after:
    `torch.compile(FeatureExtractor(model, layers))`.

    | layer | what is tapped |
    |---|---|
    | `"blocks.5"` | the output of the module at this path; `""` is the model itself |
    | `net.blocks[5]` | the same, by the module |
    | `"blocks.5[0]"`, `"neck['p3']"` | what the output, a tuple, dictionary or object, holds there; `"a[0]['b']"` |
    | `"head:in"`, `"head:in[1]"`, `"head:in['mask']"` | an input of the module: the first, the second, by keyword |
    | `"blocks.*.attn"` | of every block; a `*` does not cross a dot, and in the role stands for what it matched |

    Args:
        model: any module; held as `.model`.
        layers: layer -> role, such as {"mixed_4c": "4c"} or {"blocks.*": "block.*"}, or -> several roles, which get the
            same feature; or a sequence of layers, each its own role. Names of the model's own `layer_names` mapping
            (short name -> module path) are understood too.
        select: role -> function of what is tapped that gives the tensor, or its key, where it is not one already.
        logits: function of the model's output that gives the logits, or a key, an index or an attribute of it, such as
            "scores" or 0; None where none are wanted. By default the
            output itself or, where it is a dictionary or an object, what is called `logits` in it.
        early_exit: stop the forward pass as soon as every tapped layer has run. Needs `logits=None`.
            A layer that would run a second time after that point goes unnoticed.
        without_gradient: roles of layers that the model itself runs under `no_grad`, such as a momentum branch.
        call: role -> which run of a layer that runs several times in a pass, such as 0 or -1; or "all", which gives the
            roles "role[0]", "role[1]", ... in the order of the runs.

    Attributes:
        model: the network.
        paths: role -> its layer, written with the path of the module, such as "blocks.5[0]".

    Raises:
        ValueError: a model that is no module, an unknown layer (the closest names are listed), two layers with one
            role, options that are no mappings or for an unknown role, a model that is compiled already or holds an
            nn.DataParallel, or an early exit with logits or later runs wanted; in forward, logits that are no tensor.
        CaptureError: in forward, when a layer did not run, ran twice, was replaced by another module since, was
            overwritten in place afterwards, or ran without gradient, as inside a reentrant checkpoint.

    Examples:
        >>> net = nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 5))
        >>> output = FeatureExtractor(net, {"1": "hidden", "1:in": "before"})(torch.zeros(2, 3))
        >>> output.logits.shape, output.features["hidden"].shape
        (torch.Size([2, 5]), torch.Size([2, 4]))
    """

    _removed = False
    _is_replica = False  # torch sets it on the copies of nn.DataParallel

    def __init__(
        self,
        model: nn.Module,
        layers: Layers = (),
        *,
        select: Mapping[str, Selector | str | int] = MappingProxyType({}),
        logits: Selector | str | int | None = itself,
        early_exit: bool = False,
        without_gradient: Sequence[str] = (),
        call: Mapping[str, Call] = MappingProxyType({}),
    ) -> None:
        super().__init__()
        check_module(model)
        for option, given in (("select", select), ("call", call)):
            _hints.check_mapping(option, given, '{"role": 0}')
        if isinstance(without_gradient, str):
            raise ValueError(f"without_gradient must be a sequence of roles, got {without_gradient!r}")
        chosen = {role: _hints.selector(choice, f"select[{role!r}]") for role, choice in select.items()}
        self.model = model
        places = roles_to_places(model, layers)
        self.paths = {role: place.name for role, place in places.items()}
        for option, roles in (("select", select), ("without_gradient", without_gradient), ("call", call)):
            if unknown := sorted(set(roles) - set(self.paths)):
                raise unknown_roles(option, unknown, self.paths)
        check_call(call, self.paths)
        if early_exit and (logits is not None or not places or any(call.values())):
            raise ValueError(
                "early_exit=True needs layers and logits=None, and of every layer the first run: the rest comes later"
            )
        if places and any(isinstance(module, nn.DataParallel) for module in model.modules()):
            raise ValueError(
                "a tapped network must hold no nn.DataParallel, whose copies each see a part of the batch: wrap "
                "network.module, and the wrapper in DistributedDataParallel"
            )
        self._select_logits = _hints.selector(logits, "logits")
        self._early_exit = early_exit
        self._recorder = Recorder()
        self._taps = [
            Tap(self._recorder, role, place, chosen.get(role), call.get(role), role not in without_gradient)
            for role, place in places.items()
        ]
        for tap in self._taps:
            tap.stop_at = len(places) if early_exit else None
        self._handles = [tap.put_on(model.get_submodule(tap.place.path)) for tap in self._taps]

    if TYPE_CHECKING:  # what `student(x)` gives; at run time it is torch's

        def __call__(self, *inputs: Any, **kwargs: Any) -> Output:  # noqa: D102
            ...

    def forward(self, *inputs: Any, **kwargs: Any) -> Output:
        """Run the model on the given inputs.

        Args:
            inputs: what the model takes.
            kwargs: what it takes by keyword.

        Returns:
            An `Output` with the logits, the feature of every role, and what the model returned.
        """
        if self._is_replica and self._taps:
            raise ValueError(
                "nn.DataParallel must not hold a tapped network, of which its threads share the taps: use "
                "DistributedDataParallel, one process for each GPU"
            )
        seen: Seen = {}
        recorder = self._recorder
        recorder.seen = seen
        try:
            raw = self.model(*inputs, **kwargs)
        except EveryLayerRan as stop:
            if stop.recorder is not recorder:
                raise
            raw = None
        finally:
            recorder.seen = None
        return Output(self._logits(raw), self._features(seen), raw)

    def __repr__(self) -> str:
        return _hints.represented(self, **self._shown())

    def _shown(self) -> dict[str, Any]:
        """Return what is worth reading of the wrapper: the network in short, and what is not the default."""
        parameters = sum(parameter.numel() for parameter in self.model.parameters())
        options = {"layers": {path: role for role, path in self.paths.items()}, "early_exit": self._early_exit}
        logits = {} if self._select_logits is itself else {"logits": self._select_logits}
        return {"model": _Short(f"{type(self.model).__name__} of {parameters:,} parameters")} | {
            name: value for name, value in (options | logits).items() if value or name == "logits"
        }

    def remove(self) -> nn.Module:
        """Remove the hooks, so that the model is as it was given.

        Returns:
            The model.

        Examples:
            >>> import copy
            >>> student = FeatureExtractor(nn.Linear(3, 4), {"": "f"})
            >>> bare = copy.deepcopy(student).remove()  # to save, script or export while the training goes on
            >>> len(bare._forward_hooks), len(student.model._forward_hooks)
            (0, 1)
        """
        for handle in self._handles:
            handle.remove()
        self._removed = True
        return self.model

    def _logits(self, raw: Any) -> Tensor | None:
        select = self._select_logits
        if select is None:
            return None
        logits: Any = select(raw)
        if select is itself and not isinstance(logits, Tensor):
            logits = logits.get("logits", logits) if isinstance(logits, Mapping) else getattr(logits, "logits", logits)
        if not isinstance(logits, Tensor):
            raise ValueError(
                f"the logits must be a tensor, got {_hints.kind(logits)}: {_hints.which_logits(logits)}pass "
                "logits=None where there are none; `Output.raw` holds what the network returned"
            )
        return logits

    def _features(self, seen: Seen) -> dict[str, Tensor]:
        features = {}
        for tap in self._taps:
            runs = seen.get(tap.role, ())
            if len(runs) == 1 and tap.call is None:
                features[tap.role] = self._projected(tap.role, self._checked(tap, runs[0]))
            else:
                for role, run in self._chosen(tap, runs).items():
                    features[role] = self._projected(tap.role, self._checked(tap, run))
        return features

    def _projected(self, role: str, feature: Tensor) -> Tensor:
        return feature

    def _chosen(self, tap: Tap, runs: Sequence[Run]) -> dict[str, Run]:
        """Return the wanted runs of a layer under their roles."""
        if not runs and self._removed:
            raise CaptureError(f"{tap.name} is not tapped any more: wrap the model again after remove()")
        if not runs:
            raise CaptureError(
                f"{tap.name} did not run in this forward pass: tap a layer that the model calls, wrap again if the "
                f"layer was replaced, and wrap before torch.compile, not after{self._inside_attention(tap)}"
            )
        if tap.call == "all":
            return {f"{tap.role}[{number}]": run for number, run in enumerate(runs)}
        if tap.call is None:
            raise CaptureError(
                f"{tap.name} ran {len(runs)} times in a forward pass; its output is ambiguous: say which run is meant, "
                f'call={{{tap.role!r}: -1}} or "all", or tap a layer that runs once, such as the block around it'
            )
        if not -len(runs) <= tap.call < len(runs):
            raise CaptureError(f"{tap.name} ran {len(runs)} times in a forward pass, too few for call={tap.call}")
        return {tap.role: runs[tap.call]}

    def _inside_attention(self, tap: Tap) -> str:
        if tap.parts and isinstance(self._module_at(tap.parts[:-1]), nn.MultiheadAttention):
            return "; nn.MultiheadAttention uses the weights of its layers without calling them: tap it itself"
        return ""

    def _module_at(self, parts: Sequence[str]) -> nn.Module | None:
        module: Any = self.model
        for name in parts:
            child = module._modules.get(name)
            module = getattr(module, name, None) if child is None else child  # a compiled module passes this on
            if not isinstance(module, nn.Module):
                return None
        found: nn.Module = module._modules.get("_orig_mod", module)
        return found

    def _checked(self, tap: Tap, run: Run) -> Tensor:
        module, tensor, version, had_grad = run
        if not torch.compiler.is_compiling() and self._module_at(tap.parts) is not module:
            raise CaptureError(
                f"{tap.name} is another module than when it was tapped, so that what ran is only a "
                "part of it: wrap again after adapters (LoRA) are added or layers are replaced"
            )
        if version is not None and tensor._version != version:
            raise CaptureError(
                f"{tap.name} was overwritten in place by a later operation: keep a copy, "
                f"select={{{tap.role!r}: torch.clone}}, or tap what overwrote it, or, where that is a module, "
                "set inplace=False in it"
            )
        if not had_grad and tap.needs_grad and torch.is_grad_enabled():
            self._check_gradient(tap)
        return tensor

    def _check_gradient(self, tap: Tap) -> None:
        if any(p.requires_grad for p in self.model.parameters()):
            raise CaptureError(
                f"{tap.name} ran without gradient, as inside a reentrant checkpoint: use "
                "torch.utils.checkpoint.checkpoint(..., use_reentrant=False), or tap the checkpointed block; where the "
                f"model means it, as in a momentum branch, say without_gradient=[{tap.role!r}]"
            )
