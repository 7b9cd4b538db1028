"""Flow of all clips before the first training."""

import dataclasses
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from benchmarks.paper.tables import preparing
from examples.d3d import clips
from examples.d3d.config import POCKET
from kdvideo.data import synthetic


def test_flow_is_extracted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train": 2, "test": 1}
    root = synthetic.write_dataset(tmp_path / "x", clips_per_class=counts, classes=("spin", "orbit"), size=32, frames=4)
    small = dataclasses.replace(POCKET.input, short_side=32, crop=32)
    config = dataclasses.replace(
        POCKET, input=small, work_dir=tmp_path, train=root / "train", test=root / "test", flow_from="online"
    )
    monkeypatch.setattr(preparing, "_machine", lambda: (0, ("cpu",)))
    preparing.prepare_flow(config, Accelerator(cpu=True))
    assert not (tmp_path / "flow").exists()
    config = dataclasses.replace(config, flow_from="store")
    preparing.prepare_flow(config, Accelerator(cpu=True))
    for manifest in clips.manifests(config):
        store = clips.flow_store(config, manifest)
        assert all(clip in store for clip in manifest["clip"])
    monkeypatch.setattr(preparing, "_machine", lambda: pytest.fail("extracted again"))
    preparing.prepare_flow(config, Accelerator(cpu=True))


@pytest.mark.parametrize(
    ("cores", "gpus", "expected"),
    [
        (1, 0, (0, ("cpu",))),
        (16, 0, (16, ("cpu",))),
        (16, 1, (4, ("cuda:0",))),
        (16, 8, (16, tuple(f"cuda:{k}" for k in range(8)))),
    ],
)
def test_the_machine_is_used(monkeypatch: pytest.MonkeyPatch, cores: int, gpus: int, expected: object) -> None:
    monkeypatch.setattr(preparing.os, "cpu_count", lambda: cores)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert preparing._machine() == expected
