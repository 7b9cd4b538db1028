"""The interface of optical flow estimators, and TV-L1 behind it.

A network trained on the flow of one estimator is worse on another's: every estimator has a `fingerprint`, a
text that is stored with flow, caches and weights and compared when they are used.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import Protocol, get_args

from torch import Tensor

from kdvideo._hints import represented
from kdvideo.flow.tvl1.backends import Backend
from kdvideo.flow.tvl1.estimate import tvl1
from kdvideo.flow.tvl1.presets import DEFAULT, PRESETS, TVL1Settings


class FlowEstimator(Protocol):
    """Anything that computes the flow of a clip and has a fingerprint.

    Examples:
        >>> import torch
        >>> from kdvideo.flow import EstimatorSource
        >>> class Still:  # nothing ever moves
        ...     fingerprint = "still"
        ...
        ...     def __call__(self, frames, *, value_range=None):
        ...         return torch.zeros(*frames.shape[:-4], frames.shape[-4] - 1, 2, *frames.shape[-2:])
        >>> EstimatorSource(Still())("run.mp4", torch.zeros(5, 3, 24, 32, dtype=torch.uint8)).shape
        torch.Size([4, 2, 24, 32])
    """

    @property
    def fingerprint(self) -> str:
        """Everything that decides the numbers, as one line of text."""
        ...

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """Compute the flow of clips, from every frame to the one after it.

        Args:
            frames: (T,3,H,W) or (B,T,3,H,W), RGB.
            value_range: (black, white) of floating point frames; uint8 frames need none.

        Returns:
            (T-1,2,H,W) or (B,T-1,2,H,W), float32 pixels, u first.
        """
        ...


class TVL1Estimator:
    """`tvl1` as a `FlowEstimator`.

    Args:
        preset: the settings, or one of the names in `PRESETS`; they are the fingerprint.
        backend: as in `tvl1`; backends agree up to rounding and are not part of the fingerprint.

    Raises:
        ValueError: an unknown preset or backend; when called, what `tvl1` raises.

    Examples:
        >>> TVL1Estimator().fingerprint.startswith("TVL1(tau=0.25")
        True
    """

    def __init__(self, preset: TVL1Settings | str = DEFAULT, *, backend: Backend = "auto") -> None:
        if isinstance(preset, str) and preset in PRESETS:
            preset = PRESETS[preset]
        if not isinstance(preset, TVL1Settings):
            raise ValueError(f"preset must be TVL1Settings or one of {sorted(PRESETS)}, got {preset!r}")
        if backend not in get_args(Backend):
            raise ValueError(f"backend must be one of {get_args(Backend)}, got {backend!r}")
        self.preset, self.backend = preset, backend

    def __repr__(self) -> str:
        return represented(self, preset=self.preset, backend=self.backend)

    @property
    def fingerprint(self) -> str:
        """The settings as text, which is stored in files: its form must stay as it is."""
        return f"TVL1({', '.join(f'{name}={value!r}' for name, value in asdict(self.preset).items())})"

    def __call__(self, frames: Tensor, *, value_range: tuple[float, float] | None = None) -> Tensor:
        """Compute the flow of clips, see `FlowEstimator.__call__`."""
        return tvl1(frames, preset=self.preset, value_range=value_range, backend=self.backend)


def estimator_of(estimator: FlowEstimator | None) -> FlowEstimator:
    """Return an estimator, TV-L1 for None.

    Raises:
        ValueError: it cannot be called, as a name, or is a class.
    """
    if estimator is not None and (isinstance(estimator, type) or not callable(estimator)):
        raise ValueError(f"estimator must be one, got {estimator!r}: kdvideo.flow.TVL1Estimator(), DISEstimator() ...")
    return TVL1Estimator() if estimator is None else estimator
