"""Schedules that the authors of S3D-G and I3D give for their networks; all others have the D3D paper's.

S3D-G: Xie et al., "Rethinking Spatiotemporal Feature Learning", arXiv 1712.04851: 56 GPUs x 6 clips, 80k steps, rate
0.1, tenfold falls at 60k and 70k. I3D: its authors' README, github.com/google-deepmind/kinetics-i3d: 64 replicas x 6
clips; RGB 115k steps, falls at 97k and 108k; flow 155k, falls at 97k and 104.5k, at 115k again 0.1, falls at 140k and
150k. Rate, momentum 0.9 and weight decay 1e-7 are those of the recipe.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from benchmarks.paper.methods import FLOW, I3D_FLOW, I3D_RGB, RGB, Method
from examples.d3d.config import PAPER, Config, Optimizer


@dataclass(frozen=True)
class Restarted(Optimizer):
    """A schedule whose rate is once at its start again; `decay_at` has falls before that and after it."""

    restart_at: float = 1.0

    @property
    def factors(self) -> dict[float, float]:
        """Fraction of the steps -> what the rate is multiplied by from there on."""
        before, after = ([at for at in self.decay_at if (at > self.restart_at) is late] for late in (False, True))
        falls = {at: 0.1**k for part in (before, after) for k, at in enumerate(part, 1)}
        return falls | {self.restart_at: 1.0}


S3DG = dataclasses.replace(PAPER.optimizer, steps=80_000)  # 60k and 70k are the recipe's fractions
I3D = dataclasses.replace(
    PAPER.optimizer, steps=115_000, batch_size=384, reference_batch=384, decay_at=(97 / 115, 108 / 115)
)
I3D_ON_FLOW = Restarted(
    steps=155_000,
    batch_size=384,
    reference_batch=384,
    decay_at=(97 / 155, 104.5 / 155, 140 / 155, 150 / 155),
    restart_at=115 / 155,
)
SCHEDULES: dict[Method, Optimizer] = {RGB: S3DG, FLOW: S3DG, I3D_RGB: I3D, I3D_FLOW: I3D_ON_FLOW}


def own(config: Config) -> dict[Method, Config]:
    """Return the settings of the networks that have a schedule of their own."""
    return {method: dataclasses.replace(config, optimizer=schedule) for method, schedule in SCHEDULES.items()}
