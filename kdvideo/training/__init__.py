"""What any training loop needs besides the model: checkpoints, order of the data, stop requests, metrics, records.

Usable without the rest of kdvideo.
"""

from kdvideo.training.checkpoint import Checkpoints
from kdvideo.training.checkpoint_folders import CheckpointError
from kdvideo.training.environment import environment, settings_hash
from kdvideo.training.loader import Watched, start_worker
from kdvideo.training.metrics import accuracy, confusion_matrix, mean_and_standard_error
from kdvideo.training.preemption import StopRequest
from kdvideo.training.run_folder import StepLog, claim_folder
from kdvideo.training.sampler import StepSampler, step_seed
from kdvideo.training.sharded import ShardedCheckpoints
from kdvideo.training.timing import Timings, spread_of
from kdvideo.training.watchdog import Watchdog, die_with_parent

__all__ = [
    "CheckpointError",
    "Checkpoints",
    "ShardedCheckpoints",
    "StepLog",
    "StepSampler",
    "StopRequest",
    "Timings",
    "Watchdog",
    "Watched",
    "accuracy",
    "claim_folder",
    "confusion_matrix",
    "die_with_parent",
    "environment",
    "mean_and_standard_error",
    "settings_hash",
    "spread_of",
    "start_worker",
    "step_seed",
]
