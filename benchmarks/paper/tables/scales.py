"""The sizes at which a table is measured, and the clips of each: Config presets of the recipe.

pocket: two CPU cores. shortcut: smaller, on videos in which the look of a class misleads; more_clips: the same with
four times the training clips. ut_interaction: thin networks on 120 real clips. bench: one GPU, hours. paper: the
published schedule on a data set of yours, normally Kinetics, in bfloat16.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import Accelerator

from benchmarks.paper import published, ut_interaction
from benchmarks.paper.lab import Lab
from benchmarks.paper.tables import cluster_plan, flow_flags, gpu_shares
from benchmarks.paper.tables.table import Table
from examples.d3d.config import PAPER, POCKET, SHORTCUT, Config, Input, Network, Optimizer
from examples.d3d.data import SYNTHETIC, fingerprint
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
    """One repetition of a measurement: the name under which it is recorded, its laboratory and its seed."""

    key: str
    lab: Lab
    seed: int


@dataclass(frozen=True)
class Videos:
    """Synthetic videos; without `settings` those that the recipe writes by itself."""

    text: str
    settings: Mapping[str, Any] | None = None

    def chosen(self, config: Config) -> Config:
        """Return the settings with these clips, which are written at the first call."""
        if self.settings is None:
            return config
        seed, classes = self.settings["seed"], len(self.settings["classes"])
        kind = "shortcut" if "cues" in self.settings else "independent"
        name = f"{kind}_seed{seed}_{classes}classes_{self.settings.get('size', 72)}px"
        root = synthetic.write_dataset(config.work_dir / "synthetic" / name, **self.settings)
        return dataclasses.replace(config, train=root / "train", test=root / "test")


@dataclass(frozen=True)
class Scale:
    """The settings of a size, its data by part ("kinetics600" stands for a second, larger data set), its seeds."""

    name: str
    config: Config
    data: Mapping[str, Videos]
    seeds: tuple[int, ...]

    published = False
    """Whether the clips are those of the paper, trained as published."""

    def draws(
        self, part: str, seeds: Sequence[int], options: argparse.Namespace, accelerator: Accelerator
    ) -> list[Draw]:
        """Return the repetitions of one table, which share a laboratory."""
        config = flow_flags.chosen(dataclasses.replace(self.config, work_dir=options.work_dir), options)
        lab = Lab(self.data[part].chosen(config), accelerator)
        return [Draw(str(seed), lab, seed) for seed in seeds]

    def plan(self, tables: Sequence[Table], options: argparse.Namespace) -> str | None:
        """Return what a command says instead of measuring; None: it measures.

        Raises:
            ValueError: the command line lacks what the scale needs.
        """
        return None

    def clips_for_record(self, lab: Lab) -> dict[str, Any]:
        """Return what a record says of clips that are not ours."""
        return {}

    def on_gpus(self, config: Config, options: argparse.Namespace) -> Config:
        """Return the settings for the GPUs that the command line names."""
        return config

    def pretraining(self, part: str, lab: Lab, options: argparse.Namespace) -> Lab | None:
        """Return the laboratory of a pretraining on a part of the data; None where its clips are not given."""
        config = dataclasses.replace(lab.config, train=None, test=None, root=None)
        return Lab(self.data[part].chosen(config), lab.accelerator)


class RealScale(Scale):
    """The folds of UT-Interaction."""

    def draws(
        self, part: str, seeds: Sequence[int], options: argparse.Namespace, accelerator: Accelerator
    ) -> list[Draw]:
        """Return every fold at every seed."""
        if not Path(options.clips).is_dir():
            raise ValueError(f"--clips must be the folder of the UT-Interaction clips, got {options.clips}")
        place = options.clips, options.work_dir
        folds = ut_interaction.REPORTED
        labs = {fold: Lab(ut_interaction.fold_config(self.config, *place, fold), accelerator) for fold in folds}
        return [Draw(f"fold {fold} seed {seed}", lab, seed) for seed in seeds for fold, lab in labs.items()]


class PaperScale(Scale):
    """The published protocol, on the clips that the command line names; without --execute it says what it takes."""

    published = True

    def draws(
        self, part: str, seeds: Sequence[int], options: argparse.Namespace, accelerator: Accelerator
    ) -> list[Draw]:
        """Return the seeds on the given clips."""
        config = flow_flags.chosen(dataclasses.replace(self.config, work_dir=options.work_dir), options)
        config = dataclasses.replace(config, train=options.train, test=options.test, root=options.root)
        # Table 4 trains with another batch, which its script shares out.
        lab = Lab(config, accelerator) if part == "transfer" else self._lab(config, options, accelerator)
        return [Draw(str(seed), lab, seed) for seed in seeds]

    def _lab(self, config: Config, options: argparse.Namespace, accelerator: Accelerator) -> Lab:
        own = {} if options.equal_steps else published.own(config)
        shared = {method: self.on_gpus(settings, options) for method, settings in own.items()}
        return Lab(self.on_gpus(config, options), accelerator, shared)

    def plan(self, tables: Sequence[Table], options: argparse.Namespace) -> str | None:
        """Return the commands, clips and cost of the protocol, unless the command line says --execute."""
        if not options.execute:
            return cluster_plan.plan(tables, self.config, options)
        parts = {table.part for table in tables if table.plan is None}
        if parts and not (options.train and options.test):
            raise ValueError("--train and --test must name the clips of the published protocol")
        if len(parts) > 1:
            advice = "run them by --only, with --train and --test of their own"
            raise ValueError(f"--train and --test must fit all tables, but Tables 3 and 8 are on other clips: {advice}")
        if any(table.needs_flow and table.plan is None for table in tables):
            flow_flags.check(self.config, options)
        return None

    def clips_for_record(self, lab: Lab) -> dict[str, Any]:
        """Return the number of clips and their fingerprints, and the schedules that differ from the recipe's."""
        schedules = {"schedules": [f"{method.name}: {one.optimizer}" for method, one in lab.own.items()]}
        if lab.config.train is None:
            return schedules
        sides = {"train": lab.clips.train, "test": lab.clips.test}
        counts = {side: {"count": len(one), "fingerprint": fingerprint(one)} for side, one in sides.items()}
        return schedules | {"clips": counts}

    def on_gpus(self, config: Config, options: argparse.Namespace) -> Config:
        """Return the settings whose batch the given GPUs share."""
        return gpu_shares.on_gpus(config, options.gpus)

    def pretraining(self, part: str, lab: Lab, options: argparse.Namespace) -> Lab | None:
        """Return the laboratory on Kinetics-600, whose clips --train and --test may name; other weights are given."""
        there = part == "kinetics600" and lab.config.train
        return self._lab(lab.config, options, lab.accelerator) if there else None


def _shortcut(classes: Sequence[str], counts: Mapping[str, int], **settings: Any) -> dict[str, Any]:
    return SYNTHETIC["shortcut"] | {"classes": list(classes), "clips_per_class": dict(counts), **settings}


def _fair(classes: Sequence[str], counts: Mapping[str, int], **settings: Any) -> dict[str, Any]:
    return SYNTHETIC["independent"] | {"classes": list(classes), "clips_per_class": dict(counts), **settings}


TRANSFERRED = ("diagonal", "horizontal", "rock", "spin")  # two pairs that look alike
_FEW_CLIPS = {"train": 6, "test": 40}


def _transfer(sources: Mapping[str, Videos]) -> Videos:
    """A third data set, to which networks are transferred that were trained on the first two."""
    first, second = sources["kinetics400"], sources["kinetics600"]
    assert second.settings is not None
    counts = len(TRANSFERRED) * _FEW_CLIPS["train"], len(TRANSFERRED) * _FEW_CLIPS["test"]
    text = (
        f"transfer between small data sets. Pretrained, in the place of Kinetics, on {first.text} and {second.text}. "
        f"Fine-tuned and tested on a third set of such videos ({len(TRANSFERRED)} motions, two of which only the "
        f"second pretraining has; {counts[0]} training and {counts[1]} test clips) and on UT-Interaction (real video, "
        "6 classes; a third of the sequences for testing); where a value stands under UCF-101 or HMDB-51, on these, "
        "split 1"
    )
    seed = second.settings["seed"] + 1
    more = {"classes": list(TRANSFERRED), "clips_per_class": _FEW_CLIPS, "seed": seed}
    return Videos(text, {**second.settings, **more})


_FAIR_CLIPS = SYNTHETIC["independent"]["clips_per_class"]
_POCKET = {
    "kinetics400": Videos("the embedded synthetic videos (6 motions, 1440 training and 600 test clips)"),
    "kinetics600": Videos(
        "a second set of synthetic videos in the place of Kinetics-600 (8 motions, of which two pairs look alike; 1920 "
        "training and 800 test clips)",
        _fair(synthetic.MOTIONS, _FAIR_CLIPS, seed=1),
    ),
    "ava": Videos("synthetic localization videos (6 actions, 240 training and 144 test key frames)"),
}
_SHORTCUT_CLIPS = SYNTHETIC["shortcut"]["clips_per_class"]
_SHORTCUT = {
    "kinetics400": Videos("synthetic videos whose look misleads (6 motions, 120 training and 240 test clips)"),
    "kinetics600": Videos(
        "a second set of such videos in the place of Kinetics-600 (8 motions, of which two pairs look alike; 160 "
        "training and 320 test clips)",
        _shortcut(synthetic.MOTIONS, _SHORTCUT_CLIPS, seed=1),
    ),
    "ava": _POCKET["ava"],
}
# Where claims cannot be told at the scale shortcut: is it for want of clips? Other videos, at the same cost.
_MORE = {
    "kinetics400": Videos(
        "synthetic videos whose look misleads (6 motions, 480 training and 240 test clips)",
        _shortcut(synthetic.CLASSES, _SHORTCUT_CLIPS | {"train": 80}, seed=3),
    )
}
_BENCH = {
    "kinetics400": Videos(
        "synthetic videos of 128 x 128 pixels (6 motions, 1440 training and 600 test clips)",
        _fair(synthetic.CLASSES, _FAIR_CLIPS, seed=0, size=128, frames=64),
    ),
    "kinetics600": Videos(
        "a second set of synthetic videos of 128 x 128 pixels in the place of Kinetics-600 (8 motions, of which two "
        "pairs look alike; 1920 training and 800 test clips)",
        _fair(synthetic.MOTIONS, _FAIR_CLIPS, seed=1, size=128, frames=64),
    ),
}
_REAL = "UT-Interaction (real video, 6 classes, 120 clips, four folds that leave whole sequences out)"
_YOURS = {part: Videos("the clips that --train and --test name") for part in ("kinetics400", "kinetics600")} | {
    "transfer": Videos("UCF-101 and HMDB-51, split 1, after pretraining on Kinetics")
}
SCALES = {
    "pocket": Scale("pocket", POCKET, _POCKET | {"transfer": _transfer(_POCKET)}, tuple(range(6))),
    "shortcut": Scale("shortcut", SHORTCUT, _SHORTCUT | {"transfer": _transfer(_SHORTCUT)}, tuple(range(6))),
    "more_clips": Scale("more_clips", SHORTCUT, _MORE, tuple(range(6))),
    "ut_interaction": RealScale("ut_interaction", ut_interaction.SCRATCH, {"kinetics400": Videos(_REAL)}, (0, 1, 2)),
    "bench": Scale("bench", BENCH, _BENCH | {"transfer": _transfer(_BENCH)}, (0, 1, 2)),
    "paper": PaperScale("paper", dataclasses.replace(PAPER, mixed_precision="bf16"), _YOURS, (0,)),
}
