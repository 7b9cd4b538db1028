"""The sound of a clip at every frame."""

from __future__ import annotations

import math
from collections import OrderedDict

import numpy as np
import torch
from torch import Tensor

from kdvideo.data.clips.streams import ClipSource
from kdvideo.data.video.sound import read_sound

KEPT = 4  # clips whose spectra are kept: the views of a clip are mostly read together


class AudioSpectrogram:
    """Log-mel energies around every frame, (`bands`,) each, from the first audio track of the clip's file.

        x_k = log(M |STFT_k|^2 + 1e-6),

    with a Hann window of `window` seconds centered on the time of frame k, and M of triangles that are evenly spaced on
    the mel scale 2595 log10(1 + f / 700) up to half the rate. Mirroring changes nothing. Before the first and after the
    last sample there is silence.

    Args:
        bands: of M.
        rate: samples per second to which the track is converted, mixed to one channel.
        window: in seconds.

    Raises:
        ClipError: on access, the file has no audio track, or it cannot be decoded.

    Examples:
        >>> import av
        >>> import tempfile
        >>> from kdvideo.data import ClipInfo
        >>> wave = 8000 * np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)  # a second of 440 Hz
        >>> tone = av.AudioFrame.from_ndarray(wave.astype(np.int16)[None], "s16", "mono")
        >>> tone.sample_rate = 16000
        >>> with tempfile.NamedTemporaryFile(suffix=".mkv") as file:
        ...     with av.open(file.name, "w") as container:
        ...         video = container.add_stream("mpeg4", rate=25)
        ...         video.width = video.height = 64
        ...         audio = container.add_stream("pcm_s16le", rate=16000, layout="mono")
        ...         for stream, frame in ((video, av.VideoFrame(64, 64, "yuv420p")), (audio, tone)):
        ...             container.mux([*stream.encode(frame), *stream.encode(None)])
        ...     source = ClipSource("a.mkv", file.name, None, None, 25.0, 64, ClipInfo(25, 64, 64))
        ...     AudioSpectrogram(bands=40).read(source, range(2, 6)).shape
        torch.Size([4, 40])

    Source:
        Stevens, Volkmann and Newman, "A Scale for the Measurement of the Psychological Magnitude Pitch", 1937; the
        formula is that of O'Shaughnessy, "Speech Communication", 1987.
    """

    spatial = False

    def __init__(self, *, bands: int = 64, rate: int = 16000, window: float = 0.064) -> None:
        if bands < 1 or rate < 1 or not window > 0:
            raise ValueError(f"bands, rate and window must be positive, got {bands}, {rate} and {window}")
        self.bands, self.rate, self.window = bands, rate, window
        self._size = max(round(window * rate), 2)
        self._mel = mel_filters(bands, self._size // 2 + 1, rate)
        self._known: OrderedDict[tuple[str, float | None, float], Tensor] = OrderedDict()

    def __repr__(self) -> str:
        return f"AudioSpectrogram(bands={self.bands}, rate={self.rate}, window={self.window:g})"

    def read(self, source: ClipSource, frames: range) -> Tensor:
        """Compute the energies at some frames.

        Args:
            source: the clip.
            frames: numbers of S consecutive frames of its grid.

        Returns:
            (S, bands), float32, natural logarithms.
        """
        key = (source.path, source.start, source.fps)
        if key not in self._known:
            self._known[key] = self._spectra(source)
            while len(self._known) > KEPT:
                self._known.popitem(last=False)
        return self._known[key][frames.start : frames.stop]

    def _spectra(self, source: ClipSource) -> Tensor:
        samples = torch.from_numpy(read_sound(source.path, rate=self.rate))
        times = (source.start or 0.0) + np.arange(source.info.length) / source.fps
        centres = torch.from_numpy(np.round(times * self.rate).astype(np.int64))
        # Frames past the end of the track hear silence, as those before its first sample do.
        padded = torch.nn.functional.pad(samples, (self._size, self._size + max(0, int(centres[-1]) - len(samples))))
        rows = centres[:, None] + self._size - self._size // 2 + torch.arange(self._size)
        power = torch.fft.rfft(padded[rows] * torch.hann_window(self._size)).abs().square()
        return torch.log(power @ self._mel.T + 1e-6)

    def mirrored(self, values: Tensor) -> Tensor:
        """Leave the values as they are: sound has no left and right here.

        Args:
            values: of the view that is not mirrored.

        Returns:
            The same values.
        """
        return values


def mel_filters(bands: int, bins: int, rate: int) -> Tensor:
    """Return M, (bands, bins): triangles whose corners are evenly spaced on the mel scale."""
    top = 2595 * math.log10(1 + rate / 2 / 700)
    corners = 700 * (10 ** (torch.linspace(0, top, bands + 2, dtype=torch.float64) / 2595) - 1)
    found = torch.linspace(0, rate / 2, bins, dtype=torch.float64)
    rising = (found - corners[:-2, None]) / (corners[1:-1] - corners[:-2])[:, None]
    falling = (corners[2:, None] - found) / (corners[2:] - corners[1:-1])[:, None]
    return torch.minimum(rising, falling).clamp(min=0).float()
