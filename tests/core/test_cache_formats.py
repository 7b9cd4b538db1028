"""What a cache holds besides float16 rows: integers, other dtypes, tokens of different lengths, top classes."""

import copy
import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

import kdvideo as kd
from kdvideo._shards import write_shard

PRINT = {"teacher": "t"}
IDS, VIEWS = ["a", "b", "c"], [0, 0, 0]


def values(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def open_cache(folder: Path, **options) -> kd.TeacherCache:
    return kd.TeacherCache(folder, **({"fingerprint": PRINT} | options))


def through(folder: Path, output: kd.Output, *, mask: Tensor | None = None, **options) -> kd.Output:
    """Write the output of three samples and read it again, the other way round."""
    cache = open_cache(folder, **options)
    with cache.writer() as writer:
        writer.add(IDS, VIEWS, output, mask=mask)
    again = copy.deepcopy(open_cache(folder, **options))
    return again.read(IDS[::-1], VIEWS, mask=None if mask is None else mask.flip(0))


@pytest.mark.parametrize("dtype", [torch.int64, torch.int32, torch.uint8, torch.bool])
@pytest.mark.parametrize("stored", [torch.float16, torch.int8])
def test_integers_are_exact(tmp_path: Path, dtype: torch.dtype, stored: torch.dtype) -> None:
    codes = torch.tensor([[2049, 50001], [0, 1], [7, 255]]).to(dtype)
    output = through(tmp_path, kd.Output(None, {"codes": codes}), features=["codes"], dtype=stored)
    assert output.features["codes"].dtype == dtype
    assert torch.equal(output.features["codes"], codes.flip(0))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, None])
def test_floating_point_values_are_rounded_to_the_dtype_only(tmp_path: Path, dtype: torch.dtype | None) -> None:
    given = values(3, 5).double()
    output = through(tmp_path, kd.Output(given, {}), dtype=dtype)
    assert torch.equal(output.logits, given.to(dtype or torch.float64).float().flip(0))
    size = next(tmp_path.iterdir()).stat().st_size
    other = tmp_path / "none"
    through(other, kd.Output(given[:, :1], {}), dtype=dtype)
    assert size - next(other.iterdir()).stat().st_size == pytest.approx(12 * (dtype or torch.float64).itemsize, abs=8)


def test_what_float16_cannot_hold_bfloat16_can(tmp_path: Path) -> None:
    given = torch.full((3, 2), 7e4)
    with pytest.raises(ValueError, match=r"'a', view 0, go beyond ±65504, what float16 holds"):
        through(tmp_path / "half", kd.Output(given, {}))
    assert through(tmp_path / "brain", kd.Output(given, {}), dtype=torch.bfloat16).logits[0, 0].item() == 70144.0


def test_int8_is_within_half_a_step_of_each_item(tmp_path: Path) -> None:
    given = values(3, 4, 6) * torch.tensor([1e-3, 1.0, 1e5]).reshape(3, 1, 1)
    given[1] = 0
    output = through(tmp_path, kd.Output(None, {"x": given}), features=["x"], dtype=torch.int8)
    step = given.abs().amax((1, 2), keepdim=True) / 127
    error = (output.features["x"] - given.flip(0)).abs()
    assert (error <= 0.501 * step.flip(0)).all()
    assert error.max() > 0.3 * step.max()
    for broken in (torch.nan, torch.inf):
        given[2, 0, 0] = broken
        with pytest.raises(ValueError, match="'c', view 0, hold NaN or infinity"):
            through(tmp_path / "b", kd.Output(None, {"x": given}), features=["x"], dtype=torch.int8)


def test_files_of_different_dtypes_share_a_folder(tmp_path: Path) -> None:
    given = values(3, 5)
    for clip, dtype in zip(IDS, (torch.int8, torch.float16, torch.bfloat16), strict=True):
        with open_cache(tmp_path, dtype=dtype).writer() as writer:
            writer.add([clip], [0], kd.Output(given[IDS.index(clip)][None], {}))
    torch.testing.assert_close(open_cache(tmp_path).read(IDS, VIEWS).logits, given, atol=0.02, rtol=0.01)


def test_a_file_of_before_is_read(tmp_path: Path) -> None:
    given = values(3, 5).half()
    text = torch.frombuffer(bytearray(json.dumps(IDS).encode()), dtype=torch.uint8)
    tensors = {"clip": text, "view": torch.zeros(3, dtype=torch.int64), "logits": given}
    save_file(tensors, tmp_path / "old.safetensors", {"fingerprint": json.dumps(PRINT)})
    assert torch.equal(open_cache(tmp_path).read(IDS, VIEWS).logits, given.float())


def test_an_unknown_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="dtype must be one of"):
        open_cache(tmp_path, dtype=torch.float64)


MASK = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 0, 0, 0]])


def tokens() -> kd.Output:
    features = {"h": values(3, 4, 2, seed=1), "ids": torch.arange(12).reshape(3, 4) + 50_000}
    return kd.Output(values(3, 4, 5), features)


@pytest.mark.parametrize("dtype", [torch.float32, torch.int8])
def test_tokens_of_different_lengths(tmp_path: Path, dtype: torch.dtype) -> None:
    given = tokens()
    given.logits[MASK == 0] = torch.nan  # padding is not kept, whatever it holds
    output = through(tmp_path, given, mask=MASK, features=["h", "ids"], dtype=dtype)
    kept = MASK.flip(0).bool()
    tolerance = {"atol": 0.02 if dtype == torch.int8 else 0.0, "rtol": 0.0}
    for got, wanted in zip(
        (output.logits, *output.features.values()), (given.logits, *given.features.values()), strict=True
    ):
        assert got.shape == wanted.shape
        torch.testing.assert_close(got[kept], wanted.flip(0)[kept], **tolerance)
        assert (got[~kept] == 0).all()
    assert torch.equal(output.features["ids"][kept], given.features["ids"].flip(0)[kept])
    shard = open_cache(tmp_path)._shards[0]
    assert shard.shapes["logits"] == (-1, 5)
    assert shard.file.get_slice("logits").get_shape() == [7, 5]


def test_they_may_be_padded_otherwise_than_when_they_were_written(tmp_path: Path) -> None:
    given = tokens()
    through(tmp_path, given, mask=MASK)
    cache = open_cache(tmp_path)
    left = torch.zeros(2, 6, dtype=torch.bool)
    left[0, 4:], left[1, 2:] = True, True
    output = cache.read(["b", "a"], [0, 0], mask=left)
    assert output.logits.shape == (2, 6, 5)
    assert torch.equal(output.logits[left], torch.cat([given.logits[1, :2], given.logits[0]]).half().float())
    assert torch.equal(cache.read(["b", "b"], [0, 0]).logits[1], given.logits[1, :2].half().float())
    assert cache.read([], []).logits.shape == (0, 0, 5)


def test_lengths_that_do_not_fit_are_named(tmp_path: Path) -> None:
    through(tmp_path, tokens(), mask=MASK)
    cache = open_cache(tmp_path)
    with pytest.raises(ValueError, match=r"got 3 for 2 of 'b'.*tokenizer"):
        cache.read(["a", "b"], [0, 0], mask=torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]))
    with pytest.raises(ValueError, match=r"lengths \[4, 2\]: pass mask="):
        cache.read(["a", "b"], [0, 0])
    with cache.writer() as writer, pytest.raises(ValueError, match=r"\(4, 5\).*before them.*\(-1, 5\)"):
        writer.add(["d"], [0], kd.Output(values(1, 4, 5), {}))
    with open_cache(tmp_path / "p", features=["pooled"]).writer() as writer, pytest.raises(ValueError, match="a row"):
        writer.add(["d"], [0], kd.Output(values(1, 4, 5), {"pooled": values(1, 9)}), mask=MASK[:1])
    rows = open_cache(tmp_path / "rows")
    with rows.writer() as writer:
        writer.add(["d"], [0], kd.Output(values(1, 5), {}))
    with pytest.raises(ValueError, match="written with one"):
        rows.read(["d"], [0], mask=MASK[:1])


def test_a_broken_token_is_named_by_its_sample(tmp_path: Path) -> None:
    given = tokens()
    given.logits[1, 1, 0] = torch.nan
    with pytest.raises(ValueError, match="clip 'b', view 0, hold NaN"):
        through(tmp_path, given, mask=MASK)


@pytest.mark.parametrize("mask", [None, MASK])
def test_top_classes_teach_as_the_live_ones(tmp_path: Path, mask: Tensor | None) -> None:
    given, student = values(3, 4, 40), kd.Output(values(3, 4, 40, seed=1), {})
    output = through(tmp_path, kd.Output(given, {}), mask=mask, top_k=4, temperature=2.0)
    assert output.logits is None
    live = kd.functional.top_k(given.flip(0), 4, temperature=2.0)
    kept = torch.ones(3, 4).bool() if mask is None else mask.flip(0).bool()
    assert torch.equal(output.raw.indices[kept], live.indices[kept])
    torch.testing.assert_close(output.raw.values[kept], live.values[kept], atol=2e-3, rtol=1e-3)
    losses = [kd.SoftTargetTopK()(student, kd.Output(None, {}, top), mask=kept) for top in (output.raw, live)]
    assert losses[0].item() == pytest.approx(losses[1].item(), rel=5e-3)
    dense = kd.functional.soft_target(student.logits[kept], given.flip(0)[kept], temperature=2.0)
    assert 0 < losses[1] < dense


def test_top_classes_take_less_room(tmp_path: Path) -> None:
    given = kd.Output(values(3, 5000), {})
    through(tmp_path / "dense", given)
    through(tmp_path / "top", given, top_k=20)
    sizes = [sum(path.stat().st_size for path in (tmp_path / name).iterdir()) for name in ("dense", "top")]
    assert sizes[1] < sizes[0] / 20


def test_other_top_classes_are_another_fingerprint(tmp_path: Path) -> None:
    through(tmp_path, kd.Output(values(3, 9), {}), top_k=2, temperature=2.0)
    for options in ({}, {"top_k": 3, "temperature": 2.0}, {"top_k": 2}):
        with pytest.raises(ValueError, match="top_k is '2 at temperature 2' there and"):
            open_cache(tmp_path, **options)
    with pytest.raises(ValueError, match="k must be between 1 and 8"):
        through(tmp_path / "b", kd.Output(values(3, 9), {}), top_k=9)


def test_images(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    teacher = kd.Teacher(net, {"0": "map"})
    live = teacher(values(3, 3, 8, 8))
    output = through(tmp_path, live, features=["map"], dtype=None)
    assert torch.equal(output.logits, live.logits.flip(0))
    assert torch.equal(output.features["map"], live.features["map"].flip(0))


def test_lengths_beyond_the_rows_are_damage(tmp_path: Path) -> None:
    rows = {"logits": values(4, 5), "length": torch.tensor([2, 3])}
    write_shard(tmp_path, rows, ["a", "b"], [0, 0], PRINT)
    with pytest.raises(ValueError, match="is damaged"):
        open_cache(tmp_path)
