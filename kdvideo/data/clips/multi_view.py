"""Views of a clip at test time: protocols as pure functions of sizes, and all views of a clip from one reading.

Legend: L grid frames of a clip, V views, T frames of a view, H W space, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset as MapDataset

from kdvideo._hints import kind, represented
from kdvideo.data.clips.paired import PairedClips
from kdvideo.data.clips.sampling import Window, spread
from kdvideo.data.video.frame_grid import ClipInfo

ViewProtocol = Callable[[int, int, int, int, int], Sequence[Window]]


def multi_crop(
    length: int, height: int, width: int, frames: int, crop: int, *, clips: int = 10, crops: int = 3
) -> list[Window]:
    """Choose `clips` windows spread evenly over the clip, each with `crops` crops along the longer side.

    One of either is in the middle. The crops are spread evenly from edge to edge and centered across; with `crop` as
    large as the shorter side, three cover a frame of up to 3:1. The published views are 10 x 3 with a crop of 256.

    Args:
        length: L of the clip.
        height: H of the clip.
        width: W of the clip.
        frames: T of a view.
        crop: side of the square, at most the shorter side.
        clips: windows in time.
        crops: crops of each.

    Returns:
        `clips` · `crops` windows, all crops of the first window in time first.

    Raises:
        ValueError: the crop is larger than the frames, or a number is below 1.

    Examples:
        >>> views = multi_crop(300, 256, 340, 64, 256)
        >>> len(views), [view.left for view in views[:3]], [view.start for view in views[::3]][-3:]
        (30, [0, 42, 84], [184, 210, 236])

    Source:
        Wang et al., "Non-local Neural Networks", 2018, arXiv 1711.07971.
    """
    _check(length, height, width, frames, crop, clips=clips, crops=crops)
    tops, lefts = [(height - crop) // 2] * crops, [(width - crop) // 2] * crops
    if height > width:
        tops = spread(height - crop, crops)
    else:
        lefts = spread(width - crop, crops)
    starts = spread(max(length - frames, 0), clips)
    return [Window(at, top, left, crop, False, frames) for at in starts for top, left in zip(tops, lefts, strict=True)]


def whole_video(length: int, height: int, width: int, frames: int, crop: int) -> list[Window]:
    """Choose center crops of the fewest windows of T frames that show every frame, ⌈L / T⌉, spread evenly.

    Errors are those of `multi_crop`.

    Args:
        length: L of the clip.
        height: H of the clip.
        width: W of the clip.
        frames: T of a view.
        crop: side of the square, at most the shorter side.

    Returns:
        ⌈L / T⌉ windows, in the order of time.

    Examples:
        >>> [view.start for view in whole_video(150, 256, 340, 64, 224)]
        [0, 43, 86]
    """
    _check(length, height, width, frames, crop)
    return multi_crop(length, height, width, frames, crop, clips=-(-length // frames), crops=1)


def single_pass(length: int, height: int, width: int, frames: int, crop: int, *, most: int = 250) -> list[Window]:
    """Choose one center crop over the whole clip, or over the middle `most` frames of a longer one: 10 s at 25 fps.

    The network averages over time. That a clip shorter than `frames`, T of the training, starts over as it does in
    training is our choice.

    Args:
        length: L of the clip.
        height: H of the clip.
        width: W of the clip.
        frames: the fewest frames of the view.
        crop: side of the square, at most the shorter side.
        most: the most frames of the view.

    Returns:
        One window, of `frames` to `most` frames.

    Raises:
        ValueError: the crop is larger than the frames, or a number is below 1, or `most` is below `frames`.

    Examples:
        >>> single_pass(300, 256, 340, 64, 224)
        [Window(start=25, top=16, left=58, crop=224, flip=False, frames=250)]

    Source:
        Carreira, Zisserman, "Quo Vadis, Action Recognition?", 2017, arXiv 1705.07750; the D3D paper tests so too.
    """
    _check(length, height, width, frames, crop)
    if most < frames:
        raise ValueError(f"most must be at least the {frames} frames of the training, got {most}")
    return multi_crop(length, height, width, max(frames, min(length, most)), crop, clips=1, crops=1)


def mean_softmax(logits: Tensor) -> Tensor:
    """Compute the scores of a clip: the softmax of each view, then the mean over the views.

    s_k = 1/V Σ_v softmax(logits_v)_k, (..., V, K) -> (..., K), in float32 or wider.

    Args:
        logits: (..., V, K), pre-softmax scores of each view.

    Returns:
        Probabilities, (..., K), in float32, or float64 for float64.

    Raises:
        ValueError: no axis of views, or no view.

    Examples:
        >>> mean_softmax(torch.tensor([[0.0, 0.0], [100.0, 0.0]]))
        tensor([0.7500, 0.2500])
    """
    if logits.dim() < 2 or 0 in logits.shape[-2:]:
        raise ValueError(f"logits must be (..., views, classes) with at least one of each, got {tuple(logits.shape)}")
    return logits.to(torch.promote_types(logits.dtype, torch.float32)).softmax(-1).mean(-2)


class MultiView(MapDataset[dict[str, Any]]):
    """All test views of each clip, from one reading.

    Item n is the n-th clip of the manifest, a dict of

    - `rgb`: float (V, 3, T, crop, crop); `flow`: float (V, 2, T, crop, crop): as in `PairedClips`, V first;
    - what `streams` of the clips give, V first;
    - `length`: with `rgb`, (V,): how many different frames each view shows; what `flow.OnlineFlow` needs;
    - `clip`: its id; `label`, `index`: int.

    V and T may depend on the clip: load items one by one, `DataLoader(dataset, batch_size=None)`, and give the
    network the views in parts where all are too many; 30 views of 64 frames of 256 pixels take 1.5 GB.

    Args:
        clips: the clips with their size, rate and flow, their `frames` T and `crop`; train=False, views=1.
        protocol: gives the views from (L, H, W, T, crop): `multi_crop`, `whole_video`, `single_pass`, one of them
            with `functools.partial`, or one's own; all views of a clip have the same number of frames and crop.

    Raises:
        ValueError: `clips` is no `PairedClips`, draws random views or has several itself, or `protocol` is no
            function; on access, the protocol gives no view, views
            of different sizes or a view outside the clip.
        ClipError: on access, when a clip cannot be read.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import from_folder, synthetic
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     root = synthetic.write_dataset(f"{folder}/clips", clips_per_class={"test": 1}, frames=9, fps=10)
        ...     size = {"frames": 4, "fps": 10, "short_side": 32, "crop": 24}
        ...     clips = PairedClips(from_folder(root / "test"), train=False, **size)
        ...     MultiView(clips, multi_crop)[0]["rgb"].shape, MultiView(clips, single_pass)[0]["rgb"].shape
        (torch.Size([30, 3, 4, 24, 24]), torch.Size([1, 3, 9, 24, 24]))
    """

    def __init__(self, clips: PairedClips, protocol: ViewProtocol) -> None:
        if not isinstance(clips, PairedClips):
            raise ValueError(f"clips must be PairedClips, got {kind(clips)}: PairedClips(manifest, train=False, ...)")
        if not callable(protocol):
            raise ValueError(
                f"protocol must be a function of (L, H, W, T, crop), got {protocol!r:.200}: multi_crop, or "
                "functools.partial(multi_crop, clips=5)"
            )
        if clips.train or clips.views != 1:
            raise ValueError(
                f"clips must have train=False and views=1, got train={clips.train} and views={clips.views}: "
                "the protocol chooses the views"
            )
        self.clips, self.protocol = clips, protocol

    def __repr__(self) -> str:
        return represented(self, clips=self.clips, protocol=getattr(self.protocol, "__name__", self.protocol))

    def __len__(self) -> int:
        return len(self.clips.reader)

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"item {index} of {len(self)}")
        views = self.clips.reader.views(index, self._windows)
        names = [name for name in ("rgb", "flow", *self.clips.reader.streams) if name in views[0]]
        out: dict[str, Any] = {name: torch.stack([view[name] for view in views]) for name in names}
        if "rgb" in out:
            out["length"] = torch.tensor([view["length"] for view in views])
        return out | {name: views[0][name] for name in ("label", "index", "clip")}

    def _windows(self, info: ClipInfo) -> list[Window]:
        windows = list(self.protocol(info.length, info.height, info.width, self.clips.frames, self.clips.crop))
        if len({(window.frames, window.crop) for window in windows}) != 1:
            raise ValueError(f"the protocol must give one or more views, all of one size, got {len(windows)} views")
        return windows


def _check(length: int, height: int, width: int, frames: int, crop: int, *, clips: int = 1, crops: int = 1) -> None:
    numbers = {"length": length, "frames": frames, "crop": crop, "clips": clips, "crops": crops}
    if bad := {name: number for name, number in numbers.items() if number < 1}:
        raise ValueError(f"sizes and counts must be at least 1, got {bad}")
    if crop > min(height, width):
        raise ValueError(f"crop must be at most {min(height, width)}, the shorter side of the frames, got {crop}")
