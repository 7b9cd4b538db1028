"""Tune every method on development seeds, train it on others, time its step, and write the records of the ranking.

The budget is the same for all: four settings on two development seeds, of which the best mean accuracy on validation
data is taken. While the best is the first or the last one, the next beyond it is tried, up to three times; a lower
weight also while none reaches the student alone. For the student alone, and losses that stand without a cross-entropy,
the setting is the learning rate; for all others it is a weight, in units of `training.unit`, at the learning rate that
is the best for the student alone. A run is kept under `runs/ranking` by the hash of its configuration: the same command
continues what was stopped.

    python -m benchmarks.methods.run
    python -m benchmarks.methods.run --pairs images --methods SoftTarget DKD --seeds 0 1 2
"""

from __future__ import annotations

from benchmarks.methods.command import DEVELOPMENT_SEEDS, arguments

if __name__ == "__main__":
    arguments()  # --help and wrong flags end here, before the imports take their seconds

import inspect
import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from benchmarks.methods import render, training
from benchmarks.methods.differences import ALONE, CONTROL
from benchmarks.methods.methods import METHODS, Method, not_applicable
from benchmarks.methods.pairs import PAIRS, Lesson, Pair
from kdvideo.files import write_atomic
from kdvideo.training import settings_hash

VERSION = 1  # of what a run computes: raise it with every change that the configuration does not show
FACTORS = (0.3, 1.0, 3.0, 10.0)
BEYOND = 3


@dataclass(frozen=True)
class Setting:
    """What is tuned of a method."""

    weight: float
    rate: float
    factor: float | None = None

    @property
    def tuned(self) -> float:
        """The weight, or the rate where there is none."""
        return self.rate if self.factor is None else self.weight

    def beyond(self, neighbor: Setting) -> Setting:
        """Return the setting as far from this one as this one is from its neighbor."""
        if self.factor is None or neighbor.factor is None:
            return Setting(self.weight, _short(self.rate**2 / neighbor.rate))
        step = self.factor / neighbor.factor
        return Setting(_short(self.weight * step), self.rate, _short(self.factor * step))


@dataclass(frozen=True)
class Runner:
    """The runs of a pair, each done once.

    Args:
        pair: the pair.
        folder: of the results.
        lesson: seed -> lesson.
    """

    pair: Pair
    folder: Path
    lesson: Callable[[int], Lesson] = field(init=False)

    def __post_init__(self) -> None:
        # A lesson takes seconds: the loops below have the seeds outside.
        object.__setattr__(self, "lesson", lru_cache(maxsize=2)(lambda seed: Lesson(self.pair, seed)))

    def known(self, name: str, seed: int, compute: Callable[[Lesson], float], **configuration: Any) -> float:
        """Return a number from its file, or compute it."""
        method = METHODS.get(name)
        about = asdict(method) | {"build": inspect.getsource(method.build)} if method else None
        # The defaults of a pair's networks and data stand in its text or under VERSION.
        pair = {key: value for key, value in asdict(self.pair).items() if not callable(value) and key != "text"}
        whole = {"version": VERSION, "pair": pair, "name": name, "method": about, "seed": seed, **configuration}
        path = self.folder / f"{settings_hash(whole)}.json"
        if not path.exists():
            write_atomic(path, json.dumps({"value": compute(self.lesson(seed)), **whole}, default=str).encode())
        value: float = json.loads(path.read_text())["value"]
        return value

    def accuracy(self, name: str, seed: int, setting: Setting, split: training.Split) -> float:
        """Train a method at a seed and measure it."""
        weight, rate = setting.weight, setting.rate

        def compute(lesson: Lesson) -> float:
            return training.train(lesson, METHODS.get(name), weight=weight, rate=rate, split=split)

        return self.known(name, seed, compute, what=split, weight=weight, rate=rate)

    def settings(self, name: str, rate: float) -> list[Setting]:
        """Return the settings that are tried."""
        method = METHODS.get(name)
        if method is None or method.alone:
            return [Setting(1.0, one) for one in self.pair.rates]
        unit = self.known(
            name, DEVELOPMENT_SEEDS[0], lambda lesson: training.unit(lesson, method, rate), what="unit", rate=rate
        )
        return [Setting(_short(factor * unit), rate, factor) for factor in FACTORS]

    def tuned(self, name: str, rate: float = 0.0, alone: float = 0.0) -> dict[str, Any]:
        """Return the best setting of a method, with the accuracies on validation data of all that were tried.

        Args:
            name: of the method.
            rate: of the student alone.
            alone: its accuracy, which a weight near 0 must reach.
        """
        settings = self.settings(name, rate)
        means = [self.validation(name, one) for one in settings]
        for _ in range(BEYOND):
            best = means.index(max(means))
            low = best == 0 or (settings[best].factor is not None and means[best] < alone)
            if not low and best < len(means) - 1:
                break
            place, end, neighbor = (0, 0, 1) if low else (len(means), -1, -2)
            settings.insert(place, settings[end].beyond(settings[neighbor]))
            means.insert(place, self.validation(name, settings[place]))
        best = means.index(max(means))
        tried = {f"{one.tuned:g}": round(mean, 3) for one, mean in zip(settings, means, strict=True)}
        return {**asdict(settings[best]), "tried": tried}

    def validation(self, name: str, setting: Setting) -> float:
        """Compute the mean accuracy on validation data over the development seeds."""
        return statistics.mean(self.accuracy(name, seed, setting, "validation") for seed in DEVELOPMENT_SEEDS)


def _short(value: float) -> float:
    return float(f"{value:.3g}")


def rank(pair: Pair, names: Sequence[str], seeds: Sequence[int], folder: Path, rounds: int) -> dict[str, Any]:
    """Tune, train and time methods on a pair; return what is recorded."""
    runner = Runner(pair, folder)
    names = [name for name in names if name not in not_applicable(pair)]
    rows = {ALONE: runner.tuned(ALONE)}
    known = rows[ALONE]["rate"], max(rows[ALONE]["tried"].values())
    rows |= {name: runner.tuned(name, *known) for name in names}
    print(f"{pair.name}: tuned", flush=True)
    teacher = {}
    for seed in seeds:
        teacher[str(seed)] = runner.known(ALONE, seed, lambda lesson: lesson.teacher_accuracy, what="teacher")
        for name, row in rows.items():
            setting = Setting(row["weight"], row["rate"])
            row.setdefault("test", {})[str(seed)] = round(runner.accuracy(name, seed, setting, "test"), 4)
        print(f"{pair.name}: seed {seed}", flush=True)
    methods: dict[str, Method | None] = {ALONE: None, CONTROL: None, **{name: METHODS[name] for name in names}}
    spent = training.time_steps(runner.lesson(seeds[0]), methods, rounds).cpu
    for name in methods:
        ratios = [one / base for one, base in zip(spent[name], spent[ALONE], strict=True)]
        low, median, high = statistics.quantiles(ratios, n=4)
        row = rows.setdefault(name, {})
        row["step"] = {"median": round(median, 3), "low": round(low, 3), "high": round(high, 3)}
    milliseconds = 1e3 * statistics.median(spent[ALONE]) / training.STEPS_PER_ROUND
    return {
        "pair": pair.name,
        "text": pair.text,
        "steps": pair.steps,
        "development_seeds": list(DEVELOPMENT_SEEDS),
        "seeds": list(seeds),
        "rounds": rounds,
        "teacher_validation": teacher,
        "milliseconds_alone": round(milliseconds, 3),
        "rows": rows,
        "not_applicable": not_applicable(pair),
    }


def main(given: Sequence[str] | None = None) -> None:
    """Measure, print and record."""
    options = arguments(given)
    if unknown := set(options.methods or ()) - set(METHODS):
        raise SystemExit(f"error: --methods must be some of {', '.join(METHODS)}, got {', '.join(sorted(unknown))}")
    torch.set_num_threads(1)
    command = f"python -m benchmarks.methods.run --seeds {' '.join(map(str, options.seeds))}"
    for name in options.pairs:
        found = rank(PAIRS[name], options.methods or list(METHODS), options.seeds, options.folder, options.rounds)
        record.write(f"methods_{name}", found | record.environment(command, 1), render.markdown)


if __name__ == "__main__":
    main()
