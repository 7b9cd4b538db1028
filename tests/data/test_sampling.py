from collections import Counter

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.data import ClipInfo, Window
from kdvideo.data.clips.sampling import even_view, flow_positions, random_view, spread, window_positions

SIZES = st.integers(1, 300)


def drawn(seed, epoch, index, length, frames, height, width, crop, *, flip=True):
    info = ClipInfo(length, height, width)
    return random_view(info, frames, crop, seed=seed, epoch=epoch, index=index, flip=flip)


@settings(deadline=None, max_examples=100)
@given(
    st.integers(-(2**65), 2**65),
    st.integers(0, 10**6),
    st.integers(0, 2**40),
    SIZES,
    SIZES,
    SIZES,
    SIZES,
    SIZES,
)
def test_views_lie_within_the_clip(seed, epoch, index, length, frames, crop, more_height, more_width):
    size = (length, frames, crop + more_height - 1, crop + more_width - 1, crop)
    even = even_view(ClipInfo(length, *size[2:4]), frames, crop, view=index % 7, views=7)
    assert drawn(seed, epoch, index, *size) == drawn(seed, epoch, index, *size)
    for view in (drawn(seed, epoch, index, *size), even):
        assert view.frames == frames
        assert 0 <= view.start <= max(length - frames, 0)
        assert 0 <= view.top < more_height
        assert 0 <= view.left < more_width
    assert not drawn(seed, epoch, index, *size, flip=False).flip


def test_random_views_are_uniform_and_differ_in_every_key():
    views = [drawn(0, epoch, index, 12, 8, 9, 7, 5) for epoch in range(20) for index in range(100)]
    for name, values in {"start": 5, "top": 5, "left": 3, "flip": 2}.items():
        counts = Counter(getattr(view, name) for view in views)
        assert set(counts) == set(range(values))
        assert min(counts.values()) > 0.8 * 2000 / values
    size = (10**6, 1, 10**6, 10**6, 1)
    keys = [(seed, epoch, index) for seed in (-1, 0, 1) for epoch in (0, 1) for index in (0, 1, 2**32)]
    assert len({drawn(*key, *size) for key in keys}) == len(keys)


def test_even_views():
    starts = [even_view(ClipInfo(100, 8, 8), 20, 8, view=i, views=5).start for i in range(5)]
    assert starts == spread(80, 5) == [0, 20, 40, 60, 80]
    assert even_view(ClipInfo(100, 9, 12), 20, 6, view=0, views=1) == Window(40, 1, 3, 6, False, 20)
    assert [even_view(ClipInfo(10, 8, 8), 20, 8, view=i, views=3).start for i in range(3)] == [0, 0, 0]


def test_positions():
    assert window_positions(3, 4, 10).tolist() == [3, 4, 5, 6]
    assert window_positions(0, 7, 3).tolist() == [0, 1, 2, 0, 1, 2, 0]
    assert flow_positions(torch.tensor([0, 1, 2, 0]), 3).tolist() == [0, 1, 1, 0]
    assert flow_positions(torch.tensor([0, 0]), 1).tolist() == [0, 0]


def test_cut():
    frames = torch.arange(4 * 2 * 5 * 6).reshape(4, 2, 5, 6)
    for positions in ([1, 2, 3], [2, 0, 1], [0, 1, 1]):
        plain = Window(0, 1, 2, 3, False, 3).cut(frames, torch.tensor(positions))
        assert torch.equal(plain, frames[positions][:, :, 1:4, 2:5].transpose(0, 1))
        mirrored = Window(0, 1, 2, 3, True, 3).cut(frames, torch.tensor(positions))
        assert torch.equal(mirrored, plain.flip(-1))
