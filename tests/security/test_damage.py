"""A flipped bit in a file of torch.save is seen, or changes nothing."""

import random

import pytest
import torch

from kdvideo.models.checkpoints.torch_files import load_torch
from kdvideo.models.checkpoints.weight_files import read_weights

pytestmark = [pytest.mark.security, pytest.mark.reliability("E4")]
WEIGHTS = {"a.weight": torch.linspace(-1, 1, 600).view(20, 30), "b": torch.arange(7), "c": torch.ones(40).half()}


@pytest.mark.parametrize("wrapped", [False, True])
def test_one_flipped_bit(wrapped, tmp_path, record_property):
    """Fails when the loop over the members in `check_archive` is taken away: 3 of 10 flips are then read as weights."""
    path = tmp_path / "a.pt"
    torch.save({"state_dict": WEIGHTS, "epoch": 3} if wrapped else WEIGHTS, path)
    whole, generator = path.read_bytes(), random.Random(0)
    seen = 0
    for _ in range(trials := 400):
        damaged = bytearray(whole)
        damaged[generator.randrange(len(whole))] ^= 1 << generator.randrange(8)
        path.write_bytes(damaged)
        try:
            found, _ = read_weights(path)
        except ValueError:
            seen += 1
            continue
        assert found.keys() == WEIGHTS.keys()
        assert all(torch.equal(found[key], value) for key, value in WEIGHTS.items())
    record_property("trials", trials)
    record_property("worst", f"{seen} of {trials} seen, the others in padding")
    assert seen > trials / 4


def test_archives_without_checksums_are_read(tmp_path):
    """Fails when the look at all checksums being 0 is taken away."""
    before = torch.serialization.get_crc32_options()
    try:
        torch.serialization.set_crc32_options(False)
        torch.save(WEIGHTS, tmp_path / "a.pt")
    finally:
        torch.serialization.set_crc32_options(before)
    assert torch.equal(load_torch(tmp_path / "a.pt")["b"], WEIGHTS["b"])
