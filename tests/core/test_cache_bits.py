"""A flipped bit in a teacher cache is an error, whatever it hits; caches without checksums are still read."""

import random
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

import kdvideo as kd

pytestmark = [pytest.mark.faults, pytest.mark.security, pytest.mark.reliability("E4")]
IDS, VIEWS = [f"clip {k}.mp4" for k in range(6)], [0, 1, 0, 2, 0, 1]
OPTIONS = {
    "plain": {},
    "int8": {"dtype": torch.int8},
    "as it is": {"dtype": None},
    "top k": {"top_k": 2},
    "tokens": {"masked": True},
}


def opened(folder: Path, options: dict) -> kd.TeacherCache:
    known = {key: value for key, value in options.items() if key != "masked"}
    features = [] if "top_k" in options else ["f"]
    return kd.TeacherCache(folder, fingerprint={"teacher": "a"}, features=features, **known)


def mask_of(options: dict) -> torch.Tensor | None:
    return torch.arange(4) < torch.tensor([[1], [2], [3], [4], [4], [2]]) if "masked" in options else None


def written(folder: Path, options: dict) -> Path:
    generator = torch.Generator().manual_seed(0)
    middle = (4,) if "masked" in options else ()
    logits, feature = (torch.randn(6, *middle, width, generator=generator) for width in (5, 7))
    with opened(folder, options).writer() as writer:
        writer.add(IDS, VIEWS, kd.Output(logits, {"f": feature}), mask=mask_of(options))
    return next(folder.glob("*.safetensors"))


def everything(folder: Path, options: dict) -> list[torch.Tensor]:
    found = opened(folder, options).read(IDS, VIEWS, mask=mask_of(options))
    tops = [] if found.raw is None else [found.raw.values, found.raw.indices, found.raw.rest]
    return [*([] if found.logits is None else [found.logits]), *found.features.values(), *tops]


@pytest.mark.parametrize("name", OPTIONS)
def test_one_flipped_bit(name, tmp_path, record_property):
    """Fails when the comparison in `Shard.rows`, or that in `_read_checks`, is taken away."""
    options = OPTIONS[name]
    path = written(tmp_path, options)
    whole, right, generator = path.read_bytes(), everything(tmp_path, options), random.Random(0)
    trials = 500
    for _ in range(trials):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            found = everything(tmp_path, options)
        except (ValueError, KeyError):
            continue
        assert all(torch.equal(a, b) for a, b in zip(found, right, strict=True))
    record_property("trials", trials)


def test_the_item_is_named_and_the_others_are_read(tmp_path):
    """Fails when the comparison in `Shard.rows` is taken away."""
    path = written(tmp_path, {"dtype": None})
    whole = path.read_bytes()
    with safe_open(path, "pt") as file:
        third = file.get_slice("logits")[2:3]
    at = whole.index(third.numpy().tobytes())
    path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    cache = opened(tmp_path, {"dtype": None})
    assert cache.read(IDS[:2], VIEWS[:2]).logits.shape == (2, 5)
    with pytest.raises(ValueError, match=r"is damaged \(logits of its item 2 is not what was written\)"):
        cache.read(IDS, VIEWS)


def test_caches_without_checksums_are_read(tmp_path):
    """Fails when a file must have checksums: caches that were written before there were any have none."""
    path = written(tmp_path, {})
    right = everything(tmp_path, {})
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys() if not name.startswith("crc32")}  # noqa: SIM118
        about = file.metadata()
    path.unlink()
    save_file(tensors, path, about)
    assert all(torch.equal(a, b) for a, b in zip(everything(tmp_path, {}), right, strict=True))
