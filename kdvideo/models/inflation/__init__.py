"""Networks made of other networks: 2-D to 3-D, RGB to flow, one set of classes to another."""

from kdvideo.models.inflation.convert import i3d_kernels
from kdvideo.models.inflation.layers import average, centre
from kdvideo.models.inflation.network import Inflated, inflate, inflated
from kdvideo.models.inflation.resizing import resize_head, resize_stem

__all__ = ["Inflated", "average", "centre", "i3d_kernels", "inflate", "inflated", "resize_head", "resize_stem"]
