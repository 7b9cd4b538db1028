"""Middlebury files."""

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from kdvideo import flow as kf


def test_files_are_opencvs_both_ways(tmp_path: Path) -> None:
    flow = torch.randn(2, 5, 7)
    kf.write_flo(tmp_path / "a.flo", flow)
    assert np.array_equal(cv2.readOpticalFlow(str(tmp_path / "a.flo")), flow.permute(1, 2, 0).numpy())
    cv2.writeOpticalFlow(str(tmp_path / "b.flo"), flow.permute(1, 2, 0).contiguous().numpy())
    assert torch.equal(kf.read_flo(tmp_path / "b.flo"), flow)


@pytest.mark.parametrize("data", [b"", b"PIEH", b"JUNK" + bytes(20), b"PIEH" + b"\1\0\0\0" * 2 + bytes(7)])
def test_damaged_files_are_named(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "broken.flo"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"broken\.flo"):
        kf.read_flo(path)


def test_one_flow_per_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"must be \(2,H,W\)"):
        kf.write_flo(tmp_path / "a.flo", torch.zeros(1, 2, 4, 4))
