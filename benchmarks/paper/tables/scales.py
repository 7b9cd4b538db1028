"""The sizes at which a table is measured, and the clips of each: Config presets of the recipe.

pocket: two CPU cores, hours for everything. more_clips: the same with four times the training clips. ut_interaction:
the same networks on 120 real clips. bench: one GPU, hours. paper: the published schedule on a data set of yours,
normally Kinetics, in bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.paper import ut_interaction
from examples.d3d import clips
from examples.d3d.config import PAPER, POCKET, Config, Input, Network, Optimizer
from kdvideo.data import synthetic

FEW = (0, 1, 2)  # the seeds of rows on which no claim rests
# Chosen before anything was measured: published rates and lengths do not fit networks this thin and clips this few.
BENCH = Config(
    input=Input(frames=32, fps=25.0, short_side=128, crop=112, flow_bound=10.0),
    optimizer=Optimizer(
        name="adamw", steps=1500, batch_size=32, reference_batch=32, lr=2e-3, warmup=0.05, weight_decay=0.02
    ),
    network=Network(depth_multiplier=0.5, fast_start=True),
    in_memory=True,
    mixed_precision="bf16",
    checkpointing_steps=250,
)


class Draw(NamedTuple):
    """One repetition of a measurement: the name under which it is recorded, its settings and its seed."""

    key: str
    config: Config
    seed: int


@dataclass(frozen=True)
class Videos:
    """Synthetic videos; without ``settings`` those that the recipe writes by itself."""

    text: str
    settings: Mapping[str, Any] | None = None

    def chosen(self, config: Config) -> Config:
        """The settings with these clips, which are written at the first call."""
        if self.settings is None:
            return config
        seed, classes = self.settings["seed"], len(self.settings["classes"])
        name = f"seed{seed}_{classes}classes_{self.settings.get('size', 72)}px"
        root = synthetic.write_dataset(config.work_dir / "synthetic" / name, **self.settings)
        return dataclasses.replace(config, train=root / "train", test=root / "test")


@dataclass(frozen=True)
class Scale:
    """The settings of a size, its data by part ("kinetics600" stands for a second, larger data set), its seeds."""

    name: str
    config: Config
    data: Mapping[str, Videos]
    seeds: tuple[int, ...]

    def draws(self, part: str, seeds: Sequence[int], options: argparse.Namespace) -> list[Draw]:
        """The repetitions of one table."""
        config = dataclasses.replace(self.config, work_dir=options.work_dir)
        if self.name == "ut_interaction":
            return _folds(seeds, options)
        if self.name == "paper":
            config = dataclasses.replace(config, train=options.train, test=options.test, root=options.root)
            config = config if part == "transfer" else shared(config, options.gpus)
        else:
            config = self.data[part].chosen(config)
        return [Draw(str(seed), config, seed) for seed in seeds]


def _folds(seeds: Sequence[int], options: argparse.Namespace) -> list[Draw]:
    chosen = argparse.Namespace(clips=options.clips, work_dir=options.work_dir, seeds=seeds)
    if not Path(options.clips).is_dir():
        raise ValueError(f"no folder {options.clips}; give the UT-Interaction clips with --clips")
    folds = range(ut_interaction.FOLDS)
    configs = {fold: ut_interaction.fold_config(chosen, fold) for fold in folds}
    return [Draw(f"fold {fold} seed {seed}", configs[fold], seed) for seed in seeds for fold in folds]


def shared(config: Config, gpus: int) -> Config:
    """The settings for that many GPUs, with the same batch."""
    return dataclasses.replace(config, gradient_accumulation_steps=accumulation(config, gpus))


def accumulation(config: Config, gpus: int, *, clips_per_gpu: int = 6) -> int:
    """Parts into which a GPU's share of the batch is cut, so that each holds the paper's 6 clips.

    Raises:
        ValueError: the batch does not divide that way.
    """
    batch = config.optimizer.batch_size
    if gpus not in fitting(batch, clips_per_gpu):
        raise ValueError(
            f"{gpus} GPUs cannot share a batch of {batch} as parts of {clips_per_gpu}; take one of "
            f"{fitting(batch, clips_per_gpu)}"
        )
    return batch // (gpus * clips_per_gpu)


def fitting(batch: int, clips_per_gpu: int = 6) -> list[int]:
    """Numbers of GPUs that can share a batch."""
    most = batch // clips_per_gpu
    return [n for n in range(1, most + 1) if batch % (n * clips_per_gpu) == 0]


def _synthetic(classes: Sequence[str], counts: Mapping[str, int], **settings: Any) -> dict[str, Any]:
    return {"classes": list(classes), "clips_per_class": dict(counts), **settings}


TRANSFERRED = ("diagonal", "horizontal", "rock", "spin")  # two pairs that look alike
_FEW_CLIPS = {"train": 6, "test": 40}


def _transfer(sources: Mapping[str, Videos]) -> Videos:
    """A third data set, to which networks are transferred that were trained on the first two."""
    first, second = sources["kinetics400"], sources["kinetics600"]
    assert second.settings is not None
    counts = len(TRANSFERRED) * _FEW_CLIPS["train"], len(TRANSFERRED) * _FEW_CLIPS["test"]
    text = (
        f"transfer between small data sets. Pretrained, in the place of Kinetics, on {first.text} and {second.text}. "
        f"Fine-tuned and tested on a third set of synthetic videos ({len(TRANSFERRED)} motions, two of which only the "
        f"second pretraining has; {counts[0]} training and {counts[1]} test clips) and on UT-Interaction (real video, "
        "6 classes; a third of the sequences for testing); where a value stands under UCF-101 or HMDB-51, on these, "
        "split 1"
    )
    seed = second.settings["seed"] + 1
    more = {"classes": list(TRANSFERRED), "clips_per_class": _FEW_CLIPS, "seed": seed}
    return Videos(text, {**second.settings, **more})


_POCKET = {
    "kinetics400": Videos("the embedded synthetic videos (6 motions, 120 training and 240 test clips)"),
    "kinetics600": Videos(
        "a second set of synthetic videos in the place of Kinetics-600 (8 motions, of which two pairs look alike; 160 "
        "training and 320 test clips)",
        _synthetic(synthetic.MOTIONS, clips.SYNTHETIC, seed=1),
    ),
    "ava": Videos("synthetic localisation videos (6 actions, 240 training and 144 test key frames)"),
}
# Where claims cannot be told at the scale pocket: is it for want of clips? Other videos, at the same cost.
_MORE = {
    "kinetics400": Videos(
        "synthetic videos (6 motions, 480 training and 240 test clips)",
        _synthetic(synthetic.CLASSES, {"train": 80, "val": 20, "test": 40}, seed=3),
    )
}
_BENCH_CLIPS = {"train": 60, "val": 20, "test": 60}
_BENCH = {
    "kinetics400": Videos(
        "synthetic videos of 128 x 128 pixels (6 motions, 360 training and 360 test clips)",
        _synthetic(synthetic.CLASSES, _BENCH_CLIPS, seed=0, size=128, frames=64),
    ),
    "kinetics600": Videos(
        "a second set of synthetic videos of 128 x 128 pixels in the place of Kinetics-600 (8 motions, of which two "
        "pairs look alike; 480 training and 480 test clips)",
        _synthetic(synthetic.MOTIONS, _BENCH_CLIPS, seed=1, size=128, frames=64),
    ),
}
_REAL = "UT-Interaction (real video, 6 classes, 120 clips, three folds that leave whole sequences out)"
_YOURS = {part: Videos("the clips that --train and --test name") for part in ("kinetics400", "kinetics600")} | {
    "transfer": Videos("UCF-101 and HMDB-51, split 1, after pretraining on Kinetics")
}
SCALES = {
    "pocket": Scale("pocket", POCKET, _POCKET | {"transfer": _transfer(_POCKET)}, tuple(range(6))),
    "more_clips": Scale("more_clips", POCKET, _MORE, tuple(range(6))),
    "ut_interaction": Scale("ut_interaction", ut_interaction.SETTINGS, {"kinetics400": Videos(_REAL)}, (0, 1, 2)),
    "bench": Scale("bench", BENCH, _BENCH | {"transfer": _transfer(_BENCH)}, (0, 1, 2)),
    "paper": Scale("paper", dataclasses.replace(PAPER, mixed_precision="bf16"), _YOURS, (0,)),
}
