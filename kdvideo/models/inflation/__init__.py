"""Networks made of other networks: 2-D to 3-D, RGB to flow, one set of classes to another."""

from kdvideo.models.inflation.conversion import i3d_kernels
from kdvideo.models.inflation.filters import average, center
from kdvideo.models.inflation.inflation import Inflated, inflate, inflated
from kdvideo.models.resizing import resize_head, resize_stem

__all__ = ["Inflated", "average", "center", "i3d_kernels", "inflate", "inflated", "resize_head", "resize_stem"]
