"""Flow in the JPEG folders of TSN, denseflow and MMAction: one folder per clip."""

from __future__ import annotations

import os
import re
from pathlib import Path, PurePosixPath

import torch
from torch import Tensor

from kdvideo._extras import needed
from kdvideo._hints import represented
from kdvideo.files import check_regular
from kdvideo.flow.estimators.estimator import FlowEstimator, TVL1Estimator
from kdvideo.flow.fields.quantize import dequantize_tsn
from kdvideo.flow.fields.transforms import check_bound
from kdvideo.flow.store.flow_store import check_frames
from kdvideo.flow.tvl1.presets import OPENCV


class TSNFlow:
    """Flow of clips from two numbered gray JPEG files per frame pair, to be used in place of a `FlowStore`.

    `{clip}` in the patterns is a clip's id, or its id without the extension of the video; `*` is the number of the
    pair, which counts from 0 (denseflow) or 1 (TSN). The defaults read `<clip>/flow_x_00001.jpg` and
    `<clip>/flow_y_00001.jpg`; `x="u/{clip}/frame*.jpg", y="v/{clip}/frame*.jpg"` reads the two-stream sets of
    UCF-101 and HMDB-51 that are in two trees.

    Args:
        folder: holds the clips.
        bound: pixels that 0 and 255 stand for; 20 in TSN and MMAction, 32 by denseflow's default. No file holds it.
        estimator: what made the flow, for the `fingerprint`; the default is OpenCV's TV-L1, which nearly all used.
        x: pattern of the files of the horizontal component, relative to `folder`.
        y: pattern of the files of the vertical component.

    Raises:
        ValueError: a pattern does not have one `{clip}`, before one `*` in the name of the file.

    Examples:
        >>> TSNFlow("rawframes", bound=20).fingerprint.startswith("TVL1(")
        True

    Source:
        L. Wang et al., "Temporal Segment Networks", ECCV 2016, arXiv 1608.00859.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        bound: float = 20.0,
        estimator: FlowEstimator | None = None,
        x: str = "{clip}/flow_x_*.jpg",
        y: str = "{clip}/flow_y_*.jpg",
    ) -> None:
        check_bound(bound)
        for pattern in (x, y):
            parts = pattern.split("/")
            if pattern.count("{clip}") != 1 or pattern.count("*") != 1 or "*" not in parts[-1] or "{clip}" in parts[-1]:
                raise ValueError(f"x and y must be patterns like '{{clip}}/flow_x_*.jpg', got {pattern!r}")
        self.folder, self.bound, self.x, self.y = Path(folder), float(bound), x, y
        self.fingerprint = (TVL1Estimator(OPENCV) if estimator is None else estimator).fingerprint

    def __repr__(self) -> str:
        return represented(self, folder=str(self.folder), bound=self.bound, x=self.x, y=self.y)

    def __contains__(self, clip_id: str) -> bool:
        return self._folder(self.x, clip_id) is not None

    def read(self, clip_id: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Read the flow of a clip, or of a part of it.

        Args:
            clip_id: the clip.
            start: the first flow wanted.
            stop: the one after the last; None: to the end of the clip.

        Returns:
            (T-1,2,H,W), or (stop-start,2,H,W), float32 pixels, u first.

        Raises:
            KeyError: the clip has no folder.
            ValueError: a number is missing, x and y differ in number or size, or a file cannot be read.
        """
        xs, ys = self._files(self.x, clip_id), self._files(self.y, clip_id)
        if len(xs) != len(ys):
            raise ValueError(
                f"clip {clip_id!r} must have one file of x and one of y per pair in {self.folder}, got {len(xs)} of x "
                f"and {len(ys)} of y"
            )
        images = [_read_gray(path) for pair in zip(xs[start:stop], ys[start:stop], strict=True) for path in pair]
        sizes = {tuple(image.shape) for image in images or [_read_gray(xs[0])]}
        if len(sizes) > 1:
            raise ValueError(f"files of clip {clip_id!r} in {self.folder} must have one size, got {sorted(sizes)}")
        values = torch.stack(images) if images else torch.empty(0, dtype=torch.uint8)
        return dequantize_tsn(values.reshape(-1, 2, *sizes.pop()), self.bound)

    def count(self, clip_id: str, path: str | os.PathLike[str] | None = None) -> int:
        """Count the flows of a clip; KeyError for one without a folder.

        Args:
            clip_id: the clip.
            path: its video, which is not looked at.

        Returns:
            The number of pairs of files.
        """
        del path
        return len(self._files(self.x, clip_id))

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Read the flow of a clip and check that it fits its frames: a `FlowSource`.

        Args:
            clip_id: the clip.
            frames: (T,3,H,W).

        Returns:
            (T-1,2,H,W), float32 pixels.
        """
        return check_frames(clip_id, self.read(clip_id), frames)

    def _folder(self, pattern: str, clip_id: str) -> Path | None:
        """Return the folder named after a clip, with or without the extension of the video; None without one."""
        for name in (clip_id, os.fspath(PurePosixPath(clip_id).with_suffix(""))):
            folder = (self.folder / pattern.replace("{clip}", name)).parent
            if folder.is_dir():
                return folder
        return None

    def _files(self, pattern: str, clip_id: str) -> list[Path]:
        """Return the files of one component in the order of their numbers; ValueError if one is missing."""
        folder = self._folder(pattern, clip_id)
        if folder is None:
            raise KeyError(f"no flow of clip {clip_id!r}: no such folder as {pattern!r} in {self.folder}")
        name = pattern.rsplit("/", 1)[-1]
        head, tail = map(re.escape, name.split("*"))
        matches = (re.fullmatch(f"{head}([0-9]+){tail}", path.name) for path in folder.iterdir())
        found = {int(match[1]): folder / match[0] for match in matches if match}
        if not found:
            raise ValueError(f"no file {name!r} in {folder}")
        first = min(min(found), 1)  # denseflow counts from 0, TSN from 1: a later start is a gap
        missing = sorted(set(range(first, max(found) + 1)) - set(found))
        if missing:
            raise ValueError(f"{folder} lacks number {missing[0]} of {name!r} ({len(missing)} are missing)")
        return [found[number] for number in sorted(found)]


def _read_gray(path: Path) -> Tensor:
    """Read an image as gray (H,W) uint8."""
    with needed("flow in JPEG files"):
        from PIL import Image

    try:
        check_regular(path)
        with Image.open(path, formats=["JPEG", "PNG"]) as image:
            gray = image.convert("L")
            return torch.frombuffer(bytearray(gray.tobytes()), dtype=torch.uint8).reshape(gray.height, gray.width)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} is not a readable image: {error}") from error
