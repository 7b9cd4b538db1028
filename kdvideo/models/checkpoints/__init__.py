"""Reading and writing of weights: kdvideo's own file, and the formats in which others publish S3D-G, I3D and S3D."""

from kdvideo.models.checkpoints.loading import load
from kdvideo.models.checkpoints.native import save
from kdvideo.models.checkpoints.pytorch_i3d import from_pytorch_i3d
from kdvideo.models.checkpoints.pytorchvideo_hub import from_pytorchvideo
from kdvideo.models.checkpoints.sonnet import from_sonnet
from kdvideo.models.checkpoints.tf_checkpoint import drop_optimizer_state, read_tf
from kdvideo.models.checkpoints.tf_slim import from_tf_slim
from kdvideo.models.checkpoints.torchvision_s3d import from_torchvision_s3d

__all__ = [
    "drop_optimizer_state",
    "from_pytorch_i3d",
    "from_pytorchvideo",
    "from_sonnet",
    "from_tf_slim",
    "from_torchvision_s3d",
    "load",
    "read_tf",
    "save",
]
