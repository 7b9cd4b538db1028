"""Video backbones that give logits and name their layers."""

from kdvideo.models import checkpoints, hub, inflation
from kdvideo.models.activations import class_activation, highlight
from kdvideo.models.adapters.pytorchvideo import BACKBONES, pytorchvideo
from kdvideo.models.adapters.timm import timm
from kdvideo.models.adapters.torchvision import torchvision
from kdvideo.models.adapters.transformers import VideoTransformer, from_transformers
from kdvideo.models.exporting import Exported, export
from kdvideo.models.flops import multiply_adds, summary
from kdvideo.models.hub import from_pretrained, push_to_hub, save_pretrained
from kdvideo.models.inception.backbone import Inception3D
from kdvideo.models.inception.i3d import i3d
from kdvideo.models.inception.s3d import s3d
from kdvideo.models.inception.s3dg import NON_LOCAL, s3dg
from kdvideo.models.inflation import efficientnet_lite0, inflate, inflated
from kdvideo.models.network import InputSpec, Network
from kdvideo.models.resizing import resize_head, resize_stem
from kdvideo.models.streaming import Streaming, causal, streaming

__all__ = [
    "BACKBONES",
    "NON_LOCAL",
    "Exported",
    "Inception3D",
    "InputSpec",
    "Network",
    "Streaming",
    "VideoTransformer",
    "causal",
    "checkpoints",
    "class_activation",
    "efficientnet_lite0",
    "export",
    "from_pretrained",
    "from_transformers",
    "highlight",
    "hub",
    "i3d",
    "inflate",
    "inflated",
    "inflation",
    "multiply_adds",
    "push_to_hub",
    "pytorchvideo",
    "resize_head",
    "resize_stem",
    "s3d",
    "s3dg",
    "save_pretrained",
    "streaming",
    "summary",
    "timm",
    "torchvision",
]
