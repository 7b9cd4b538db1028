"""Frames round a key frame."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.detection import key_frame_window


@settings(deadline=None, max_examples=80)
@given(
    fps=st.sampled_from([12.5, 24000 / 1001, 25, 29.97, 30, 60]),
    offset=st.floats(0, 90),
    frames=st.integers(1, 70),
    start=st.sampled_from([0.0, 900.0]),
    length=st.integers(1, 3000),
)
def test_runs_of_frames_round_the_key_frame(fps: float, offset: float, frames: int, start: float, length: int) -> None:
    centre = math.floor(((start + offset) - start) * fps + 0.5)
    if centre >= length:
        with pytest.raises(ValueError, match="must be in the file"):
            key_frame_window(start + offset, fps, length, frames=frames, clip_start=start)
        return
    window = key_frame_window(start + offset, fps, length, frames=frames, clip_start=start).tolist()
    assert window[frames // 2] == centre
    for place, frame in enumerate(window):
        assert frame == min(max(centre + place - frames // 2, 0), length - 1)


def test_fifty_frames_of_a_clip_from_minute_fifteen() -> None:
    assert key_frame_window(902, 25, 22_500).tolist() == list(range(25, 75))
    assert key_frame_window(902, 25, 90_000, clip_start=0).tolist() == list(range(22_525, 22_575))
    assert key_frame_window(902.0, 30000 / 1001, 26_973).tolist()[25] == 60


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((2, 25, 22_500), "pass clip_start=0"),
        ((1801, 25, 22_500), "900 to 1800 s"),
        ((902, 0, 22_500), "fps=0"),
        ((902, 25, 0), "length=0"),
        ((math.nan, 25, 100), "second=nan"),
    ],
)
def test_outside(arguments: tuple[float, float, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        key_frame_window(*arguments)
    with pytest.raises(ValueError, match="frames=0"):
        key_frame_window(902, 25, 22_500, frames=0)
