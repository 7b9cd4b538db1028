"""Networks of other libraries, called on one clip and giving logits."""

from kdvideo.models.adapters.adapter import Adapter
from kdvideo.models.adapters.pytorchvideo import BACKBONES, pytorchvideo
from kdvideo.models.adapters.timm import timm
from kdvideo.models.adapters.torchvision import torchvision
from kdvideo.models.adapters.transformers import VideoTransformer, from_transformers

__all__ = ["BACKBONES", "Adapter", "VideoTransformer", "from_transformers", "pytorchvideo", "timm", "torchvision"]
