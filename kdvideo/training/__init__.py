"""What any training loop needs to survive; usable without the rest of kdvideo."""

from kdvideo.training.checkpoint import CheckpointError, Checkpoints
from kdvideo.training.metrics import accuracy, confusion_matrix, mean_and_standard_error
from kdvideo.training.preemption import StopRequest, ignore_signals
from kdvideo.training.sampler import StepSampler, step_seed

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "StepSampler",
    "StopRequest",
    "accuracy",
    "confusion_matrix",
    "ignore_signals",
    "mean_and_standard_error",
    "step_seed",
]
