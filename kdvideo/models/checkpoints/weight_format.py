"""Formats in which others publish weights: the names of our state dict keys there, and the layout of the arrays."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

MOST_PROBLEMS = 1000  # listed; a hostile file can have a million


def channels_last(value: Tensor, ndim: int) -> Tensor:
    """Bring TensorFlow's (t, h, w, in, out) to (out, in, t, h, w); a vector may come as (1, 1, 1, 1, C)."""
    if ndim == 1 and value.ndim > 1 and value.numel() == max(value.shape):
        return value.flatten()
    return channels_first(value.permute(4, 3, 0, 1, 2) if value.ndim == 5 else value, ndim)


def channels_first(value: Tensor, ndim: int) -> Tensor:
    """Keep PyTorch's own layout; a 1x1x1 convolution becomes (out, in) where the module is a linear layer."""
    return value.flatten(1) if ndim == 2 and value.ndim == 5 and value.shape[2:].numel() == 1 else value


def default_input(architecture: str, channels: int) -> dict[str, Any]:
    """Return no arguments: the network's own default for its input."""
    return {}


def symmetric_input(architecture: str, channels: int) -> dict[str, Any]:
    """Return the input range [-1, 1] of I3D."""
    return {"input_range": (-1.0, 1.0)}


@dataclass(frozen=True)
class WeightFormat:
    """The format of one publisher's weights: where they keep what we keep under our own keys.

    Args:
        title: for messages.
        signature: pattern of a name that only this format has.
        rename: our state dict key -> its name there, without prefix.
        arrange: (value there, number of our axes) -> value in our layout.
        input_arguments: (architecture, channels) -> constructor arguments that say what the weights were fed.
    """

    title: str
    signature: str
    rename: Callable[[str], str]
    arrange: Callable[[Tensor, int], Tensor] = channels_first
    input_arguments: Callable[[str, int], dict[str, Any]] = default_input

    def prefixes(self, names: Iterable[str]) -> list[str]:
        """Return what stands in front of the signature: one entry for every network in the file."""
        matches = (re.search(rf"(?:^|(?<=[./]))(?:{self.signature})", name) for name in names)
        return sorted({match.string[: match.start()] for match in matches if match})

    def rightly_named(self, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the variables under the names that they should have."""
        return variables

    def convert(self, variables: Mapping[str, Any], model: nn.Module, prefix: str = "") -> dict[str, Tensor]:
        """Return the state dict of `model` with these weights, or raise one `ValueError` that lists every misfit."""
        self.check(variables, model, prefix)
        variables = self.rightly_named(variables)
        state = {key: value.detach().clone() for key, value in model.state_dict().items()}
        for key, value in state.items():
            name = prefix + self.rename(key)
            if name in variables:
                found = self.arrange(torch.as_tensor(variables[name]), value.ndim)
                state[key] = found.to(value.dtype, copy=True)
        return state

    def check(self, variables: Mapping[str, Any], model: nn.Module, prefix: str = "") -> None:
        """Raise one `ValueError` that lists every misfit of names and shapes; the model may be without memory."""
        state, variables = model.state_dict(), self.rightly_named(variables)
        names = {key: prefix + self.rename(key) for key in state}
        # The count of batches seen is no weight: TensorFlow and old PyTorch do not store it.
        needed = {key: name for key, name in names.items() if not key.endswith("num_batches_tracked")}
        problems = [f"missing {name}" for name in needed.values() if name not in variables]
        problems += [f"unexpected {name}" for name in sorted(set(variables) - set(names.values()))]
        misfits = {}
        for key, name in names.items():
            if name not in variables:
                continue
            shape = self.arrange(torch.as_tensor(variables[name]).to("meta"), state[key].ndim).shape
            if shape != state[key].shape:
                problems.append(f"{name} gives {tuple(shape)}, the model has {tuple(state[key].shape)}")
                misfits[key] = shape
        if problems:
            more = [f"... and {len(problems) - MOST_PROBLEMS} more"] if len(problems) > MOST_PROBLEMS else []
            lines = [f"the weights do not fit the model in {len(problems)} places:", *problems[:MOST_PROBLEMS], *more]
            raise ValueError("\n  ".join([*lines, *_advice(state, misfits)]))


def _advice(state: Mapping[str, Tensor], misfits: Mapping[str, torch.Size]) -> list[str]:
    """Say what to do about another number of classes or of input channels."""
    advice = []
    last = list(state)[-1]
    if last in misfits:
        advice.append(
            f"the file has {misfits[last][0]} classes, the model {state[last].shape[0]}: load without model=, "
            "then models.resize_head"
        )
    convolutions = [(key, value.shape) for key, value in state.items() if value.ndim == 5]
    first, ours = convolutions[0] if convolutions else ("", torch.Size())
    theirs = misfits.get(first, torch.Size())
    if len(theirs) == 5 and theirs[1] != ours[1]:
        advice.append(
            f"the file's first layer takes {theirs[1]} channels (RGB has 3, flow 2), the model's {ours[1]}: load "
            f"without model=, then models.resize_stem(model, {ours[1]})"
        )
    return advice


def by_ending(key: str, endings: Mapping[str, str], scope: Callable[[str], str]) -> str:
    """Return `scope` of the module path and what its ending (a pattern) becomes; the key itself where none matches."""
    for pattern, ending in endings.items():
        module = re.sub(pattern, "", key)
        # Half a separable convolution is no convolution of a format that does not name its halves.
        if module != key and not module.endswith((".spatial", ".temporal")):
            return scope(module) + ending
    return key
