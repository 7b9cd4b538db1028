"""Show the modules of a model: path, type and output shape."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from kdvideo._hints import check_module


def describe(model: nn.Module, *inputs: Any, **kwargs: Any) -> None:
    """Print path, type and output shape of every module of a model, in the order of definition.

    The model runs once, in evaluation mode and without gradient, and is left as it was.

    Args:
        model: any module.
        inputs: what its forward takes.
        kwargs: what it takes by keyword, such as `input_ids`.

    Raises:
        ValueError: a model that is no module.

    Examples:
        >>> describe(nn.Sequential(nn.Linear(3, 4), nn.ReLU()), torch.zeros(2, 3))
        path  type        output
              Sequential  (2, 4)
        0     Linear      (2, 4)
        1     ReLU        (2, 4)
    """
    rows = [("path", "type", "output"), *layer_rows(model, *inputs, **kwargs)]
    widths = [max(len(row[column]) for row in rows) for column in range(2)]
    for path, kind, shape in rows:
        print(f"{path:<{widths[0]}}  {kind:<{widths[1]}}  {shape}")


def layer_rows(model: nn.Module, *inputs: Any, **kwargs: Any) -> list[tuple[str, str, str]]:
    """Return (path, type, output shape) of every module of a model, as `describe` prints them.

    Examples:
        >>> layer_rows(nn.Linear(3, 4), torch.zeros(2, 3))
        [('', 'Linear', '(2, 4)')]
    """
    check_module(model)
    shapes: dict[nn.Module, str] = {}
    modes = {module: module.training for module in model.modules()}
    handles = [
        module.register_forward_hook(lambda module, _, output: shapes.update({module: _shapes(output)}))
        for module in modes
    ]
    try:
        with torch.no_grad():
            model.eval()(*inputs, **kwargs)
    finally:
        for handle in handles:
            handle.remove()
        for module, mode in modes.items():
            module.training = mode
    return [
        (path, type(module).__name__, shapes.get(module, "not run"))
        for path, module in model.named_modules(remove_duplicate=False)
    ]


def _shapes(output: Any) -> str:
    tensors = [leaf for leaf in pytree.tree_leaves(output) if isinstance(leaf, Tensor)]
    return ", ".join(str(tuple(tensor.shape)) for tensor in tensors) or "no tensor"
