"""Flow in JPEG files: the layouts there are, and what can be wrong with them."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from kdvideo import flow as kf

LAYOUTS = {
    "tsn": ({}, "{clip}/flow_{c}_{n:05d}.jpg", 1),
    "denseflow": ({}, "{clip}/flow_{c}_{n:05d}.jpg", 0),
    "two trees": ({"x": "u/{clip}/frame*.jpg", "y": "v/{clip}/frame*.jpg"}, "{uv}/{clip}/frame{n:06d}.jpg", 1),
    "folders": ({"x": "{clip}/flow_x/*.jpg", "y": "{clip}/flow_y/*.jpg"}, "{clip}/flow_{c}/{n:05d}.jpg", 1),
}


def value(component: int, number: int) -> int:
    return 100 + 10 * number + 5 * component


def write(root: Path, template: str, first: int, clip: str, count: int = 12, size: tuple[int, int] = (16, 24)) -> None:
    """Pictures of one gray each, which JPEG keeps exactly."""
    for component in range(2):
        for number in range(count):
            name = template.format(clip=clip, c="xy"[component], uv="uv"[component], n=first + number)
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("L", size[::-1], value(component, number)).save(path, quality=95)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("folder", ["run/v_1.avi", "run/v_1"])
def test_layouts(tmp_path: Path, layout: str, folder: str) -> None:
    patterns, template, first = LAYOUTS[layout]
    write(tmp_path, template, first, folder)
    flow = kf.TSNFlow(tmp_path, bound=32, **patterns)
    found = flow.read("run/v_1.avi")
    values = torch.tensor([[value(c, n) for c in range(2)] for n in range(12)], dtype=torch.uint8)
    assert found.shape == (12, 2, 16, 24)
    assert torch.equal(found[:, :, 5, 7], kf.dequantize_tsn(values, 32))
    assert torch.equal(flow.read("run/v_1.avi", start=3, stop=9), found[3:9])
    assert flow.read("run/v_1.avi", start=4, stop=4).shape == (0, 2, 16, 24)
    assert torch.equal(flow("run/v_1.avi", torch.zeros(13, 3, 16, 24)), found)
    with pytest.raises(ValueError, match="resized or sampled differently"):
        flow("run/v_1.avi", torch.zeros(14, 3, 16, 24))
    assert "run/v_1.avi" in flow
    assert "run/v_2.avi" not in flow
    with pytest.raises(KeyError, match=r"run/v_2\.avi"):
        flow.read("run/v_2.avi")


def test_pairs_of_other_steps_and_pictures_are_skipped(tmp_path: Path) -> None:
    write(tmp_path, "{clip}/flow_{c}_{n:05d}.jpg", 1, "clip", 3)
    write(tmp_path, "{clip}/flow_{c}_p2_{n:05d}.jpg", 1, "clip", 2)
    write(tmp_path, "{clip}/img_{c}{n:05d}.jpg", 1, "clip", 4)
    assert len(kf.TSNFlow(tmp_path).read("clip.mp4")) == 3


def damage(folder: Path, what: str) -> None:
    path = folder / "flow_y_00004.jpg"
    if what == "gap":
        for component in "xy":
            (folder / f"flow_{component}_00004.jpg").unlink()
    elif what == "count":
        (folder / "flow_y_00012.jpg").unlink()
    elif what == "size":
        Image.new("L", (24, 15)).save(path)
    elif what == "truncated":
        path.write_bytes(path.read_bytes()[:-200])
    elif what == "text":
        path.write_text("<html>")
    elif what == "start":
        for component in "xy":
            (folder / f"flow_{component}_00001.jpg").unlink()
    else:
        for file in folder.iterdir():
            file.unlink()


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("gap", r"clip lacks number 4 of 'flow_x_\*\.jpg'"),
        ("start", r"clip lacks number 1 of 'flow_x_\*\.jpg'"),
        ("count", "'clip' must have one file .* got 12 of x and 11 of y"),
        ("size", r"'clip' in .* must have one size, got \[\(15, 24\), \(16, 24\)\]"),
        ("truncated", "flow_y_00004.jpg is not a readable image"),
        ("text", "flow_y_00004.jpg is not a readable image"),
        ("empty", r"no file 'flow_x_\*\.jpg' in .*clip"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, what: str, message: str) -> None:
    write(tmp_path, "{clip}/flow_{c}_{n:05d}.jpg", 1, "clip")
    damage(tmp_path / "clip", what)
    with pytest.raises(ValueError, match=message):
        kf.TSNFlow(tmp_path).read("clip")


@pytest.mark.parametrize("pattern", ["flow_x_*.jpg", "{clip}/flow_x.jpg", "{clip}/*/x.jpg", "{clip}_*.jpg", ""])
def test_patterns(pattern: str) -> None:
    with pytest.raises(ValueError, match="patterns like"):
        kf.TSNFlow("folder", x=pattern)


def test_fingerprint_is_that_of_the_estimator() -> None:
    assert kf.TSNFlow("folder").fingerprint == kf.TVL1Estimator(kf.OPENCV).fingerprint
    assert kf.TSNFlow("folder", estimator=kf.TVL1Estimator()).fingerprint == kf.TVL1Estimator().fingerprint
