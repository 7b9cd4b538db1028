"""Flow on disk: per clip one file, with 8 bits per component, and one sidecar with its status and settings."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath

from torch import Tensor

from kdvideo._hints import represented
from kdvideo._numbers import check_numbers, positive
from kdvideo.files import closest_ids, publish, sync, temporary
from kdvideo.flow.estimators.estimator import FlowEstimator, estimator_of
from kdvideo.flow.fields.quantize import dequantize, quantize
from kdvideo.flow.fields.transforms import check_bound, check_flow, check_size
from kdvideo.flow.store import sidecars
from kdvideo.flow.store.codecs import LOSSLESS, READERS, FlowCodec
from kdvideo.flow.store.origins import Origin, place_of, what_changed
from kdvideo.flow.store.sidecars import SUFFIX, SidecarInfo

LONGEST = 230  # bytes of a part of a clip id: with a suffix it must fit in a file name, of 255 at most


class FailedFlowError(ValueError):
    """The error of flow that could not be made: its reason is recorded in a `FlowStore`, or its name is too long."""


class FlowStore:
    """A folder of quantized flow: per clip one sidecar and, if its flow could be made, one file of flow.

    The sidecar `<clip id>.flow.json` holds the status: "done" with length, size, bound, frame rate, estimator,
    codec and checksums of the file, or "failed" with the reason. It is written last, and whole or not at all: a
    clip is in the store if its sidecar says done. Reading a clip that was made with other settings than the
    store's own raises. A store is also a `FlowSource`.

    Args:
        folder: made on the first write.
        bound: components are truncated to [-bound, bound] pixels.
        estimator: what makes the flow; its fingerprint is compared. The default is TV-L1.
        fps: frame rate of the clips; `None` where none is defined.
        size: (H, W) of the flow; `None` lets every clip have its own.
        codec: how clips are written; stored clips are read by the codec that they were written with.

    Attributes:
        folder: as given.
        bound: as given.
        fps: as given.
        size: as given.
        codec: as given.
        estimator: as given.
        fingerprint: of the estimator; clips that were made with another one are refused.

    Raises:
        ValueError: `bound` or `fps` is not positive, `size` not (H, W), `codec` or `estimator` is none; in use, what
            each method says.

    Examples:
        >>> import tempfile, torch
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     store = FlowStore(folder, fps=25)
        ...     store.write("run/clip 1.mp4", torch.zeros(3, 2, 8, 8))
        ...     "run/clip 1.mp4" in store, store.read("run/clip 1.mp4").shape
        (True, torch.Size([3, 2, 8, 8]))
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        bound: float = 20.0,
        estimator: FlowEstimator | None = None,
        fps: float | None = None,
        size: tuple[int, int] | None = None,
        codec: FlowCodec = LOSSLESS,
    ) -> None:
        check_bound(bound)
        if fps is not None:
            check_numbers("positive, or None where there is no rate", positive, fps=fps)
        if size is not None:
            check_size(size)
        if isinstance(codec, type) or not isinstance(codec, FlowCodec):
            raise ValueError(f"codec must be a FlowCodec, got {codec!r}: kdvideo.flow.LOSSLESS, GrayH264(crf=16) ...")
        self.folder = Path(folder)
        self.bound, self.fps, self.codec = float(bound), fps, codec
        self.size = None if size is None else tuple(size)
        self.estimator: FlowEstimator = estimator_of(estimator)
        self.fingerprint = self.estimator.fingerprint

    def __repr__(self) -> str:
        return represented(
            self,
            folder=str(self.folder),
            bound=self.bound,
            fps=self.fps,
            size=self.size,
            fingerprint=self.fingerprint,
            codec=self.codec,
        )

    def path(self, clip_id: str) -> Path:
        """Find the file of a clip's flow; ValueError for an id that is not a plain relative path.

        Args:
            clip_id: the clip.

        Returns:
            Its path, whether or not it is there.
        """
        return self._file(clip_id, ".flow" + self.codec.suffix)

    def sidecar(self, clip_id: str) -> Path:
        """Find the file of a clip's status; ValueError for an id that is not a plain relative path.

        Args:
            clip_id: the clip.

        Returns:
            Its path, whether or not it is there.
        """
        return self._file(clip_id, SUFFIX)

    def _file(self, clip_id: str, suffix: str) -> Path:
        if not isinstance(clip_id, str):
            raise ValueError(f"clip id must be text, got {clip_id!r}: the column `clip` of the manifest")
        parts = clip_id.split("/")
        if any(part in ("", ".", "..") for part in parts) or "\0" in clip_id or "\\" in clip_id:
            raise ValueError(
                f"clip id must be a relative path with forward slashes, without '.', '..' or empty parts, "
                f"got {clip_id!r}"
            )
        if max(len(os.fsencode(part)) for part in parts) > LONGEST:
            raise FailedFlowError(f"each part of a clip id must have at most {LONGEST} bytes, got {clip_id!r}")
        return self.folder / PurePosixPath(clip_id + suffix)

    def info(self, clip_id: str) -> SidecarInfo | None:
        """Read the sidecar of a clip.

        `status` is "done", with `frames`, `flows`, `size`, `bytes` of the file and more, or "failed", with `reason`.

        Args:
            clip_id: the clip.

        Returns:
            A dict, or None where there is no sidecar.

        Raises:
            ValueError: the sidecar is damaged.
        """
        return sidecars.load(self.sidecar(clip_id))

    def __contains__(self, clip_id: str) -> bool:
        try:
            return sidecars.is_done(self.sidecar(clip_id))
        except FailedFlowError:  # it can have no file
            return False

    def __iter__(self) -> Iterator[str]:
        """Iterate over the ids of all clips whose flow is done, sorted."""
        found = (path for path in self.folder.rglob("*" + SUFFIX) if sidecars.is_done(path))
        return iter(sorted(p.relative_to(self.folder).as_posix()[: -len(SUFFIX)] for p in found))

    def write(self, clip_id: str, flow: Tensor) -> None:
        """Truncate, quantize and store the flow of a clip; replaces what was there.

        Args:
            clip_id: the clip.
            flow: (T-1,2,H,W) in pixels, u first.

        Raises:
            ValueError: the id is not a plain relative path, or the flow is no floating-point tensor, has another
                shape or size, or a component that is NaN or infinite.
        """
        check_flow(flow)
        if flow.ndim != 4:
            raise ValueError(f"flow of a clip must be (T-1,2,H,W), got {tuple(flow.shape)}")
        with self.writer(clip_id, flows=len(flow), size=(flow.shape[-2], flow.shape[-1])) as add:
            add(flow)

    @contextmanager
    def writer(
        self, clip_id: str, *, flows: int, size: tuple[int, int], origin: Origin | None = None
    ) -> Iterator[Callable[[Tensor], None]]:
        """Write the flow of a clip in parts, for clips too long for memory.

        The clip is in the store after the context; an exception leaves everything as it was before.

        Args:
            clip_id: the clip.
            flows: how many will be appended, one less than frames.
            size: their (H, W).
            origin: of the video file, as an extraction records it; None: nothing is recorded.

        Yields:
            A function that appends flow (N,2,H,W) in pixels to the clip.

        Raises:
            ValueError: another number or size was appended, or a component is NaN or infinite.
        """
        path, sidecar = self.path(clip_id), self.sidecar(clip_id)
        self._compare(clip_id, "size", _text(size), self._settings()["size"])
        with temporary(path.parent) as file, temporary(path.parent) as status:
            with self.codec.writer(file, flows, size) as encode:
                pixels_writer = _QuantizingWriter(encode, self.bound, size)
                yield pixels_writer.add
            if pixels_writer.flows != flows:
                raise ValueError(f"clip {clip_id!r} must have {flows} flows, got {pixels_writer.flows}")
            sync(file)
            found = self._done(path, flows, size) | sidecars.describe(file, self.codec, flows, size)
            made = sidecars.to_json(found | _of(origin))
            status.write(made)
            sync(status)
            # Both files are on the disk: from here on nothing fails for lack of space. An older sidecar is removed
            # first and ours published last, so it never belongs to another file; that of the same file, by another
            # process at the same clip, stays.
            with suppress(FileNotFoundError):
                if sidecar.read_bytes() != made:
                    sidecar.unlink()
            self._remove_files(clip_id, but=path)
            publish(file, path)
            publish(status, sidecar)

    def _done(self, path: Path, flows: int, size: tuple[int, int]) -> SidecarInfo:
        fps = None if self.fps is None else float(self.fps)
        settings = {"bound": self.bound, "fps": fps, "estimator": self.fingerprint}
        return {"status": "done", "frames": flows + 1, "flows": flows, "size": size, **settings, "file": path.name}

    def fail(self, clip_id: str, reason: str, *, origin: Origin | None = None) -> None:
        """Record that the flow of a clip cannot be made, why, and of which file; replaces what was there.

        Args:
            clip_id: the clip.
            reason: in words; `read` raises it.
            origin: as in `writer`.

        Raises:
            ValueError: the id is not a plain relative path.
        """
        sidecar = self.sidecar(clip_id)
        with temporary(sidecar.parent) as status:
            status.write(sidecars.to_json({"status": "failed", "reason": reason} | _of(origin)))
            sync(status)
            sidecar.unlink(missing_ok=True)
            self._remove_files(clip_id)
            publish(status, sidecar)

    def remove(self, clip_id: str) -> None:
        """Remove the status and flow of a clip, if there are any.

        Args:
            clip_id: the clip.

        Raises:
            ValueError: the id is not a plain relative path.
        """
        self.sidecar(clip_id).unlink(missing_ok=True)
        self._remove_files(clip_id)

    def _remove_files(self, clip_id: str, *, but: Path | None = None) -> None:
        for suffix in {self.codec.suffix, *READERS}:
            if (path := self._file(clip_id, ".flow" + suffix)) != but:
                path.unlink(missing_ok=True)

    def read(self, clip_id: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Read the flow of a clip, or of a part of it.

        Args:
            clip_id: the clip.
            start: the first flow wanted.
            stop: the one after the last; None: to the end of the clip.

        Returns:
            (T-1,2,H,W), or (stop-start,2,H,W), float32 pixels, u first.

        Raises:
            KeyError: the store has no such clip.
            ValueError: its flow could not be made (with the reason), a file is damaged, or it was made with
                other settings (both are named).
        """
        return dequantize(self.read_quantized(clip_id, start=start, stop=stop), self.bound)

    def read_quantized(self, clip_id: str, *, start: int = 0, stop: int | None = None) -> Tensor:
        """Read the flow of a clip as it is stored; errors as `read`.

        Args:
            clip_id: the clip.
            start: the first flow wanted.
            stop: the one after the last; None: to the end of the clip.

        Returns:
            As `read`, but uint8 in 1..255, 128 for no motion, see `quantize`.
        """
        info = self._info_of_done(clip_id)
        # A lossy codec may give 0, which stands for more than the bound and has no mirror image.
        return sidecars.read(self.sidecar(clip_id), info, self.codec, start, stop).clamp_(min=1)

    def count(self, clip_id: str, path: str | os.PathLike[str] | None = None) -> int:
        """Count the flows of a clip; errors as `read`.

        Args:
            clip_id: the clip.
            path: its video; it is an error if that file was replaced after its flow was made.

        Returns:
            One less than the frames of the clip.

        Raises:
            KeyError: the store has no such clip.
            ValueError: what `read` raises, or `path` was replaced.
        """
        info = self._info_of_done(clip_id)
        origin = info.get("origin")
        same = path is not None and origin is not None and origin["place"] == place_of(path)
        if same and path is not None and (changed := what_changed(origin, path)):
            raise ValueError(f"{path} is another file than its flow was made of ({changed}): extract it again")
        return int(info["flows"])

    def _info_of_done(self, clip_id: str) -> SidecarInfo:
        info = self.info(clip_id)
        if info is None:
            raise KeyError(f"no flow of clip {clip_id!r} in {closest_ids(self.folder, clip_id, SUFFIX)}")
        if info["status"] == "failed":
            raise FailedFlowError(f"the flow of clip {clip_id!r} could not be made: {info['reason']}")
        self.check(clip_id, info)
        return info

    def check(self, clip_id: str, info: SidecarInfo) -> None:
        """Raise ValueError naming both settings if a clip that is done was made with others than the store's.

        Args:
            clip_id: the clip.
            info: its sidecar, from `info`.
        """
        for name, wanted in self._settings().items():
            value = info.get(name)
            self._compare(clip_id, name, _text(tuple(value) if isinstance(value, list) else value), wanted)

    def __call__(self, clip_id: str, frames: Tensor) -> Tensor:
        """Read the flow of a clip and check that it fits its frames: a `FlowSource`.

        Args:
            clip_id: the clip.
            frames: (T,3,H,W).

        Returns:
            (T-1,2,H,W), float32 pixels.

        Raises:
            KeyError: the store has no such clip.
            ValueError: what `read` raises, or the flow is not that of the frames by number and size.
        """
        return check_frames(clip_id, self.read(clip_id), frames)

    def _settings(self) -> dict[str, str]:
        values = {"bound": self.bound, "estimator": self.fingerprint, "fps": self.fps, "size": self.size}
        return {name: _text(value) for name, value in values.items()}

    def _compare(self, clip_id: str, name: str, found: str, wanted: str) -> None:
        if found != wanted and not (name == "size" and self.size is None):
            raise ValueError(f"flow of clip {clip_id!r} has {name} {found}, but the store expects {wanted}")


class _QuantizingWriter:
    """Writer of flow in pixels to an encoder of uint8, which counts what it got."""

    def __init__(self, encode: Callable[[Tensor], None], bound: float, size: tuple[int, int]) -> None:
        self.encode, self.bound, self.size, self.flows = encode, bound, size, 0

    def add(self, flow: Tensor) -> None:
        """Append flow (N,2,H,W)."""
        check_flow(flow)
        if flow.ndim != 4 or tuple(flow.shape[-2:]) != self.size:
            raise ValueError(f"flow must be (N,2,{self.size[0]},{self.size[1]}), got {tuple(flow.shape)}")
        self.encode(quantize(flow, self.bound).cpu().contiguous())
        self.flows += len(flow)


def check_frames(clip_id: str, flow: Tensor, frames: Tensor) -> Tensor:
    """Return the flow; ValueError unless it is that of frames (T,3,H,W) by number and size."""
    expected = (len(frames) - 1, 2, *frames.shape[-2:])
    if tuple(flow.shape) != expected:
        raise ValueError(
            f"stored flow of {clip_id!r} must be {expected} for frames {tuple(frames.shape)}, got "
            f"{tuple(flow.shape)}: were they resized or sampled differently?"
        )
    return flow


def _text(value: object) -> str:
    return str(float(value)) if isinstance(value, int) else str(value)


def _of(origin: Origin | None) -> SidecarInfo:
    return {} if origin is None else {"origin": origin}
