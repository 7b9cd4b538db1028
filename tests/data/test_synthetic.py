"""Synthetic clips: what the docstrings promise about the files, the cue and the class rule."""

import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import av
import numpy as np
import pytest
import torch

from kdvideo.data.synthetic import (
    CLASSES,
    MOTIONS,
    IndependentCues,
    ShortcutCue,
    motions,
    render,
    shapes,
    write_dataset,
)
from kdvideo.data.synthetic.dataset_folder import write_folder

SMALL = {"clips_per_class": {"train": 1, "test": 1}, "frames": 6, "size": 32, "seed": 1000}


def tree(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def clips(root: Path) -> list[dict[str, str]]:
    return json.loads((root / "synthetic.json").read_text())["clips"]


def test_files_have_the_declared_size_rate_and_frames(tmp_path):
    counts = {"train": 2, "val": 1}
    root = write_dataset(tmp_path / "d", clips_per_class=counts, frames=10, size=48, fps=12.5, seed=1000)
    paths = sorted(root.rglob("*.mp4"))
    assert Counter(path.relative_to(root).parts[:2] for path in paths) == {
        (split, name): count for split, count in counts.items() for name in CLASSES
    }
    for path in paths:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            assert stream.codec_context.name == "h264"
            assert float(stream.average_rate) == 12.5
            frames = [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]
        assert np.stack(frames).shape == (10, 48, 48, 3)


def test_encoding_keeps_the_pictures(tmp_path):
    path = tmp_path / "clip.mp4"
    clip = render("spin", seed=1000, frames=8)
    path.write_bytes(motions.encode(clip))
    with av.open(str(path)) as container:
        frames = np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])
    grey = lambda x: x.astype(float).mean(-1)  # noqa: E731  (4:2:0 keeps brightness better than colour)
    assert np.abs(grey(frames) - grey(clip.permute(0, 2, 3, 1).numpy())).mean() < 4


def test_two_processes_at_once_write_the_same_bytes_as_one(tmp_path):
    """Fresh interpreters, which also start from other states of memory, hash seed and thread count."""
    alone = write_dataset(tmp_path / "alone", **SMALL)
    code = f"from kdvideo.data.synthetic import *; write_dataset({str(tmp_path / 'both')!r}, **{SMALL!r})"
    running = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": threads})
        for threads in ("1", "2")
    ]
    assert [process.wait() for process in running] == [0, 0]
    assert tree(tmp_path / "both") == tree(alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "both"]


def test_the_same_pictures_encode_to_the_same_bytes():
    """x264's default settings fail this."""
    clip = render("orbit", seed=1000, frames=12)
    ballast = []  # moves the encoder's buffers about
    files = set()
    for length in range(1, 4000, 200):
        ballast.append(torch.rand(length))
        files.add(motions.encode(clip))
    assert len(files) == 1


def test_render_depends_on_seed_class_and_appearance_only():
    clip = render("orbit", seed=1, appearance="spin", frames=4)
    assert clip.dtype == torch.uint8
    torch.manual_seed(5)
    assert clip.equal(render("orbit", seed=1, appearance="spin", frames=4))
    for other in ({"motion": "spin"}, {"seed": 2}, {"appearance": "orbit"}):
        arguments = {"motion": "orbit", "seed": 1, "appearance": "spin", "frames": 4, **other}
        assert not clip.equal(render(**arguments))


def test_no_two_clips_share_a_seed_and_data_sets_differ(tmp_path):
    arguments = {**SMALL, "clips_per_class": {"train": 2, "val": 2, "test": 2}, "frames": 2}
    first = write_dataset(tmp_path / "a", **arguments)
    second = write_dataset(tmp_path / "b", **{**arguments, "seed": 1001})
    contents = [data for root in (first, second) for name, data in tree(root).items() if name.endswith("mp4")]
    assert len(set(contents)) == len(contents) == 72
    seeds = [clip["seed"] for root in (first, second) for clip in clips(root)]
    assert len(set(seeds)) == 72


@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 1.0])
def test_the_shortcut_agrees_with_the_class_in_training_only(share):
    for label in CLASSES:
        train = ShortcutCue(share).draw(label, 40, CLASSES, "train", 1000)
        assert {motion for motion, _ in train} == {label}
        looks = Counter(look for _, look in train)
        assert looks[label] == round(40 * share)
        others = [looks[name] for name in CLASSES if name != label]
        assert max(others) - min(others) <= 1
        test = ShortcutCue(share).draw(label, 24, CLASSES, "test", 1000)
        assert Counter(test) == {(label, look): 4 for look in CLASSES}


@pytest.mark.parametrize("split", ["train", "test"])
def test_independent_cues_are_right_or_absent_in_exact_shares(split):
    counts = Counter(IndependentCues(look=0.7, motion=0.65).draw("spin", 40, CLASSES, split, 1000))
    assert counts == {("spin", "spin"): 18, ("still", "spin"): 10, ("spin", "plain"): 8, ("still", "plain"): 4}


def test_a_still_plain_clip_shows_nothing_of_its_class(tmp_path):
    still = render("still", seed=5, appearance="plain", noise=0.0, camera=0.0)
    assert int((still - still[:1]).abs().max()) == 0
    center = still[0, :, 26:46, 26:46].float().mean((1, 2))
    assert float(center.max() - center.min()) < 12  # gray


def test_the_record_says_what_was_drawn(tmp_path, monkeypatch):
    drawn = []

    def spy(motion: str, **arguments: object) -> torch.Tensor:
        drawn.append((motion, arguments["seed"], arguments["appearance"]))
        return render(motion, **arguments)

    monkeypatch.setattr(motions, "render", spy)
    root = write_dataset(tmp_path / "d", **SMALL)
    assert drawn == [(clip["motion"], clip["seed"], clip["appearance"]) for clip in clips(root)]


def test_appearance_is_hue_and_outline():
    looks = [shapes.LOOKS[name] for name in MOTIONS]
    assert len({look.hue for look in looks}) == len({(look.lobes, look.depth) for look in looks}) == len(MOTIONS)


# What moves in each class, up to sign: x, y, angle, zoom, shear.
MOVES = {
    "diagonal": "xy",
    "horizontal": "x",
    "orbit": "xy",
    "pulse": "zoom",
    "rock": "angle",
    "shear": "shear",
    "spin": "angle",
    "vertical": "y",
}


def poses(motion: str, seed: int) -> dict[str, torch.Tensor]:
    times = torch.arange(64) / 25
    return vars(shapes.move(motion, times, 14.0, 1.0, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("motion", MOTIONS)
def test_only_the_parameters_of_the_class_move(motion):
    for seed in range(1000, 1010):
        moving = {name for name, value in poses(motion, seed).items() if value.std() > 1e-4}
        assert moving == ({"x", "y"} if MOVES[motion] == "xy" else {MOVES[motion]})


@pytest.mark.parametrize("motion", MOTIONS)
def test_a_mirrored_motion_is_a_motion_of_its_class(motion):
    """Mirroring negates x, angle and shear; each class's law below does not see the signs."""
    for seed in range(1000, 1010):
        pose = poses(motion, seed)
        for x, y, angle in ((pose["x"], pose["y"], pose["angle"]), (-pose["x"], pose["y"], -pose["angle"])):
            same_sign = bool((angle.diff() > 0).all() or (angle.diff() < 0).all())
            assert same_sign == (motion == "spin")
            assert torch.allclose(x.abs(), y.abs(), atol=1e-4) == (motion == "diagonal")
            assert bool(x.hypot(y).std() < 1e-3 < x.std()) == (motion == "orbit")


def turning(pose: dict[str, torch.Tensor]) -> torch.Tensor:
    return pose["x"][:-1] * pose["y"].diff() - pose["y"][:-1] * pose["x"].diff()


HANDS = {"spin": lambda p: p["angle"].diff(), "orbit": turning, "diagonal": lambda p: p["x"] * p["y"]}


@pytest.mark.parametrize("motion", HANDS)
def test_both_mirror_images_of_a_class_occur_alike(motion):
    signs = [float(HANDS[motion](poses(motion, seed)).mean().sign()) for seed in range(1000, 1200)]
    assert 70 < signs.count(1.0) < 130


def test_one_frame_shows_a_moving_parameter_as_it_shows_a_still_one():
    """Kolmogorov-Smirnov distance of 300 against 300 draws: 0.14 is the 0.5 % point."""
    values = {m: [poses(m, seed) for seed in range(1000, 1300)] for m in CLASSES}
    for name, motion in (("x", "horizontal"), ("y", "vertical"), ("zoom", "pulse"), ("shear", "shear")):
        for still in set(CLASSES) - {motion}:
            a, b = (torch.stack([pose[name][9] for pose in values[m]]) for m in (motion, still))
            points = torch.cat((a, b))[:, None]
            gap = ((a <= points).float().mean(1) - (b <= points).float().mean(1)).abs().max()
            assert gap < 0.14, (name, still)


def test_the_same_second_looks_the_same_at_any_rate():
    slow, fast = (render("orbit", seed=1, frames=n, fps=fps, noise=0.0) for n, fps in ((8, 12.5), (16, 25.0)))
    assert slow.equal(fast[::2])


def test_an_existing_data_set_is_not_written_again(tmp_path):
    root = write_dataset(tmp_path / "d", **SMALL)
    before = {path: path.stat().st_mtime_ns for path in root.rglob("*")}
    write_dataset(root, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in root.rglob("*")} == before


def test_another_data_set_or_foreign_folder_is_refused(tmp_path):
    root = write_dataset(tmp_path / "d", **SMALL)
    before = tree(root)
    with pytest.raises(ValueError, match=r"another data set.*'noise': \(6\.0, 7\.0\)"):
        write_dataset(root, **SMALL, noise=7.0)
    assert tree(root) == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("x")
    with pytest.raises(ValueError, match="must be a synthetic data set or not exist"):
        write_dataset(tmp_path / "mine", **SMALL)
    assert tree(tmp_path / "mine") == {"thesis.txt": b"x"}


@pytest.mark.parametrize("resumed", [SMALL, {**SMALL, "seed": 1001}])
def test_interrupted_writing_is_never_half_used(tmp_path, monkeypatch, resumed):
    root, calls = tmp_path / "d", []

    def encode(clip: torch.Tensor, *, fps: float) -> bytes:
        calls.append(clip)
        if len(calls) == 5:
            raise KeyboardInterrupt
        return original(clip, fps=fps)

    original = motions.encode
    monkeypatch.setattr(motions, "encode", encode)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(root, **SMALL)
    assert not root.exists()
    write_dataset(root, **resumed)
    assert len(calls) == 5 + (8 if resumed is SMALL else 12)
    assert tree(root) == tree(write_dataset(tmp_path / "whole", **resumed))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "whole"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"classes": ["orbit"]}, "classes"),
        ({"classes": ["orbit", "orbit"]}, "classes"),
        ({"classes": ["orbit", "jump"]}, "jump"),
        ({"clips_per_class": {"train": 0}}, "clips_per_class"),
        ({"clips_per_class": {"../train": 1}}, "clips_per_class"),
        ({"clips_per_class": {}}, "clips_per_class"),
        ({"size": 33}, "size must be .*got 33"),
        ({"frames": 1}, "frames must be at least 2, got 1"),
        ({"fps": 0.0}, r"fps must be .*got 0\.0"),
        ({"noise": -1.0}, "noise"),
        ({"distractor": 2.0}, "distractor"),
        ({"camera": -1.0}, "camera"),
        ({"speed": 0.0}, "speed"),
        ({"contrast": -1.0}, "contrast"),
    ],
)
def test_arguments_out_of_range_are_refused_before_anything_is_written(tmp_path, arguments, words):
    with pytest.raises(ValueError, match=words):
        write_dataset(tmp_path / "d", **{**SMALL, **arguments})
    assert not list(tmp_path.iterdir())


def test_unknown_motion_or_appearance():
    with pytest.raises(ValueError, match=r"one of .*'jump'"):
        render("jump", seed=0)
    with pytest.raises(ValueError, match=r"one of .*'red'"):
        render("orbit", seed=0, appearance="red")


@pytest.mark.parametrize("cues", [IndependentCues, ShortcutCue])
def test_shares_outside_of_0_to_1_are_refused(cues):
    with pytest.raises(ValueError, match=r"must be a fraction in .*got 1\.1"):
        cues(1.1)


@pytest.mark.parametrize(("before", "kept"), [(None, True), ({"seed": 0}, True), ({"seed": 1}, False)])
def test_what_another_process_has_only_just_begun_stays(tmp_path, before, kept):
    """Fails when a folder without a record, which another process is about to write, is removed under its hands."""
    partial, seen = tmp_path / ".clips.partial", []
    partial.mkdir()
    (partial / "begun").touch()
    if before is not None:
        (partial / "synthetic.json").write_text(json.dumps(before))
    write_folder(tmp_path / "clips", {"seed": 0}, lambda folder: seen.extend(os.listdir(folder)))
    assert ("begun" in seen) is kept
