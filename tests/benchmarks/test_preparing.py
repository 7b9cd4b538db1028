"""Flow of all clips before the first training."""

import dataclasses
from pathlib import Path

import pytest
import torch
from accelerate import Accelerator

from benchmarks.paper.lab import Lab
from benchmarks.paper.tables import preparing
from examples.d3d.config import POCKET
from kdvideo.data import synthetic


def test_flow_is_extracted_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = {"train": 2, "test": 1}
    root = synthetic.write_dataset(tmp_path / "x", clips_per_class=counts, classes=("spin", "orbit"), size=32, frames=4)
    small = dataclasses.replace(POCKET.input, short_side=32, crop=32)
    config = dataclasses.replace(
        POCKET, input=small, work_dir=tmp_path, train=root / "train", test=root / "test", flow_from="online"
    )
    asked = []
    monkeypatch.setattr(preparing, "workers_and_devices", lambda: asked.append("x") or (0, ("cpu",)))
    accelerator = Accelerator(cpu=True)
    preparing.prepare_flow(Lab(config, accelerator))
    assert not asked
    assert not (tmp_path / "flow").exists()
    lab = Lab(dataclasses.replace(config, flow_from="store"), accelerator)
    preparing.prepare_flow(lab)
    assert asked
    for manifest in (lab.clips.train, lab.clips.test):
        assert all(clip in lab.clips.store(manifest) for clip in manifest["clip"])
    monkeypatch.setattr("kdvideo.extraction.extract", lambda *_, **__: pytest.fail("extracted again"))
    preparing.prepare_flow(lab)


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
    assert preparing.workers_and_devices() == expected
