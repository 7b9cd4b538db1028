"""What a clip has at every frame beside RGB and flow: depth, frame differences, sound, skeletons, anything stored.

Legend: L grid frames of a clip, S frames of a segment, T frames of a view, C channels, H W space.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from kdvideo._hints import kind
from kdvideo.data.clips.sampling import Window
from kdvideo.data.video.frame_grid import ClipInfo, read_frames
from kdvideo.files import check_regular, closest_ids


@dataclass(frozen=True)
class ClipSource:
    """A clip as a stream reads it: its id, its file, and the frames of its grid.

    Frame k of the L = `info.length` frames is that at `start` + k / `fps` seconds of the file at `path`, of
    `info.height` x `info.width` pixels.

    Args:
        clip: the id.
        path: of the file.
        start: of the clip, in seconds; None: the start of the file.
        end: in seconds; None: the end of the file.
        fps: frames per second of the grid.
        short_side: pixels of the shorter side of the frames.
        info: L, H and W.

    Examples:
        >>> source = ClipSource("a.mp4", "/clips/a.mp4", None, None, 25.0, 64, ClipInfo(9, 64, 64))
        >>> source.clip, source.info.length
        ('a.mp4', 9)
    """

    clip: str
    path: str
    start: float | None
    end: float | None
    fps: float
    short_side: int
    info: ClipInfo


@runtime_checkable
class Stream(Protocol):
    """Values at every frame of a clip.

    Attributes:
        spatial: whether they lie on the pixels of the frames, (C, H, W) each: then a view cuts and mirrors them as it
            does RGB, to (C, T, crop, crop). All others it only takes in time, to (T, …).

    Examples:
        >>> class Seconds:  # the time of every frame
        ...     spatial = False
        ...
        ...     def read(self, source, frames):
        ...         return torch.tensor(frames) / source.fps
        ...
        ...     def mirrored(self, values):
        ...         return values
        >>> source = ClipSource("a.mp4", "/clips/a.mp4", None, None, 25.0, 64, ClipInfo(9, 64, 64))
        >>> Seconds().read(source, range(2, 6))
        tensor([0.0800, 0.1200, 0.1600, 0.2000])
    """

    spatial: bool

    def read(self, source: ClipSource, frames: range) -> Tensor:
        """Read the values at some frames of a clip.

        Args:
            source: the clip.
            frames: numbers of S consecutive frames of its grid.

        Returns:
            (S, C, H, W) where the values are spatial, or (S, …).
        """
        ...

    def mirrored(self, values: Tensor) -> Tensor:
        """Make the values of a mirrored view, as `PairedClips` gives them.

        Args:
            values: of the view; spatial ones are mirrored in space already.

        Returns:
            The values, of the same shape; those of a flow with the other sign of u.
        """
        ...


class ArrayStream:
    """Arrays on disk, one `<folder>/<clip id>.npy` of L rows a clip: depth (L, 1, H, W), skeletons (L, J, 2), features.

    Args:
        folder: of the arrays; a file is read in part, as a memory map.
        fps: the rate at which they were made.
        spatial: whether each row lies on the pixels of the frames.
        mirror: makes the values of a mirrored view from its values, such as x -> -x of a skeleton whose left and right
            joints change places (default: nothing).

    Raises:
        ValueError: on access, the rate is not that of the clips, or the array has another number of rows than the clip
            has frames, or another height and width, or the file is damaged.
        FileNotFoundError: on access, a clip has no array; the message names its id and the closest ids there.

    Examples:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> np.save(folder / "a.mp4.npy", np.zeros((9, 17, 2), np.float32))
        >>> source = ClipSource("a.mp4", "a.mp4", None, None, 25.0, 64, ClipInfo(9, 64, 64))
        >>> ArrayStream(folder, fps=25).read(source, range(2, 6)).shape
        torch.Size([4, 17, 2])
    """

    def __init__(
        self,
        folder: str | Path,
        *,
        fps: float,
        spatial: bool = False,
        mirror: Callable[[Tensor], Tensor] = lambda values: values,
    ) -> None:
        self.folder, self.fps, self.spatial, self.mirrored = Path(folder), fps, spatial, mirror

    def __repr__(self) -> str:
        return f"ArrayStream({str(self.folder)!r}, fps={self.fps:g}, spatial={self.spatial})"

    def read(self, source: ClipSource, frames: range) -> Tensor:
        """Read the rows of some frames.

        Args:
            source: the clip.
            frames: numbers of S consecutive frames of its grid.

        Returns:
            (S, …), in the dtype of the file.
        """
        if self.fps != source.fps:
            raise ValueError(f"clips must be read at the rate of {self!r}, {self.fps:g} fps, got {source.fps:g}")
        rows = self._load(source.clip)
        if rows.shape[:1] != (source.info.length,):
            raise ValueError(
                f"the array of clip {source.clip!r} must have a row for each of its {source.info.length} frames at "
                f"{source.fps:g} fps, got {len(rows) if rows.ndim else 'a single number'}"
            )
        return torch.from_numpy(np.array(rows[frames.start : frames.stop]))

    def _load(self, clip: str) -> np.ndarray[Any, Any]:
        path = self.folder / f"{clip}.npy"
        try:
            check_regular(path)
            rows: np.ndarray[Any, Any] = np.load(path, mmap_mode="r")
        except (FileNotFoundError, NotADirectoryError):
            raise FileNotFoundError(f"no array of clip {clip!r} in {closest_ids(self.folder, clip, '.npy')}") from None
        except (ValueError, EOFError) as error:
            raise ValueError(f"{path} is not a readable array: {error}") from error
        return rows


class FrameDifference:
    """The change of each frame to the clip's next one, (C=3, H, W) in [-1, 1]; the last frame has that before it.

    The frames are decoded once more for it. A clip of one frame does not change.

    Examples:
        >>> import tempfile
        >>> from kdvideo.data import synthetic
        >>> with tempfile.NamedTemporaryFile(suffix=".mp4") as file:
        ...     _ = file.write(synthetic.encode(synthetic.render("spin", seed=1, frames=4)))
        ...     file.flush()
        ...     source = ClipSource("a.mp4", file.name, None, None, 25.0, 72, ClipInfo(4, 72, 72))
        ...     FrameDifference().read(source, range(1, 4)).shape
        torch.Size([3, 3, 72, 72])

    Source:
        Wang et al., "Temporal Segment Networks: Towards Good Practices for Deep Action Recognition", 2016, arXiv
        1608.00859 (stacked RGB differences).
    """

    spatial = True

    def __repr__(self) -> str:
        return "FrameDifference()"

    def read(self, source: ClipSource, frames: range) -> Tensor:
        """Compute the differences at some frames.

        Args:
            source: the clip.
            frames: numbers of S consecutive frames of its grid.

        Returns:
            (S, 3, H, W), in [-1, 1].
        """
        last = source.info.length - 1
        first = min(frames.start, max(last - 1, 0))
        shown = read_frames(
            source.path,
            start=source.start,
            end=source.end,
            fps=source.fps,
            short_side=source.short_side,
            window=range(first, min(frames.stop, last) + 1),
        ).float()
        change = shown.diff(dim=0) / 255 if len(shown) > 1 else torch.zeros_like(shown)
        at = torch.arange(frames.start, frames.stop).clamp(max=max(last - 1, 0)) - first
        return change[at]

    def mirrored(self, values: Tensor) -> Tensor:
        """Leave the values as they are: a difference has no direction in space.

        Args:
            values: of the view that is not mirrored.

        Returns:
            The same values.
        """
        return values


def check_streams(streams: object) -> None:
    """Raise ValueError unless these are streams by name."""
    if not isinstance(streams, Mapping):
        raise ValueError(f"streams must map names to streams, got {kind(streams)}: {{'depth': ArrayStream(...)}}")
    for name, stream in streams.items():
        if isinstance(stream, type) or not isinstance(stream, Stream):
            raise ValueError(
                f"streams must have `read`, `mirrored` and `spatial`, got {kind(stream)} as {name!r}: "
                "ArrayStream(folder, fps=25), FrameDifference(), AudioSpectrogram() ..."
            )


def cut_stream(name: str, stream: Stream, source: ClipSource, window: Window, values: Tensor, at: Tensor) -> Tensor:
    """Cut a view from the values of a segment, `at` whose rows its frames are.

    Raises:
        ValueError: the values are not those of the segment's frames.
    """
    if stream.spatial:
        size = (source.info.height, source.info.width)
        if values.ndim != 4 or tuple(values.shape[2:]) != size:
            raise ValueError(
                f"stream {name!r} of clip {source.clip!r} must be (frames, channels, {size[0]}, {size[1]}), as its "
                f"frames at short side {source.short_side} are, got {tuple(values.shape)}"
            )
        view = window.cut(values, at)
    else:
        view = values[at]
    return (stream.mirrored(view) if window.flip else view).contiguous()
