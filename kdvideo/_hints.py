"""What to say about outputs that are no tensors: what they are, and where a tensor may be in them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor, nn

FUSED = (
    "attention maps are None where attention is fused or not asked for: build the model with "
    'attn_implementation="eager", or call nn.MultiheadAttention with need_weights=True'
)


def kind(output: Any) -> str:
    """Return what an output is, in words.

    Examples:
        >>> kind((1, 2)), kind({"loss": 1}), kind(None)
        ('a tuple of length 2', "a dict with keys ['loss']", 'None')
    """
    if output is None:
        return "None"
    if isinstance(output, type):
        return f"the class {output.__name__}"
    name = type(output).__name__
    name = f"{'an' if name[0] in 'AEIOUaeiou' else 'a'} {name}"
    if isinstance(output, Mapping):
        return f"{name} with keys {list(output)}"
    if isinstance(output, (tuple, list)):
        return f"{name} of length {len(output)}"
    return name


def key_of_tensor(output: Any) -> int | str | None:
    """Return the key, index or attribute of the first tensor that may be meant in an output: no scalar, as losses are.

    Examples:
        >>> import torch
        >>> key_of_tensor({"loss": torch.tensor(1.0), "scores": torch.zeros(2, 5)})
        'scores'
    """
    return next((key for key, value in _parts(output) if isinstance(value, Tensor) and value.ndim > 0), None)


def which_logits(output: Any) -> str:
    """Return the advice how to choose a tensor of the model's output, empty where none is in it.

    Examples:
        >>> import torch
        >>> which_logits((torch.zeros(2, 5), None))
        'say which tensor is meant, logits=lambda output: output[0], or '
    """
    key = key_of_tensor(output)
    if key is None:
        return ""
    by_key = isinstance(output, (Mapping, tuple, list))
    return f"say which tensor is meant, logits=lambda output: output{f'[{key!r}]' if by_key else f'.{key}'}, or "


class Part:
    """A selector that takes what an output holds under a key: `logits="logits"`."""

    def __init__(self, key: int | str, option: str) -> None:
        self.key, self.option = key, option

    def __call__(self, output: Any) -> Any:
        """Return the part of an output."""
        if isinstance(output, Tensor):
            raise ValueError(
                f"{self.option}={self.key!r} needs an output with parts, got a tensor, which needs no choice: leave "
                "it out"
            )
        return item(output, self.key, f"{self.option} of the output")

    def __repr__(self) -> str:
        return repr(self.key)


def selector(choice: Any, option: str) -> Any:
    """Return a function for what a user chose: a function, or a key, an index or an attribute of the output.

    Raises:
        ValueError: none of these.
    """
    if choice is None or callable(choice):
        return choice
    if isinstance(choice, (int, str)):
        return Part(choice, option)
    raise ValueError(
        f"{option} must be a function of an output, a key or an index, got {choice!r}: lambda output: output[0]"
    )


def check_module(model: object, name: str = "model") -> None:
    """Raise ValueError unless a model is a module."""
    if not isinstance(model, nn.Module):
        raise ValueError(f"{name} must be a torch module, got {kind(model)}: {_instead(model)}")


def _instead(model: object) -> str:
    if isinstance(model, (str, os.PathLike)):
        file = os.fspath(model)
        return f"build the network first, such as kd.models.checkpoints.load({file!r})[0] for a file of weights"
    if isinstance(model, Mapping):
        return "these are weights: build the network and call network.load_state_dict(weights)"
    if isinstance(model, type):
        return f"pass {model.__name__}(...)"
    if isinstance(model, (list, tuple)):
        return "wrap each of them; kd.ensemble puts their outputs together"
    if callable(model) or hasattr(model, "shape"):
        return "what a function returns, or what is computed already, is an output as kd.Output(logits, {})"
    return "build the network first"


def check_mapping(option: str, given: object, example: str) -> None:
    """Raise ValueError unless an option maps roles to what it chooses for them."""
    if not hasattr(given, "items"):
        raise ValueError(f"{option}= must map roles to what is chosen for them, got {kind(given)}: {option}={example}")


def represented(thing: object, **values: Any) -> str:
    """Return the text of an object as a call with these values.

    Examples:
        >>> represented(object(), bound=20.0, fps=None)
        'object(bound=20.0, fps=None)'
    """
    return f"{type(thing).__name__}({', '.join(f'{name}={value!r}' for name, value in values.items())})"


def item(output: Any, key: int | str, layer: str) -> Any:
    """Return what an output holds under a key or an index, or as an attribute.

    Raises:
        ValueError: nothing is there, or the output is itself a tensor, whose index would be an example of the batch.
    """
    if not isinstance(output, Tensor):
        try:
            return output[key]
        except (KeyError, IndexError, TypeError):
            if isinstance(key, str) and hasattr(output, key):
                return getattr(output, key)
    advice = f"drop [{key!r}]" if isinstance(output, Tensor) else f"the keys there are {[k for k, _ in _parts(output)]}"
    raise ValueError(f"{layer} has nothing at [{key!r}], for it gives {kind(output)} there: {advice}")


def _parts(output: Any) -> Iterator[tuple[int | str, Any]]:
    if isinstance(output, Mapping):
        yield from output.items()
    elif isinstance(output, (tuple, list)):
        yield from enumerate(output)
    elif hasattr(output, "__dict__") and not isinstance(output, (nn.Module, type)):
        yield from vars(output).items()
