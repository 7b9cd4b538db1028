"""Video backbones that give logits and name their layers."""

from . import checkpoints
from .flops import multiply_adds
from .i3d import i3d
from .inception import Inception3D
from .network import InputSpec, Network
from .s3d import s3d
from .s3dg import NON_LOCAL, s3dg
from .zoo import BACKBONES, pytorchvideo

__all__ = [
    "BACKBONES",
    "NON_LOCAL",
    "Inception3D",
    "InputSpec",
    "Network",
    "checkpoints",
    "i3d",
    "multiply_adds",
    "pytorchvideo",
    "s3d",
    "s3dg",
]
