"""Preparation of clips for training: small videos in which any frame is found quickly."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from av import FFmpegError
from torch import Tensor

from kdvideo.data import ClipError, ClipInfo, probe, read_frames
from kdvideo.data.manifests.scanning import PREPARED
from kdvideo.data.video.encoding import write_h264
from kdvideo.extraction.file_job import FileJob
from kdvideo.extraction.job import FRAME_BYTES, ClipRow, ExtractionError
from kdvideo.extraction.processing import Running, check_manifest, process
from kdvideo.extraction.result import JobResult
from kdvideo.files import write_atomic


def prepare(
    manifest: Iterable[ClipRow],
    folder: str | os.PathLike[str],
    *,
    name: str = "clips",
    short_side: int = 256,
    fps: float = 25.0,
    crf: int = 18,
    gop: int = 12,
    **running: Unpack[Running],
) -> JobResult:
    """Write every clip anew: resized, at one frame rate, cut to its seconds, without sound, as H.264 in mp4.

    The frames are those that `data.read_frames` gives at this rate and size, encoded; an odd last row or column is
    cut off. With a key frame every `gop` frames a random window is read without decoding what is before it. The files
    lie as the originals do; beside them are `<name>.csv`, a list `path,label` of the clips that are done, and
    `<name>_failed.csv`, those that failed with their reason. Killed at any instant, the same call continues, and
    several processes and machines may share the work, as in `extract`: the last of them writes the whole lists.

    Args:
        manifest: rows with `path`, `clip` (a unique id), `label` (text), `start` and `end` in seconds or None.
        folder: where the videos and lists go.
        name: of the lists; two lists of one data set, under two names, may share a folder.
        short_side: pixels of the shorter side, an even number.
        fps: frames per second.
        crf: quality of x264, 0 (no loss) to 51; 18 is said to look like the original.
        gop: the most frames from one key frame to the next.
        **running: where and how, see `Running`; without them, in this process.

    Returns:
        Counts, megabytes, and the reason of each failure; printed, it is a summary.

    Raises:
        ValueError: an argument is out of its range, two clips would have one file, or the folder holds clips of other
            settings (the message names them).
        ExtractionError: the folder cannot be written (a full disk), or a worker cannot start. What is done stays done.

    Examples:
        >>> import tempfile
        >>> from kdvideo import extraction
        >>> from kdvideo.data import from_csv, synthetic
        >>> with tempfile.TemporaryDirectory() as place:
        ...     root = synthetic.write_dataset(f"{place}/clips", clips_per_class={"train": 1}, frames=4, fps=10)
        ...     result = prepare(extraction.clips_of(root / "train"), f"{place}/small", short_side=32, fps=10)
        ...     result.done, len(from_csv(f"{place}/small/clips.csv"))
        (6, 6)
    """
    check_manifest(manifest)
    _check(short_side, fps, crf, gop)
    rows = list(manifest)
    job = PrepareJob(top=Path(folder), short_side=short_side, fps=float(fps), crf=crf, gop=gop)
    result = JobResult(job.unit)
    process(rows, job, result, **running)
    try:
        _write_lists(job, rows, name)
    except OSError as error:
        raise ExtractionError(job.stop_message(error)) from error
    return result


@dataclass(frozen=True, kw_only=True)
class PrepareJob(FileJob):
    """Small videos of clips, in a folder."""

    noun, unit, settings_file = "clips", "MB", PREPARED
    short_side: int
    fps: float
    crf: int
    gop: int

    @property
    def settings(self) -> dict[str, Any]:
        """Size, rate and quality."""
        return {"short_side": self.short_side, "fps": self.fps, "crf": self.crf, "gop": self.gop}

    def file(self, row: ClipRow) -> Path:
        """Return the file of a clip: its id, with the seconds in the manner of Kinetics where it is a segment."""
        start, end = row["start"], row["end"]
        whole = start is None and end is None
        clip = row["clip"] if whole else row["clip"].rpartition("@")[0] or row["clip"]
        return self.place(row, clip, ".mp4" if whole else f"_{_second(start or 0)}_{_second(end)}.mp4")

    def make(self, row: ClipRow) -> float:
        """Write the video of a clip; return its megabytes."""
        sampling = {"start": row["start"], "end": row["end"], "fps": self.fps, "short_side": self.short_side}
        info = probe(row["path"], **sampling)
        options = {"crf": str(self.crf), "preset": "fast", "g": str(self.gop)}
        with self.writing(row) as file:
            try:
                frames = self._frames(row, info, sampling)
                start = {"movflags": "+faststart"}
                write_h264(file.name, frames, fps=self.fps, options=options, container_options=start)
            except FFmpegError as error:
                if isinstance(error, OSError):  # such as a full disk
                    raise
                raise ClipError(row["path"], f"cannot be encoded: {error.strerror}") from error
            return os.fstat(file.fileno()).st_size / 1e6

    def _frames(self, row: ClipRow, info: ClipInfo, sampling: Mapping[str, Any]) -> Iterator[Tensor]:
        step = max(FRAME_BYTES // (3 * info.height * info.width), 1)
        for first in range(0, info.length, step):
            window = range(first, min(first + step, info.length))
            yield from read_frames(row["path"], window=window, **sampling)[
                ..., : info.height // 2 * 2, : info.width // 2 * 2
            ]


def _check(short_side: int, fps: float, crf: int, gop: int) -> None:
    if short_side < 2 or short_side % 2:
        raise ValueError(f"short_side must be an even number of pixels, as H.264 takes no other, got {short_side}")
    if not 0 < fps < 1e4:
        raise ValueError(f"fps must be positive and below 10000, got {fps}")
    if not 0 <= crf <= 51 or gop < 1:
        raise ValueError(f"crf must be in 0..51 and gop at least 1, got {crf} and {gop}")


def _second(value: float | None) -> str:
    if value is None:
        return "end"
    return f"{int(value):06d}" if value == int(value) else f"{value:g}"


def _write_lists(job: PrepareJob, rows: Sequence[ClipRow], name: str) -> None:
    """Write what is done and what failed by now, and again where another process came to an end meanwhile."""
    before, known = None, [job.known_outcome(row) for row in rows]
    while known != before:
        both = list(zip(rows, known, strict=True))
        done = [
            (job.file(row).relative_to(job.top).as_posix(), row["label"]) for row, o in both if o and o.status == "done"
        ]
        failed = sorted(
            (row["clip"], outcome.reason) for row, outcome in both if outcome and outcome.status == "failed"
        )
        _write_csv(job.top / f"{name}.csv", [("path", "label"), *done])
        _write_csv(job.top / f"{name}_failed.csv", [("clip", "reason"), *failed])
        before, known = known, [job.known_outcome(row) for row in rows]


def _write_csv(path: Path, rows: Iterable[tuple[str, str]]) -> None:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n").writerows(rows)
    write_atomic(path, text.getvalue().encode(errors="surrogateescape"))
