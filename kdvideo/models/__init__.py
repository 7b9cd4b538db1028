"""Video backbones that give logits and name their layers."""

from .flops import multiply_adds
from .i3d import i3d
from .inception import Inception3D
from .s3dg import NON_LOCAL, s3dg

__all__ = ["NON_LOCAL", "Inception3D", "i3d", "multiply_adds", "s3dg"]
