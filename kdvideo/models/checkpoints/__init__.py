"""Weights in and out: kdvideo's own one-file form, and the layouts in which others publish S3D-G, I3D and S3D."""

from .loading import load
from .native import save
from .pytorch_i3d import from_pytorch_i3d
from .pytorchvideo import from_pytorchvideo
from .sonnet import from_sonnet
from .tf_checkpoint import read_tf, weights_only
from .tf_slim import from_tf_slim
from .torchvision_s3d import from_torchvision_s3d

__all__ = [
    "from_pytorch_i3d",
    "from_pytorchvideo",
    "from_sonnet",
    "from_tf_slim",
    "from_torchvision_s3d",
    "load",
    "read_tf",
    "save",
    "weights_only",
]
