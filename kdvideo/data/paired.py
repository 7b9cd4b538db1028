"""RGB and flow of the same moment of the same clip, cut and mirrored alike.

Legend: L grid frames of a clip, T frames of a window, H W space. Frames are uint8 (L, 3, H, W); flow is float
(L - 1, 2, H, W) in pixels, u (x) first; a view holds rgb (3, T, crop, crop) and flow (2, T, crop, crop).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset as MapDataset

from .reading import probe, read_frames
from .sampling import View, centre_view, flow_positions, random_view, window_positions

if TYPE_CHECKING:
    from datasets import Dataset

FlowSource = Callable[[str, Tensor], Tensor]


class PairedClips(MapDataset[dict[str, Any]]):
    """Views of the clips of a manifest."""

    def __init__(
        self,
        manifest: Dataset,
        *,
        train: bool,
        frames: int = 64,
        fps: float = 25.0,
        short_side: int = 256,
        crop: int = 224,
        flow: FlowSource | None = None,
        flow_bound: float = 20.0,
        rgb: bool = True,
        seed: int = 0,
        views: int = 1,
        input_range: tuple[float, float] = (-1.0, 1.0),
        flip: bool = True,
        in_memory: bool = False,
    ) -> None:
        if crop > short_side:
            raise ValueError(f"crop {crop} does not fit in frames whose short side is {short_side}")
        self.manifest, self.train, self.frames, self.fps = manifest, train, frames, fps
        self.short_side, self.crop, self.flow, self.flow_bound = short_side, crop, flow, flow_bound
        self.rgb, self.seed, self.views, self.input_range, self.flip = rgb, seed, views, input_range, flip
        self._memory: dict[int, tuple[Tensor | None, Tensor | None]] | None = {} if in_memory else None
        self._labels = np.asarray(manifest["label"], dtype=np.int64)
        # Shared memory, so that workers that outlive an epoch see the next one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()  # type: ignore[no-untyped-call]

    def set_epoch(self, epoch: int) -> None:
        """Choose the random views of training: they are a function of (seed, epoch, index) alone."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.manifest) * self.views

    def __getitem__(self, index: int) -> dict[str, Any]:
        if not 0 <= index < len(self):
            raise IndexError(f"view {index} of {len(self)}")
        clip, view = divmod(index, self.views)
        item = {"label": int(self._labels[clip]), "index": clip, "view": view}
        if self._memory is None:
            return item | self._from_file(self.manifest[clip], index)
        if clip not in self._memory:
            self._memory[clip] = self._whole(self.manifest[clip])
        frames, flow = self._memory[clip]
        return item | self._from_memory(frames, flow, index)

    def _view(self, index: int, length: int, height: int, width: int) -> View:
        size = (length, self.frames, height, width, self.crop)
        if self.train:
            return random_view(self.seed, int(self._epoch), index, *size, flip=self.flip)
        return centre_view(index % self.views, self.views, *size)

    def _read(self, row: dict[str, Any], window: range | None) -> Tensor:
        part = {"start": row.get("start"), "end": row.get("end")}
        return read_frames(row["path"], fps=self.fps, short_side=self.short_side, window=window, **part)

    def _from_file(self, row: dict[str, Any], index: int) -> dict[str, Tensor]:
        part = {"start": row.get("start"), "end": row.get("end")}
        info = probe(row["path"], fps=self.fps, short_side=self.short_side, **part)
        view = self._view(index, info.length, info.height, info.width)
        at = window_positions(view.start, self.frames, info.length)
        first, last = int(at.min()), int(at.max())
        frames = self._read(row, range(first, min(last + (self.flow is not None), info.length - 1) + 1))
        out = {"rgb": self._scale_rgb(view.cut(frames, at - first))} if self.rgb else {}
        if self.flow is not None:
            flow = self._quantise(self._flow(row, frames))
            at = flow_positions(at, info.length) - first
            out["flow"] = self._scale_flow(view.cut(flow, at), view.flip)
        return out

    def _whole(self, row: dict[str, Any]) -> tuple[Tensor | None, Tensor | None]:
        frames = self._read(row, None)
        flow = None if self.flow is None else self._quantise(self._flow(row, frames))
        return frames if self.rgb else None, flow

    def _flow(self, row: dict[str, Any], frames: Tensor) -> Tensor:
        assert self.flow is not None
        if len(frames) == 1:
            return torch.zeros(1, 2, *frames.shape[-2:])
        return self.flow(row["clip"], frames)

    def _from_memory(self, frames: Tensor | None, flow: Tensor | None, index: int) -> dict[str, Tensor]:
        known = frames if frames is not None else flow
        assert known is not None
        length = len(frames) if frames is not None else len(known) + 1
        view = self._view(index, length, *known.shape[-2:])
        at = window_positions(view.start, self.frames, length)
        out = {}
        if frames is not None:
            out["rgb"] = self._scale_rgb(view.cut(frames, at))
        if flow is not None:
            out["flow"] = self._scale_flow(view.cut(flow, flow_positions(at, length)), view.flip)
        return out

    def _quantise(self, flow: Tensor) -> Tensor:
        return flow.clamp(-self.flow_bound, self.flow_bound).div(self.flow_bound).half()

    def _scale_rgb(self, frames: Tensor) -> Tensor:
        low, high = self.input_range
        return frames.float().mul_((high - low) / 255).add_(low)

    def _scale_flow(self, flow: Tensor, flip: bool) -> Tensor:
        flow = flow.float()
        if flip:
            flow[0].neg_()
        return flow
