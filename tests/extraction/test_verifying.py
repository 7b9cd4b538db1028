"""Checking a folder of flow: each kind of damage is found, and named by its file."""

import json
import os
import re
from pathlib import Path

import pytest

from kdvideo import flow as kf
from kdvideo.extraction import extract, verify
from tests.extraction.fakes import clips, files, row, store

SIDECAR, FLOW = "a/clip000.mp4.flow.json", "a/clip000.mp4.flow.zst"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    extract(clips(tmp_path / "videos", 2), store(tmp_path / "flow"), short_side=48)
    return tmp_path / "flow"


@pytest.mark.parametrize("codec", [kf.LOSSLESS, kf.GrayFFV1(), kf.NEAR_LOSSLESS, kf.UNCOMPRESSED], ids=str)
def test_whole_flow_has_no_problem(tmp_path: Path, codec: kf.FlowCodec) -> None:
    rows = clips(tmp_path / "videos", 1, frames=70) + clips(tmp_path / "videos", 2, frames=1)[1:]
    extract(rows, store(tmp_path / "flow", codec=codec), short_side=48)
    before = files(tmp_path / "flow")
    assert verify(tmp_path / "flow") == []
    assert files(tmp_path / "flow") == before


def change(folder: Path, **values: object) -> None:
    info = json.loads((folder / SIDECAR).read_text())
    (folder / SIDECAR).write_text(json.dumps(info | values))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGES = {
    "bit": (lambda f: flip(f / FLOW, -20), SIDECAR, "zst is"),
    "first bit": (lambda f: flip(f / FLOW, 60), SIDECAR, "zst is"),
    "truncated": (lambda f: (f / FLOW).write_bytes((f / FLOW).read_bytes()[:-1]), SIDECAR, "it has .* bytes"),
    "missing": (lambda f: (f / FLOW).unlink(), SIDECAR, "it is missing"),
    "sidecar": (lambda f: (f / SIDECAR).write_text("{}"), SIDECAR, "not a readable sidecar"),
    "no sidecar": (lambda f: (f / SIDECAR).unlink(), FLOW, "flow without a sidecar"),
    "other codec": (lambda f: (f / FLOW).with_suffix(".safetensors").touch(), "safetensors", "flow without a sidecar"),
    "size": (lambda f: change(f, size=[48, 63]), SIDECAR, "zst is not a readable flow file"),
    "bound": (lambda f: change(f, bound=10.0), SIDECAR, "bound is 10.0, that of the extraction is 20.0"),
    "flows": (
        lambda f: change(f, frames=6, flows=5, crc32=[1] * 5),
        SIDECAR,
        r"it does not hold the flows range\(0, 5\)",
    ),
    "temporary": (lambda f: (f / "a" / ".writing-1").touch(), "a/.writing-1", "temporary file"),
    "settings": (lambda f: (f / "extraction.json").write_text("{"), "extraction.json", "damaged"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_damage_is_found(folder: Path, name: str) -> None:
    damage, file, message = DAMAGES[name]
    damage(folder)
    (problem,) = verify(folder)
    assert problem.file.endswith(file)
    assert re.search(message, problem.text)


def test_what_it_advises_repairs(folder: Path, tmp_path: Path) -> None:
    before = files(folder)
    times = {path: path.stat().st_mtime_ns for path in (tmp_path / "videos").rglob("*.mp4")}
    flip(folder / FLOW, -20)
    (problem,) = verify(folder)
    assert "remove the sidecar and extract again" in problem.text
    (folder / problem.file).unlink()
    rows = clips(tmp_path / "videos", 2)
    for path, time in times.items():
        os.utime(path, ns=(time, time))
    extract(rows, store(folder), short_side=48)
    assert files(folder) == before


def test_failed_clips_are_listed(tmp_path: Path) -> None:
    extract([row(tmp_path, "gone.mp4")], store(tmp_path / "flow"), short_side=48)
    assert [str(p) for p in verify(tmp_path / "flow")] == ["gone.mp4.flow.json: failed: no such file"]


def test_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such folder"):
        verify(tmp_path / "flow")
