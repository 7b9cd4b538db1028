"""The format of TF-slim's S3D-G and I3D variables."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from kdvideo.models.checkpoints.weight_format import WeightFormat, by_ending, channels_last
from kdvideo.models.inception.backbone import Inception3D

VARIABLES = {  # what a module path's end becomes in TF-slim
    r"\.(spatial\.)?conv\.weight$": "/weights",
    r"\.(spatial\.)?bn\.weight$": "/BatchNorm/gamma",
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


def slim_name(key: str) -> str:
    """Return TF-slim's variable name, without scope, of a state dict key; the key itself where slim has none."""
    return by_ending(key, VARIABLES, slim_scope)


def slim_scope(module: str) -> str:
    """Return TF-slim's scope of a convolution, or of the gate after it."""
    block, *rest = module.split(".")
    if block in SCOPES:
        return SCOPES[block]
    branch = rest[0]
    unit = rest[1] if len(rest) > 1 else "conv_0a" if branch == "branch_0" else "conv_0b"  # a gate ends its branch
    size = "3x3" if unit == "conv_0b" and branch != "branch_3" else "1x1"
    return f"{block.capitalize()}/{branch.capitalize()}/Conv2d_{unit[-2:]}_{size}"


def _input(architecture: str, channels: int) -> dict[str, Any]:
    """Return [0, 1] for RGB, as the notebook of the released D3D feeds it; [-1, 1] for flow and for I3D."""
    return {"input_range": (0.0, 1.0) if architecture == "s3dg" and channels == 3 else (-1.0, 1.0)}


TF_SLIM = WeightFormat("TF-slim S3D-G or I3D", r"Conv2d_1a_7x7/weights$", slim_name, channels_last, _input)


def from_tf_slim(variables: Mapping[str, Any], model: Inception3D, *, scope: str = "InceptionV1") -> dict[str, Tensor]:
    """Convert the weights of a TF-slim S3D-G or I3D to those of `model`; neither argument is changed.

    Non-local blocks have no name in TF-slim: for a model with them their weights are listed as missing.

    Args:
        variables: TF variable name -> tensor or array, complete: see `read_tf`.
        model: an `s3dg` or `i3d` of the same shape as the checkpoint.
        scope: what the variable names start with.

    Returns:
        The state dict of `model` with these weights, in its dtypes.

    Raises:
        ValueError: variables are missing, unexpected or of another shape; all of them are listed. Optimizer slots
            and `global_step` count as unexpected: `drop_optimizer_state` leaves them out.

    Examples:
        >>> from kdvideo.models import s3dg
        >>> model = s3dg(5, depth_multiplier=0.125, min_depth=8)
        >>> state = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
        >>> def in_tensorflow(value):  # kernels are (t, h, w, in, out) there
        ...     kernel = value.reshape(*value.shape, *[1] * (5 - value.ndim)).permute(2, 3, 4, 1, 0)
        ...     return kernel if value.ndim > 1 else value
        >>> variables = {f"InceptionV1/{slim_name(key)}": in_tensorflow(value) for key, value in state.items()}
        >>> from_tf_slim(variables, model)["conv_1a.conv.weight"].equal(state["conv_1a.conv.weight"])
        True

        Of a file: `from_tf_slim(drop_optimizer_state(read_tf("model.ckpt")), model)`.

    Source:
        tensorflow/models, research/slim/nets/s3dg.py and i3d.py.
    """
    return TF_SLIM.convert(variables, model, f"{scope}/" if scope else "")
