"""Settings of the recipe: three presets, and every field a command-line flag.

Nothing here imports torch: `--help` and wrong flags are answered before that takes its seconds.
"""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import tyro


@dataclass(frozen=True)
class Input:
    """What the networks see of a clip."""

    frames: int = 64
    """Frames of a window; shorter clips loop."""
    fps: float = 25.0
    """Frames per second at which a clip is read, whatever the rate of its file."""
    short_side: int = 256
    """Frames are resized to this short side before flow is computed."""
    crop: int = 224
    """Side of the square that the networks see: random in training, the center in tests."""
    flow_bound: float = 20.0
    """Flow is cut to ±bound pixels and divided by it."""
    flip: bool = True
    """Mirror half of the training windows, their flow with them."""
    test_frames: int = 250
    """A clip is tested on one center crop of up to so many of its frames, as published; 0: on `test_views` windows."""
    test_views: int = 1
    """Windows of a clip whose softmax scores are averaged at test time, where test_frames is 0."""


@dataclass(frozen=True)
class Optimizer:
    """The schedule: the rate falls tenfold at two fractions of the steps."""

    name: Literal["sgd", "adamw"] = "sgd"
    """sgd (with momentum, as published), or adamw for short runs."""
    steps: int = 140_000
    """Length of each training."""
    batch_size: int = 336
    """Clips of one step over all processes and accumulated parts."""
    reference_batch: int = 336
    """The batch for which lr holds; another batch_size scales it linearly."""
    lr: float = 0.1
    """Learning rate before it falls."""
    decay_at: tuple[float, ...] = (0.75, 0.875)
    """Fractions of the steps at which the rate falls."""
    warmup: float = 0.0
    """Fraction of the steps over which the rate rises linearly from 0."""
    momentum: float = 0.9
    """Of sgd."""
    weight_decay: float = 1e-7
    """Of all weights; adamw decouples it."""
    clip_norm: float = 0.0
    """Gradients are scaled down to this norm; 0: they are not."""
    average: float = 0.0
    """Decay of the moving average of weights and buffers that is kept as the trained network; 0: the last ones are."""

    @property
    def factors(self) -> dict[float, float]:
        """Fraction of the steps -> what the rate is multiplied by from there on."""
        return {at: 0.1**k for k, at in enumerate(self.decay_at, 1)}

    def check(self, **more: int) -> None:
        """Raise `ValueError` for numbers below 1."""
        for name, number in {"steps": self.steps, "batch_size": self.batch_size, **more}.items():
            if number < 1:
                raise ValueError(f"{name} must be at least 1, got {number}")


@dataclass(frozen=True)
class Network:
    """S3D-G as in the paper, or a thin one; or a trained start."""

    depth_multiplier: float = 1.0
    """Factor of all widths."""
    dropout: float = 0.2
    """In front of the classifier."""
    fast_start: bool = False
    """For short runs: He initialization also of the temporal convolutions, and BatchNorm momentum 0.1, instead of the
    published sigma 0.01, identity and 0.001."""
    init: str = ""
    """What all networks start from instead of fresh weights: "imagenet" (EfficientNet-lite0, inflated), or a file of
    trained weights, of which flow networks take the mean of the RGB filters. Of the fields above only the momentum of
    fast_start then counts, and with "imagenet" dropout."""
    frozen: tuple[str, ...] = ()
    """Layers that keep the weights they start with, by name or path in the network, such as blocks.0."""


@dataclass(frozen=True)
class Config:
    """D3D: a flow network teaches an RGB network."""

    train: Path | None = None
    """Training clips: a folder per class, a csv of path,label or an official Kinetics list. None: the embedded
    synthetic videos."""
    test: Path | None = None
    """Test clips, in the form of --train."""
    root: Path | None = None
    """Folder to which the paths of the csv files are relative (default: the folder of the csv)."""
    allow_missing: float = 0.0
    """The largest fraction of the listed clips that may be missing: left out, and listed in work_dir/missing."""
    max_unreadable: float = 0.0
    """The largest fraction of the training clips that may be unreadable; the next readable clip takes the place of
    each. In tests an unreadable clip is always an error."""
    check_clips: Literal["raise", "leave-out", "no"] = "raise"
    """What happens to clips that cannot be read, of which all are found before anything is trained: raise names them
    all and ends (training clips up to --max-unreadable may stay), leave-out goes on without them; both list them in
    work_dir/unreadable. no: they are not looked for."""
    work_dir: Path = Path("runs")
    """Synthetic videos, stored flow and the teacher's cached outputs; shared by all runs."""
    output_dir: Path = Path("runs/d3d")
    """Trained networks by seed, the report and its pictures."""
    seeds: tuple[int, ...] = (0,)
    """One training of each network for each seed."""
    videos: Literal["independent", "shortcut"] = "independent"
    """Synthetic videos in which look and motion show the class or say nothing, independently and in training as in
    tests; or those in which the look gives most training clips away and misleads in tests."""
    data_seed: int = 0
    """Seed of the synthetic videos; choices were made on seeds >= 1000."""
    split: Literal["val", "test"] = "test"
    """Split of the synthetic videos that is measured; "val" for making choices."""
    teacher: Path | None = None
    """Weights of a flow network to learn from; None: the one that train_teacher leaves in output_dir."""
    weights: Path | None = None
    """The network that evaluate measures."""
    distill_weight: float = 1.0
    """λ of the paper's loss L_action + λ L_distill; 0 trains on RGB alone."""
    class_reduction: Literal["mean", "sum"] = "mean"
    """How the squared logit differences are reduced over the classes: mean or sum (left open by the paper)."""
    flow_dir: Path | None = None
    """Flow that `kdvideo extract` wrote, of --train in flow_dir/train and of --test in flow_dir/test: checked before
    anything is trained, and none is computed. None: the processes of the training compute it, into work_dir."""
    flow_preset: Literal["default", "opencv", "fast"] = "default"
    """Of TV-L1: default, opencv (OpenCV's numbers) or fast."""
    flow_from: Literal["store", "online", "cache"] = "store"
    """What a D3D student is taught with: store (flow on disk), online (flow of the batch, computed on the training
    device) or cache (the teacher's outputs on disk: one pass writes them, then neither flow nor teacher is used)."""
    cache_flow: Literal["frames", "online"] = "frames"
    """The flow behind the cache: that of whole frames, as stored (read where it is complete, computed where not, never
    written), or as with online. A teacher that is trained here sees the same."""
    distinct_views: int = 0
    """Views of a clip after which a D3D student's repeat; a cache holds so many. 0: never."""
    input: Input = field(default_factory=Input)
    """What the networks see of a clip."""
    optimizer: Optimizer = field(default_factory=Optimizer)
    """The schedule."""
    network: Network = field(default_factory=Network)
    """How the networks are built."""
    num_workers: int = 8
    """Processes that read clips."""
    in_memory: bool = False
    """Keep decoded clips and flow in memory after the first reading."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """bf16: forward passes in bfloat16, where the GPU has it."""
    gradient_accumulation_steps: int = 1
    """Parts in which a batch is computed, for less memory."""
    channels_last: bool = False
    """Keep the kernels with their channels last, as GPUs read them fastest in bfloat16."""
    compile: bool = False
    """Compile the network that learns; its first step takes a minute or so."""
    checkpointing_steps: int = 1000
    """Steps between two checkpoints, from which a stopped training continues."""
    test_every: int = 0
    """Steps between two measurements on the test clips, which the report draws and nothing is chosen by; 0: none. Each
    must end within --step-deadline."""
    on_not_finite: Literal["raise", "skip"] = "raise"
    """What a step does whose loss or gradient is not finite: end the training before it is taken, or leave it out; more
    than ten in a row end it."""
    clip_deadline: float = 120.0
    """Seconds that a loader's worker may take for one clip before it is ended; 0: any."""
    step_deadline: float = 600.0
    """Seconds without the end of a step after which a process ends, with the stacks of its threads; 0: never."""
    with_tracking: bool = False
    """Write tensorboard logs beside each trained network."""

    def __post_init__(self) -> None:
        if (self.train is None) != (self.test is None):
            raise ValueError("--train and --test must be given together, or neither (the synthetic videos)")
        if self.flow_dir and not self.stores_flow:
            raise ValueError(f"--flow-dir {self.flow_dir} goes with flow from a store or of its frames, not online")
        if not self.seeds:
            raise ValueError("--seeds must name at least one seed, as in --seeds 0 1 2")
        parts = self.gradient_accumulation_steps
        self.optimizer.check(checkpointing_steps=self.checkpointing_steps, gradient_accumulation_steps=parts)
        if self.optimizer.batch_size % parts:
            raise ValueError(f"batch_size must divide into {parts} accumulated parts, got {self.optimizer.batch_size}")
        if not (0 <= self.allow_missing <= 1 and 0 <= self.max_unreadable <= 1):
            found = f"{self.allow_missing} and {self.max_unreadable}"
            raise ValueError(f"--allow-missing and --max-unreadable must be fractions, 0 to 1, got {found}")
        if self.distinct_views < 0:
            raise ValueError(f"--distinct-views must be 0 (never repeat) or more, got {self.distinct_views}")
        if 0 < self.input.test_frames < self.input.frames:
            least = f"0 or at least the {self.input.frames} frames of the training"
            raise ValueError(f"--input.test-frames must be {least}, got {self.input.test_frames}")
        if self.input.crop > self.input.short_side:
            raise ValueError(f"crop must be at most short_side {self.input.short_side}, got {self.input.crop}")

    @property
    def stores_flow(self) -> bool:
        """Whether flow is kept on disk for the teacher's training and for tests; else it is computed on the way."""
        return self.flow_from == "store" or (self.flow_from == "cache" and self.cache_flow == "frames")

    @property
    def rounding(self) -> dict[str, bool]:
        """What changes rounding alone, as far as it is on."""
        return {name: True for name in ("channels_last", "compile") if getattr(self, name)}

    @property
    def guards(self) -> dict[str, Any]:
        """What a `Training` does when something goes wrong."""
        skip = self.on_not_finite == "skip"
        return {"skip": skip, "clip_deadline": self.clip_deadline, "step_deadline": self.step_deadline}

    def folder(self, seed: int, network: str) -> Path:
        """Where one network of one seed is trained."""
        return self.output_dir / f"seed{seed}" / network


PAPER = Config(allow_missing=0.1, max_unreadable=0.01)
POCKET = Config(
    distill_weight=0.3,
    input=Input(frames=16, fps=12.5, short_side=48, crop=44, flow_bound=5.0, test_frames=0),
    optimizer=Optimizer(
        name="adamw",
        steps=1000,
        batch_size=16,
        reference_batch=16,
        lr=3e-3,
        warmup=0.05,
        weight_decay=0.02,
        average=0.99,
    ),
    network=Network(depth_multiplier=0.25, fast_start=True),
    num_workers=0,
    in_memory=True,
    checkpointing_steps=250,
    test_every=250,
)
SHORTCUT = dataclasses.replace(
    POCKET,
    videos="shortcut",
    distill_weight=1.0,
    input=dataclasses.replace(POCKET.input, short_side=72, crop=64),
    optimizer=dataclasses.replace(POCKET.optimizer, steps=400, average=0.0),
)
PRESETS = {
    "pocket": ("minutes on two cores, on small clips", POCKET),
    "shortcut": ("the same networks on videos whose look misleads", SHORTCUT),
    "paper": ("the published schedule, for a cluster", PAPER),
}


def parse(arguments: list[str] | None = None) -> Config:
    """Read the settings of a command line such as `pocket --seeds 0 1 --optimizer.steps 100`."""
    return tyro.extras.overridable_config_cli(PRESETS, args=arguments)


def plain_errors(main: Callable[..., Any]) -> Callable[..., Any]:
    """Make wrong input end a command with one sentence instead of a traceback."""

    @functools.wraps(main)
    def wrapped(*arguments: Any) -> Any:
        try:
            result = main(*arguments)
            sys.stdout.flush()
            return result
        except BrokenPipeError:  # the reader, such as `head`, is gone; the interpreter must not flush once more
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(1) from None
        except Exception as error:
            if not _by_the_user(error):
                raise
            raise SystemExit(f"error: {error}") from None

    return wrapped


def _by_the_user(error: Exception) -> bool:
    """Return whether an error says what is wrong with settings, files or numbers."""
    if isinstance(error, ValueError | OSError | FloatingPointError):
        return True
    from kdvideo.data import ClipError
    from kdvideo.extraction import ExtractionError
    from kdvideo.training import CheckpointError

    return isinstance(error, CheckpointError | ClipError | ExtractionError)
