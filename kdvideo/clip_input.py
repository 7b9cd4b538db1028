"""How a network's clips are made: what its file of weights says, or its `input_spec`."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kdvideo import flow, models


def clip_input(network: models.Network, info: Mapping[str, Any], weights: str | Path) -> dict[str, Any]:
    """Return stream, frames, fps, short side, crop and flow of the clips that a network of `checkpoints.load` sees.

    Raises:
        ValueError: the file's description lacks some of them, or the network sees neither RGB nor flow.
    """
    view = dict(info["input"]) if "stream" in info["input"] else _published(network)
    needed = {"frames", "fps", "short_side", "crop", "flow_bound", *(["flow"] if view["stream"] == "flow" else [])}
    if missing := sorted(needed - set(view)):
        raise ValueError(f"the input described in {weights} must have {sorted(needed)}, it lacks {missing}")
    return view


def _published(network: models.Network) -> dict[str, Any]:
    """Return how clips are made for weights that others trained: by `input_spec`, with the default TV-L1 flow."""
    spec = network.input_spec
    if network.in_channels not in (2, 3):
        raise ValueError(f"the network must see 3 (RGB) or 2 (flow) channels, got {network.in_channels}")
    return {
        "stream": "flow" if network.in_channels == 2 else "rgb",
        "frames": spec.frames,
        "fps": (spec.fps or 25.0) / spec.step,
        "short_side": spec.size * 8 // 7,  # 256 for 224
        "crop": spec.size,
        "flow_bound": 20.0,
        "flow": flow.TVL1Estimator(flow.PRESETS["default"]).fingerprint,
    }


def estimator_of(view: Mapping[str, Any]) -> flow.FlowEstimator:
    """Return the estimator of the flow on which the network was trained."""
    known = {one.fingerprint: one for one in map(flow.TVL1Estimator, flow.PRESETS.values())}
    if view["flow"] not in known:
        raise ValueError(f"the network's flow must be of one of {list(known)}, got {view['flow']}")
    return known[view["flow"]]
