"""What a reader of clips asks of its flow source, and the checks of the arguments that readers share."""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from torch import Tensor

from kdvideo.flow import FlowSource, OnlineFlow


@runtime_checkable
class StoredFlow(Protocol):
    """A flow source that needs no frames, such as `kdvideo.flow.FlowStore`."""

    def read(self, clip_id: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Read the flows `start:stop` of a clip, (stop - start, 2, H, W) float, pixels."""
        ...


@runtime_checkable
class QuantizedFlow(Protocol):
    """Stored flow that is also given as the bytes in which it is stored, such as `kdvideo.flow.FlowStore`."""

    bound: float

    def read_quantized(self, clip_id: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Read the flows `start:stop` of a clip, (stop - start, 2, H, W) uint8 in 1..255, see `flow.quantize`."""
        ...


@runtime_checkable
class CountedFlow(Protocol):
    """Stored flow of which it is known how many there are of a clip, such as `kdvideo.flow.FlowStore` and `TSNFlow`."""

    def count(self, clip_id: str, path: str | None = None) -> int:
        """Return the number of flows of a clip; ValueError if its video is another than they were made of."""
        ...


def check_sources(manifest: object, flow: object) -> None:
    """Raise ValueError for what is no Dataset of clips, or no flow source."""
    if isinstance(manifest, (str, os.PathLike)) or type(manifest) in (list, tuple):
        raise ValueError(
            f"manifest must be a Dataset of clips, got {manifest!r:.200}: kdvideo.data.from_folder(folder), or "
            "from_csv(file)"
        )
    if flow is None:
        return
    if isinstance(flow, (type, OnlineFlow)) or not callable(flow) or _is_estimator(flow):
        raise ValueError(
            f"flow must be a flow source, got {flow!r:.200}: kdvideo.flow.EstimatorSource(estimator) computes flow "
            "from the frames, EstimatorSource() TV-L1, a FlowStore reads what was stored"
        )


def _is_estimator(flow: Callable[..., object]) -> bool:
    """Return whether this is a `FlowEstimator`, which takes frames and their range in the place of an id and frames."""
    return hasattr(flow, "fingerprint") and "value_range" in inspect.signature(flow).parameters


def check_rate(flow: FlowSource | None, fps: float) -> None:
    """Raise ValueError where stored flow is of another rate."""
    rate = getattr(flow, "fps", None)
    if isinstance(rate, int | float) and rate != fps:
        raise ValueError(
            f"fps must be that of the stored flow, {rate:g}, got {fps:g}: pair flow and frames of one rate"
        )
