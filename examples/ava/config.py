"""Settings of AVA detection: two presets, every field a command-line flag."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import tyro

from examples.d3d.config import Optimizer


@dataclass(frozen=True)
class Input:
    """What the detector sees round a key frame."""

    frames: int = 50
    """Frames of a window."""
    fps: float = 25.0
    """Frames per second at which the window is read, whatever the rate of the file."""
    short_side: int = 256
    """Frames are resized to this short side."""
    crop: int = 224
    """Side of the random crop in training; tests see the whole frame."""
    flip: bool = True
    """Mirror half of the training windows, with their boxes."""


@dataclass(frozen=True)
class Config:
    """A video network as the feature extractor of an action detector."""

    weights: Path | None = None
    """The network, such as the student.safetensors of examples.d3d."""
    detector: Path | None = None
    """The folder of a trained detector, which evaluate measures."""
    root: Path | None = None
    """The data: videos/<id>.mp4 (or another ending), train.csv, val.csv, proposals_train.csv, proposals_val.csv,
    actions.pbtxt and, where there is one, excluded_val.csv. None: the synthetic set."""
    work_dir: Path = Path("runs")
    """The synthetic set; shared by all runs."""
    output_dir: Path = Path("runs/ava")
    """Trained detectors by seed."""
    output: Path = Path("runs/ava/detections.csv")
    """Where evaluate writes the detections."""
    seeds: tuple[int, ...] = (0,)
    """One detector for each seed."""
    data_seed: int = 0
    """Seed of the synthetic set; choices were made on seeds >= 1000."""
    split: str = "val"
    """The split that is measured; "test" exists in the synthetic set only."""
    clip_start: float = 900
    """The second at which the files start: 900 for AVA's clips of 15 minutes, 0 for whole videos."""
    min_score: float = 0.0
    """Proposals with a lower score are left out."""
    missing: float = 0.05
    """Fraction of a split's videos that may be missing."""
    layer: str = "4F"
    """The layer under the head (left open by the paper)."""
    box_layers: tuple[str, ...] = ()
    """Layers that run on the features of each box before the head sees them: 5A 5B 5C behind 4F, as detectors on I3D do
    (left open by the paper). None: the head pools the layer's output."""
    frozen_statistics: bool = False
    """Whether batch norm keeps the pretrained means and variances (left open by the paper)."""
    dropout: float = 0.0
    """In front of the head's linear layers (left open by the paper)."""
    box_weight: float = 1.0
    """Weight of the box loss beside the action loss (left open by the paper)."""
    input: Input = field(default_factory=Input)
    """What the detector sees round a key frame."""
    optimizer: Optimizer = field(
        # 500k steps on 11 GPUs are the paper's; 6 clips each and the rate are ours, as it gives neither.
        default_factory=lambda: Optimizer(steps=500_000, batch_size=66, reference_batch=66, lr=0.1)
    )
    """The schedule."""
    num_workers: int = 8
    """Processes that read clips."""
    in_memory: bool = False
    """Keep decoded videos in memory after the first reading."""
    mixed_precision: Literal["no", "bf16"] = "no"
    """bf16: forward passes in bfloat16, where the GPU has it."""
    checkpointing_steps: int = 1000
    """Steps between two checkpoints, from which a stopped training continues."""

    def __post_init__(self) -> None:
        if not self.seeds:
            raise ValueError("--seeds must name at least one seed, as in --seeds 0 1 2")
        self.optimizer.check(checkpointing_steps=self.checkpointing_steps)
        if not 0 <= self.missing <= 1:
            raise ValueError(f"--missing must be a fraction in [0, 1], got {self.missing}")
        if self.input.crop > self.input.short_side:
            raise ValueError(f"crop must be at most short_side {self.input.short_side}, got {self.input.crop}")


PAPER = Config()
POCKET = Config(
    frozen_statistics=True,
    input=Input(frames=16, fps=12.5, short_side=96, crop=80),
    optimizer=Optimizer(
        name="adamw", steps=400, batch_size=8, reference_batch=8, lr=2e-3, warmup=0.05, weight_decay=0.02
    ),
    num_workers=0,
    in_memory=True,
    checkpointing_steps=100,
)
PRESETS = {
    "pocket": ("minutes on two cores, on small videos", POCKET),
    "paper": ("the published schedule, for a cluster", PAPER),
}


def parse(arguments: list[str] | None = None) -> Config:
    """Read the settings of a command line such as `pocket --weights runs/d3d/student.safetensors`."""
    return tyro.extras.overridable_config_cli(PRESETS, args=arguments)
