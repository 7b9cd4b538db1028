"""2-D image networks as 3-D networks."""

from kdvideo.models.inflation.converter import i3d_kernels
from kdvideo.models.inflation.filters import average, center
from kdvideo.models.inflation.imagenet import efficientnet_lite0
from kdvideo.models.inflation.inflating import Inflated, inflate, inflated

__all__ = ["Inflated", "average", "center", "efficientnet_lite0", "i3d_kernels", "inflate", "inflated"]
