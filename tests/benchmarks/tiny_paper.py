"""A script of the paper at scale paper, with tiny networks and trainings of two steps: what the dry run starts.

python -m tests.benchmarks.tiny_paper benchmarks.paper.table2_kinetics400 --scale paper ...
"""

from __future__ import annotations

import dataclasses
import runpy
import sys
from typing import Any

from benchmarks.paper.tables import scales
from examples.d3d.batches import Training
from examples.d3d.config import Input, Network

SMALL = {"steps": 2, "batch_size": 4}


def shorten() -> None:
    """Shrink the networks and their input, and every training, whatever its schedule."""
    paper = scales.SCALES["paper"]
    config = dataclasses.replace(
        paper.config,
        input=Input(frames=8, fps=12.5, short_side=36, crop=32, flow_bound=5.0, test_frames=8),
        network=Network(depth_multiplier=0.125, fast_start=True),
        optimizer=dataclasses.replace(paper.config.optimizer, **SMALL),
        num_workers=0,
    )
    scales.SCALES["paper"] = dataclasses.replace(paper, config=config)
    made = Training.__init__

    def short(self: Training, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        object.__setattr__(self, "optimizer", dataclasses.replace(self.optimizer, **SMALL))
        object.__setattr__(self, "accumulate", 1)

    Training.__init__ = short  # type: ignore[method-assign]


if __name__ == "__main__":
    shorten()
    sys.argv = sys.argv[1:]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
