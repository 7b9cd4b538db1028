"""Flow computed on the training device, from the very frames that the student sees.

Legend: B batch, T frames of a window, H W space.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

from kdvideo.flow.estimators.estimator import FlowEstimator, TVL1Estimator
from kdvideo.flow.fields.transforms import check_bound, to_unit

Batch = dict[str, Any]


class OnlineFlow:
    """A flow network's input, computed from a batch of RGB windows as the student gets them.

    The flow at a position leads from its frame to the next one of the window, and the last position repeats the
    flow before it. The windows are cut and mirrored already, so what comes from a store differs a little at the
    borders, and at the last position.

    Arguments:
        estimator: what computes the flow; the default is TV-L1.
        bound: components are truncated to [-bound, bound] pixels and divided by it.
        value_range: (black, white) of the windows.

    Raises:
        ValueError: on a call, shapes are not as described there, or a pixel is NaN or infinite.

    Examples:
        >>> rgb = torch.zeros(2, 3, 5, 24, 24)
        >>> OnlineFlow(bound=5.0)(rgb, torch.tensor([5, 3])).shape
        torch.Size([2, 2, 5, 24, 24])
    """

    def __init__(
        self,
        estimator: FlowEstimator | None = None,
        *,
        bound: float = 20.0,
        value_range: tuple[float, float] = (-1.0, 1.0),
    ) -> None:
        check_bound(bound)
        self.estimator = TVL1Estimator() if estimator is None else estimator
        self.bound, self.value_range = bound, value_range

    @property
    def fingerprint(self) -> str:
        """That of the estimator."""
        return self.estimator.fingerprint

    @torch.no_grad()
    def __call__(self, rgb: Tensor, lengths: Tensor) -> Tensor:
        """Flow (B,2,T,H,W) float32 in [-1, 1] of windows (B,3,T,H,W), on their device, without gradient.

        `lengths` (B,), in 1..T, says how many different frames each window shows; a shorter clip starts over (see
        `PairedClips`) and its seam is no motion. Nothing moves in a clip of one frame.
        """
        _check(rgb, lengths)
        batch, _, frames = rgb.shape[:3]
        if frames == 1:
            return rgb.new_zeros((batch, 2, *rgb.shape[2:]), dtype=torch.float32)
        with torch.autocast(rgb.device.type, enabled=False):
            flow = self.estimator(rgb.transpose(1, 2).float(), value_range=self.value_range)
            lengths = lengths.to(rgb.device)[:, None].clamp(1, frames)
            at = torch.arange(frames, device=rgb.device) % lengths
            at = torch.minimum(at, lengths - 2)  # -1, the last one, in a clip of one frame, whose flow is zero
            flow = flow[torch.arange(batch, device=rgb.device)[:, None], at] * (lengths > 1)[..., None, None, None]
            return to_unit(flow, self.bound).transpose(1, 2).contiguous()


def _check(rgb: Tensor, lengths: Tensor) -> None:
    if rgb.ndim != 5 or rgb.shape[1] != 3 or not rgb.is_floating_point():
        raise ValueError(f"windows must be floating point (B,3,T,H,W), got {rgb.dtype} {tuple(rgb.shape)}")
    if lengths.shape != rgb.shape[:1]:
        raise ValueError(f"lengths must be ({len(rgb)},), one for each window, got {tuple(lengths.shape)}")


def prefetch_to_device(
    batches: Iterable[Mapping[str, Any]], compute: Callable[[Batch], Batch], *, device: torch.device | str
) -> Iterator[Batch]:
    """Batches on a device, each through `compute` while the caller still works on the one before it.

    On a GPU a batch is copied and computed on a stream of its own, one batch ahead, so that it overlaps with
    what the caller has launched. On a CPU everything happens inline: a thread beside the training would take the
    very cores that train. Batches come out in order; an exception of `batches` or `compute` is raised here.

    Arguments:
        batches: such as a `DataLoader`; with pinned memory the copies overlap too.
        compute: from a batch on the device to the batch that comes out; it must not wait for results of the
            caller's, such as the weights in training.
        device: where the tensors of a batch go; other values stay as they are.

    Examples:
        >>> def double(batch):
        ...     return batch | {"twice": 2 * batch["x"]}
        >>> batches = [{"x": torch.tensor(k)} for k in range(3)]
        >>> [batch["twice"].item() for batch in prefetch_to_device(batches, double, device="cpu")]
        [0, 2, 4]
    """
    device = torch.device(device)
    if device.type != "cuda":
        for batch in batches:
            yield compute(_to(batch, device))
        return
    side = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    side.wait_stream(torch.cuda.current_stream(device))  # what `compute` holds may still be on its way
    waiting: list[tuple[Batch, torch.cuda.Event]] = []
    for batch in batches:
        with torch.cuda.stream(side):
            waiting.append((compute(_to(batch, device)), side.record_event()))
        if len(waiting) == 2:
            yield _received(*waiting.pop(0), device)
    for last in waiting:
        yield _received(*last, device)


def _received(batch: Batch, computed: torch.cuda.Event, device: torch.device) -> Batch:
    """Hands tensors of the side stream to the caller's."""
    stream = torch.cuda.current_stream(device)
    stream.wait_event(computed)
    for leaf in pytree.tree_leaves(batch):
        if isinstance(leaf, Tensor) and leaf.is_cuda:
            leaf.record_stream(stream)  # or its memory would be given away while the caller uses it
    return batch


def _to(batch: Mapping[str, Any], device: torch.device) -> Batch:
    moved: Batch = pytree.tree_map(
        lambda leaf: leaf.to(device, non_blocking=True) if isinstance(leaf, Tensor) else leaf, dict(batch)
    )
    return moved
