"""Networks made of other networks: 2-D to 3-D, RGB to flow, one set of classes to another."""

from .convert import i3d_kernels
from .layers import average, centre
from .network import Inflated, inflate, inflated
from .resizing import resize_head, resize_stem

__all__ = ["Inflated", "average", "centre", "i3d_kernels", "inflate", "inflated", "resize_head", "resize_stem"]
