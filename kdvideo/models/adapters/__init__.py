"""Other libraries' networks behind one call: one clip in, logits out."""

from .base import Adapter
from .pytorchvideo import BACKBONES, pytorchvideo
from .timm import timm
from .torchvision import torchvision

__all__ = ["BACKBONES", "Adapter", "pytorchvideo", "timm", "torchvision"]
