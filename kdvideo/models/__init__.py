"""Video backbones that give logits and name their layers."""

from . import checkpoints, hub, inflation
from .adapters import BACKBONES, pytorchvideo, timm, torchvision
from .flops import multiply_adds
from .hub import from_pretrained
from .i3d import i3d
from .inception import Inception3D
from .inflation import inflate, inflated
from .network import InputSpec, Network
from .s3d import s3d
from .s3dg import NON_LOCAL, s3dg
from .summary import summary

__all__ = [
    "BACKBONES",
    "NON_LOCAL",
    "Inception3D",
    "InputSpec",
    "Network",
    "checkpoints",
    "from_pretrained",
    "hub",
    "i3d",
    "inflate",
    "inflated",
    "inflation",
    "multiply_adds",
    "pytorchvideo",
    "s3d",
    "s3dg",
    "summary",
    "timm",
    "torchvision",
]
