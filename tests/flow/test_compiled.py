"""The torch.compile backend: its functions by themselves, and (slow) compiled."""

from dataclasses import replace

import pytest
import torch

from kdvideo import flow as kf
from kdvideo.flow.tvl1 import compiled
from tests.flow.frames import moving_pair, texture

QUICK = replace(kf.DEFAULT, warps=2, iterations=10)
VARIANTS = [{}, {"border": "zeros"}, {"border": "border"}, {"interpolation": "bilinear"}, {"tau": 0.2, "theta": 0.2}]
VARIANTS += [{"rounds": 2}, {"tolerance": 0.05, "median": 3, "rounds": 2}]


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The functions that would be compiled, as they are."""
    monkeypatch.setattr(compiled, "_compiled", lambda function: function)


@pytest.mark.usefixtures("plain")
@pytest.mark.parametrize("variant", VARIANTS, ids=str)
def test_equals_eager(variant: dict[str, object]) -> None:
    preset = replace(QUICK, **variant)  # type: ignore[arg-type]
    pair = moving_pair(40, 44, 2, 1)
    ours, expected = (kf.tvl1(*pair, preset=preset, backend=which) for which in ("compile", "eager"))
    assert (ours - expected).abs().max() < 2e-3


@pytest.mark.usefixtures("plain")
def test_chunks_are_padded_without_a_trace(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = torch.stack([texture(30, 26, seed=seed).to(torch.uint8) for seed in range(6)])
    whole = kf.tvl1(frames, preset=QUICK, backend="compile")
    monkeypatch.setattr(compiled, "CPU_PAIRS", 3)
    assert torch.equal(kf.tvl1(frames, preset=QUICK, backend="compile"), whole)
    assert whole.shape == (5, 2, 30, 26)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_compiled_equals_eager_and_leaves_no_setting_behind() -> None:
    before = torch._dynamo.config.recompile_limit
    pair = moving_pair(33, 40, 2, 1)
    for preset in (replace(QUICK, scales=2), replace(QUICK, scales=2, border="zeros")):
        ours, expected = (kf.tvl1(*pair, preset=preset, backend=which) for which in ("compile", "eager"))
        assert (ours - expected).abs().max() < 2e-3
    assert torch._dynamo.config.recompile_limit == before


@pytest.mark.slow
def test_too_many_sizes_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    torch._dynamo.reset()
    monkeypatch.setitem(compiled.LIMITS, "recompile_limit", 1)
    with pytest.raises(ValueError, match='backend="compile" does not work here'):
        kf.tvl1(*moving_pair(33, 40, 2, 1), preset=replace(QUICK, scales=3, iterations=1), backend="compile")
    torch._dynamo.reset()
