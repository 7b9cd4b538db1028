"""Compare the estimators behind `FlowEstimator`: endpoint error on RubberWhale, and processor time of a pair.

Those whose weights are not here are built without: their time is that of the network, and their error is not run.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from kdvideo import flow as kf
from kdvideo.training.timing import Timings, spread_of

REFERENCE, AGAIN = "TV-L1", "TV-L1 again"


def _raft(name: str) -> kf.FlowEstimator:
    from torchvision.models import optical_flow

    return kf.RAFTEstimator(getattr(optical_flow, name)(weights=None))


def _sea_raft() -> kf.FlowEstimator:
    import ptlflow

    return kf.PTLFlowEstimator(ptlflow.get_model("sea_raft_s"))


EXACT: dict[str, Callable[[], kf.FlowEstimator]] = {
    REFERENCE: kf.TVL1Estimator,
    "TV-L1, fast": partial(kf.TVL1Estimator, kf.FAST),
    "DIS, medium": partial(kf.DISEstimator, "medium"),
    "DIS, fast": partial(kf.DISEstimator, "fast"),
    "DIS, ultrafast": partial(kf.DISEstimator, "ultrafast"),
    "NVIDIA's hardware, slow": kf.NvidiaEstimator,
}
UNTRAINED: dict[str, Callable[[], kf.FlowEstimator]] = {
    "RAFT small (torchvision), 12 updates": partial(_raft, "raft_small"),
    "RAFT large (torchvision), 12 updates": partial(_raft, "raft_large"),
    "SEA-RAFT S (ptlflow), 4 updates": _sea_raft,
}


def measure(pairs: Tensor, rubberwhale: Path, rounds: int) -> dict[str, Any]:
    """Measure all estimators on one thread; `pairs` are (2,N,1,H,W)."""
    import cv2

    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    found: dict[str, dict[str, Any]] = {}
    built: dict[str, kf.FlowEstimator] = {}
    for name, make in {**EXACT, **UNTRAINED}.items():
        try:
            built[name] = make()
        except (ImportError, ValueError) as error:
            found[name] = {"not_run": str(error).partition(":")[0]}
    clip = pairs.transpose(0, 1)
    arms = {name: partial(estimator, clip) for name, estimator in built.items()}
    times = Timings({**arms, AGAIN: arms[REFERENCE]}, rounds)
    for name in (*built, AGAIN):
        ratios = [a / b for a, b in zip(times.cpu[name], times.cpu[REFERENCE], strict=True)]
        found.setdefault(name, {})["processor_time"] = spread_of(ratios)
    for name in EXACT.keys() & built.keys():
        found[name]["error_px"] = _error(built[name], rubberwhale)
    order = [*EXACT, *UNTRAINED, AGAIN]
    return {
        "pairs": pairs.shape[1],
        "size": list(pairs.shape[-2:]),
        "estimators": {name: found[name] for name in order},
    }


def _error(estimator: kf.FlowEstimator, folder: Path) -> float:
    from torchvision.io import ImageReadMode, read_image

    pair = torch.stack([read_image(str(folder / f"RubberWhale{i}.png"), ImageReadMode.GRAY) for i in (1, 2)])
    truth = kf.read_flo(folder / "RubberWhale.flo")
    return round(float(kf.endpoint_error(estimator(pair)[0], truth, mask=kf.is_known(truth))), 4)
