"""The format of DeepMind's I3D variables (Sonnet, TensorFlow)."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from kdvideo.models.checkpoints.tf_slim import slim_scope
from kdvideo.models.checkpoints.weight_format import WeightFormat, by_ending, channels_last, symmetric_input
from kdvideo.models.inception.backbone import Inception3D

VARIABLES = {  # what a module path's end becomes in Sonnet
    r"\.conv\.weight$": "/conv_3d/w",
    r"\.bn\.weight$": "/batch_norm/gamma",
    r"\.bn\.bias$": "/batch_norm/beta",
    r"\.bn\.running_mean$": "/batch_norm/moving_mean",
    r"\.bn\.running_var$": "/batch_norm/moving_variance",
    r"^head\.proj\.weight$": "/conv_3d/w",
    r"^head\.proj\.bias$": "/conv_3d/b",
}
MISNAMED = ("Mixed_5b/Branch_2/Conv3d_0a_3x3/", "Mixed_5b/Branch_2/Conv3d_0b_3x3/")  # as published, as meant


def sonnet_name(key: str) -> str:
    """Return Sonnet's variable name, without scope, of a state dict key of I3D; the key itself where it has none."""
    return by_ending(key, VARIABLES, lambda module: slim_scope(module).replace("Conv2d", "Conv3d"))


@dataclass(frozen=True)
class _Sonnet(WeightFormat):
    def rightly_named(self, variables: Mapping[str, Any]) -> Mapping[str, Any]:
        right = {name: name.replace(*MISNAMED) for name in variables}
        return {name if right[name] in variables else right[name]: value for name, value in variables.items()}


SONNET = _Sonnet("DeepMind's I3D (Sonnet)", r"Conv3d_1a_7x7/conv_3d/w$", sonnet_name, channels_last, symmetric_input)


def from_sonnet(
    variables: Mapping[str, Any], model: Inception3D, *, scope: str = "RGB/inception_i3d"
) -> dict[str, Tensor]:
    """Convert the weights of DeepMind's I3D to those of `model`; neither argument is changed.

    The second convolution of Mixed_5b's third branch goes under the name it should have and under the one that the
    published files give it ("Conv3d_0a_3x3").

    Args:
        variables: TF variable name -> tensor or array, complete: see `read_tf`.
        model: an `i3d` of the same shape as the checkpoint.
        scope: what the variable names start with: "Flow/inception_i3d" for flow, "" for the published
            Kinetics-600 file.

    Returns:
        The state dict of `model` with these weights, in its dtypes.

    Raises:
        ValueError: variables are missing, unexpected or of another shape; all of them are listed. Optimizer slots
            count as unexpected: `drop_optimizer_state` leaves them out.

    Examples:
        >>> from kdvideo.models import i3d
        >>> model, scope = i3d(5, depth_multiplier=0.125, min_depth=8), "RGB/inception_i3d"
        >>> state = {key: value for key, value in model.state_dict().items() if "num_batches" not in key}
        >>> def in_tensorflow(value):  # kernels are (t, h, w, in, out) there
        ...     kernel = value.reshape(*value.shape, *[1] * (5 - value.ndim)).permute(2, 3, 4, 1, 0)
        ...     return kernel if value.ndim > 1 else value
        >>> variables = {f"{scope}/{sonnet_name(key)}": in_tensorflow(value) for key, value in state.items()}
        >>> from_sonnet(variables, model)["conv_1a.conv.weight"].equal(state["conv_1a.conv.weight"])
        True

        Of a file: `from_sonnet(drop_optimizer_state(read_tf("model.ckpt")), model)`.

    Source:
        google-deepmind/kinetics-i3d, i3d.py, and its published checkpoints.
    """
    return SONNET.convert(variables, model, f"{scope}/" if scope else "")
