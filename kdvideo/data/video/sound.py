"""The sound of a video file."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from av.audio.resampler import AudioResampler

from kdvideo.data.video.container import PathLike, open_video
from kdvideo.data.video.errors import ClipError
from kdvideo.data.video.retrying import retried

MAX_SECONDS = 6 * 3600


@retried
def read_sound(path: PathLike, *, rate: int) -> npt.NDArray[np.float32]:
    """Read the first audio track of a video file, mixed to one channel.

    Args:
        path: of the file.
        rate: samples per second to which the track is converted.

    Returns:
        (samples,) float32 in [-1, 1]; sample 0 is at time 0, with silence where the track begins later.

    Raises:
        ClipError: the file has no audio track, or more than 6 hours of one, or it cannot be decoded.
    """
    with open_video(path) as (container, _):
        if not container.streams.audio:
            raise ClipError(path, "it has no audio track")
        track = container.streams.audio[0]
        resampler = AudioResampler(format="flt", layout="mono", rate=rate)
        parts: list[npt.NDArray[np.float32]] = []
        count, first = 0, None
        for frame in container.decode(track):
            if first is None:
                first = float(frame.time or 0.0)
            parts += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            count += frame.samples
            if count > MAX_SECONDS * frame.sample_rate:
                raise ClipError(path, "it has more than 6 hours of sound")
        parts += [part.to_ndarray()[0] for part in resampler.resample(None)] if parts else []
    sound = np.concatenate(parts) if parts else np.zeros(0, np.float32)
    late = round((first or 0.0) * rate)
    return np.pad(sound, (late, 0)) if late > 0 else sound[-late:]
