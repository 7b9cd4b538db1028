"""Clips that are replaced or repaired under their name, and names too long for a file of flow."""

import io
import os
import shutil
from pathlib import Path

import pytest
from PIL import Image

from kdvideo import cli
from kdvideo.data import PairedClips, from_folder
from kdvideo.extraction import extract, prepare, verify
from kdvideo.flow import FlowStore
from tests.data.videos import picture, write_video
from tests.extraction.fakes import RATE, Fake, row, store, write_clip

SIDE = 48
pytestmark = pytest.mark.faults


def extracted(videos: Path, place: FlowStore) -> dict[str, str]:
    return extract([row(videos, "a.mp4")], place, short_side=SIDE).failed


def test_a_replaced_clip_gets_new_flow(tmp_path: Path) -> None:
    """Fails when `known_outcome` does not ask `what_changed`, or only for the size."""
    place = store(tmp_path / "flow")
    write_clip(tmp_path / "a.mp4", 1, 5)
    extracted(tmp_path, place)
    old = place.read("a.mp4")
    write_clip(tmp_path / "b.mp4", 60, 5)
    data = (tmp_path / "b.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data)
    with pytest.warns(UserWarning, match=r"a\.mp4 is another file than before \(.*\): its flow is made anew"):
        extracted(tmp_path, place)
    assert not old.equal(place.read("a.mp4"))
    same_size = data[:-1] + bytes([data[-1] ^ 1])
    (tmp_path / "a.mp4").write_bytes(same_size)
    os.utime(tmp_path / "a.mp4", ns=(1, 1))
    with pytest.warns(UserWarning, match=f"its {len(data)} bytes are others than before"):
        extracted(tmp_path, place)


def test_frames_that_are_written_anew_get_new_flow(tmp_path: Path) -> None:
    """Fails when `_status` looks at their folder alone, or `_sha256` at their sizes."""

    def write(first: int) -> None:
        (tmp_path / "x").mkdir(exist_ok=True)
        for k in range(10):
            data = io.BytesIO()
            Image.fromarray(picture(first + k)).save(data, "png")
            (tmp_path / f"x/{k}.png").write_bytes(data.getvalue().ljust(20_000, b"\0"))

    place, rows = store(tmp_path / "flow"), [row(tmp_path, "x")]
    write(1)
    extract(rows, place, short_side=SIDE)
    old = place.read("x")
    write(60)
    with pytest.warns(UserWarning, match="its 200000 bytes are others than before"):
        extract(rows, place, short_side=SIDE)
    assert not old.equal(place.read("x"))
    assert verify(tmp_path / "flow", deep=rows) == []


def test_a_copy_is_the_same_clip(tmp_path: Path) -> None:
    """Fails when another modification time alone counts as another file: a copied data set would be computed anew."""
    log = tmp_path / "log"
    place = store(tmp_path / "flow", estimator=Fake(log=str(log)))
    write_clip(tmp_path / "a.mp4", 1, 5)
    extracted(tmp_path, place)
    shutil.copy(tmp_path / "a.mp4", tmp_path / "b.mp4")
    (tmp_path / "b.mp4").rename(tmp_path / "a.mp4")
    extracted(tmp_path, place)
    (tmp_path / "a.mp4").unlink()  # to make room: the flow stays
    assert extracted(tmp_path, place) == {}
    assert len(log.read_text().split()) == 1


@pytest.mark.parametrize("broken", [b"", b"<html>", None])
def test_a_repaired_clip_is_tried_again(tmp_path: Path, broken: bytes | None) -> None:
    """Fails when `fail` records no origin."""
    if broken is not None:
        (tmp_path / "a.mp4").write_bytes(broken)
    place = store(tmp_path / "flow")
    assert "a.mp4" in extracted(tmp_path, place)
    assert "a.mp4" in extracted(tmp_path, place)
    write_clip(tmp_path / "a.mp4", 1, 5)
    with pytest.warns(UserWarning, match="is another file than before"):
        assert extracted(tmp_path, place) == {}


def test_a_repaired_clip_is_prepared(tmp_path: Path) -> None:
    """Fails when `FileJob.known_outcome` does not ask whether a clip that failed has changed."""
    (tmp_path / "a.mp4").touch()
    rows = [dict(row(tmp_path, "a.mp4")) | {"label": "run"}]
    options = {"short_side": SIDE, "fps": RATE}
    assert prepare(rows, tmp_path / "out", **options).failed == {"a.mp4": "the file is empty"}
    write_clip(tmp_path / "a.mp4", 1, 5)
    assert prepare(rows, tmp_path / "out", **options).done == 1


def test_a_replaced_clip_is_prepared_anew(tmp_path: Path) -> None:
    """Fails when `known_outcome` asks only failures what changed, or when `writing` records nothing."""
    write_clip(tmp_path / "a.mp4", 1, 5)
    rows = [dict(row(tmp_path, "a.mp4")) | {"label": "run"}]
    options = {"short_side": SIDE, "fps": RATE}
    for _ in range(2):
        assert prepare(rows, tmp_path / "out", **options).done == 1
    old = (tmp_path / "out/a.mp4").read_bytes()
    write_clip(tmp_path / "a.mp4", 60, 5)
    with pytest.warns(UserWarning, match=r"a\.mp4 is another file than before \(.*\): its clips are made anew"):
        assert prepare(rows, tmp_path / "out", **options).done == 1
    assert (tmp_path / "out/a.mp4").read_bytes() != old


def test_verify_deep_compares_the_contents(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Fails when `deep` trusts equal sizes and times."""
    write_clip(tmp_path / "a.mp4", 1, 5)
    extracted(tmp_path, store(tmp_path / "flow"))
    status = (tmp_path / "a.mp4").stat()
    data = (tmp_path / "a.mp4").read_bytes()
    (tmp_path / "a.mp4").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    os.utime(tmp_path / "a.mp4", ns=(status.st_atime_ns, status.st_mtime_ns))
    from kdvideo.flow.store import origins

    origins._sha256.cache_clear()  # as in another process
    assert verify(tmp_path / "flow") == []
    rows = [row(tmp_path, "a.mp4")]
    (problem,) = verify(tmp_path / "flow", deep=rows)
    assert "is another file than its flow was made of (its" in problem.text
    assert cli.main(["verify", str(tmp_path / "flow"), "--deep", str(tmp_path / "a.mp4")]) == 1
    (tmp_path / "a.mp4").unlink()
    (problem,) = verify(tmp_path / "flow", deep=rows)
    assert "it is gone" in problem.text


def test_flow_of_a_replaced_clip_is_not_read(tmp_path: Path) -> None:
    """Fails when `count` does not ask `what_changed`: pictures of one clip would be paired with flow of another."""
    write_clip(tmp_path / "videos/run/a.mp4", 1, 8)
    manifest, place = from_folder(tmp_path / "videos"), store(tmp_path / "flow")
    extract(manifest, place, short_side=SIDE)
    options = {"train": False, "frames": 4, "fps": RATE, "short_side": SIDE, "crop": SIDE}
    assert PairedClips(manifest, flow=place, **options)[0]["flow"].shape[1] == 4
    write_clip(tmp_path / "videos/run/a.mp4", 60, 8)
    with pytest.raises(ValueError, match="is another file than its flow was made of"):
        PairedClips(manifest, flow=place, **options)[0]


@pytest.mark.parametrize("length", [231, 255])
def test_a_name_too_long_fails_alone(tmp_path: Path, length: int) -> None:
    """Fails when `_check_names` lets the error of `file` through."""
    name = "x" * (length - 4) + ".mp4"
    rows = []
    for one in ("a.mp4", name):
        write_clip(tmp_path / one, 1, 3)
        rows.append(dict(row(tmp_path, one)) | {"label": "run"})
    place = store(tmp_path / "flow")
    result = extract(rows, place, short_side=SIDE)
    assert (result.done, list(result.failed)) == (1, [name])
    assert "at most 230 bytes" in result.failed[name]
    assert name not in place
    prepared = prepare(rows, tmp_path / "out", short_side=SIDE, fps=RATE)
    assert prepared.done + len(prepared.failed) == 2
    assert list(prepared.failed) in ([], [name])


def test_a_warning_where_frames_repeat(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when equal frames are not counted, or the warning comes for every clip."""
    monkeypatch.setattr("kdvideo.extraction.flow_job._warned", set())
    for name in ("a.mp4", "b.mp4"):
        write_clip(tmp_path / name, 1, 5)
    rows = [row(tmp_path, name) for name in ("a.mp4", "b.mp4")]
    with pytest.warns(UserWarning, match="repeat") as found:
        extract(rows, FlowStore(tmp_path / "flow", fps=3.0 * RATE, estimator=Fake()), short_side=SIDE)
    (text,) = (str(one.message) for one in found)
    assert "frames of 'a.mp4' repeat the one before, so that flow is zero; its file has 5: a lower rate" in text


def test_native_rate(tmp_path: Path) -> None:
    """Fails when `_rate` takes native for the default rate."""
    write_video(tmp_path / "a.mp4", [picture(i) for i in range(6)], rate=7)
    arguments = ["extract", str(tmp_path / "a.mp4"), str(tmp_path / "flow"), "--fps", "native", "--estimator", "dis"]
    assert cli.main([*arguments, "--short-side", str(SIDE), "--workers", "0"]) == 0
    from kdvideo.flow import DISEstimator

    assert FlowStore(tmp_path / "flow", fps=None, estimator=DISEstimator()).count("a.mp4") == 5
