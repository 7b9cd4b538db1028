"""The old place of `kdvideo.models.adapters.pytorchvideo`."""

from .adapters.pytorchvideo import BACKBONES, pytorchvideo

__all__ = ["BACKBONES", "pytorchvideo"]
