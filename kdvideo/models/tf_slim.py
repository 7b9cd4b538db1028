"""TF-slim's S3D-G variables as a state dict."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from .inception import Inception3D

VARIABLES = {  # what a module path's end becomes in TF-slim
    r"\.(spatial\.)?conv\.weight$": "/weights",
    r"\.(spatial\.)?bn\.bias$": "/BatchNorm/beta",
    r"\.(spatial\.)?bn\.running_mean$": "/BatchNorm/moving_mean",
    r"\.(spatial\.)?bn\.running_var$": "/BatchNorm/moving_variance",
    r"\.temporal\.weight$": "/temporal/weights",
    r"\.temporal\.bias$": "/temporal/biases",
    r"\.gate\.linear\.weight$": "/self_gating/transformer_W/weights",
    r"^head\.proj\.weight$": "/weights",
    r"^head\.proj\.bias$": "/biases",
}
SCOPES = {
    "": "Logits/Conv2d_0c_1x1",
    "conv_1a": "Conv2d_1a_7x7",
    "conv_2b": "Conv2d_2b_1x1",
    "conv_2c": "Conv2d_2c_3x3",
}


def from_tf_slim(variables: Mapping[str, Any], model: Inception3D, *, scope: str = "InceptionV1") -> dict[str, Tensor]:
    """The state dict of ``model`` with the weights of a TF-slim S3D-G; neither argument is changed.

    Args:
        variables: TF variable name -> tensor or array, complete: see `read_tf`.
        model: an S3D-G of the same shape as the checkpoint.
        scope: what the variable names start with.

    Raises:
        ValueError: variables are missing, unexpected or of another shape; all of them are listed. Optimiser slots
            and ``global_step`` count as unexpected: leave them out of ``variables``.

    Example: ``model.load_state_dict(from_tf_slim(read_tf("model.ckpt"), model))``.
    """
    state = dict(model.state_dict())
    names = {key: f"{scope}/{_slim_name(key)}" for key in state if not key.endswith("num_batches_tracked")}
    problems = [f"missing {name}" for name in names.values() if name not in variables]
    problems += [f"unexpected {name}" for name in variables if name not in names.values()]
    for key, name in names.items():
        if name not in variables:
            continue
        value = _to_torch_layout(torch.as_tensor(variables[name]), state[key].ndim)
        if value.shape != state[key].shape:
            problems.append(f"{name} gives {tuple(value.shape)}, the model has {tuple(state[key].shape)}")
        state[key] = value.to(state[key].dtype, copy=True)
    if problems:
        raise ValueError(f"the variables do not fit the model in {len(problems)} places:\n  " + "\n  ".join(problems))
    return state


def _slim_name(key: str) -> str:
    """TF-slim's variable name, without scope, of a state dict key of S3D-G; the key itself where slim has none."""
    for pattern, variable in VARIABLES.items():
        if re.search(pattern, key):
            return _slim_scope(re.sub(pattern, "", key)) + variable
    return key


def _slim_scope(module: str) -> str:
    """TF-slim's scope of a convolution, or of the gate after it."""
    block, *rest = module.split(".")
    if block in SCOPES:
        return SCOPES[block]
    branch = rest[0]
    unit = rest[1] if len(rest) > 1 else "conv_0a" if branch == "branch_0" else "conv_0b"  # a gate ends its branch
    size = "3x3" if unit == "conv_0b" and branch != "branch_3" else "1x1"
    return f"{block.capitalize()}/{branch.capitalize()}/Conv2d_{unit[-2:]}_{size}"


def _to_torch_layout(value: Tensor, ndim: int) -> Tensor:
    """(t, h, w, in, out) -> (out, in, t, h, w), or (out, in) where the module is a linear layer."""
    if value.ndim != 5:
        return value
    value = value.permute(4, 3, 0, 1, 2)
    return value.flatten(1) if ndim == 2 and value.shape[2:].numel() == 1 else value
