"""Synthetic localisation: what the docstrings promise about files, boxes, splits and the cue."""

import json
import os
import subprocess
import sys
from collections import Counter
from itertools import product
from pathlib import Path

import pytest
import torch

from kdvideo import data, detection
from kdvideo.data.synthetic import CLASSES, localization
from kdvideo.data.synthetic.actors import Scene, Trajectories, draw_trajectories, render_frames
from kdvideo.data.synthetic.localization import ACTIONS, Actor, render, write_dataset

SMALL = {"videos": {"train": 2, "test": 1}, "size": 48, "seconds": 2, "fps": 5, "seed": 1000}
QUIET = {"noise": 0.0, "camera": 0.0}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("localisation") / "set"
    return write_dataset(folder, videos={"train": 3, "val": 2, "test": 2}, seconds=3, fps=10, seed=1000)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def inside(boxes: torch.Tensor, height: int, width: int, margin: float) -> torch.Tensor:
    """Which pixels of each frame lie in a box, (T, H, W)."""
    x1, y1, x2, y2 = (boxes * torch.tensor([width, height] * 2))[..., None, None].unbind(2)
    row, column = torch.arange(height)[:, None] + 0.5, torch.arange(width)[None] + 0.5
    found = (column > x1 - margin) & (column < x2 + margin) & (row > y1 - margin) & (row < y2 + margin)
    return found.any(1)


@pytest.mark.parametrize("action", CLASSES)
def test_what_moves_lies_in_the_box(action: str) -> None:
    video, boxes = render([Actor((action,), "pulse")], seed=1000, frames=40, **QUIET)
    change = (video[1:].float() - video[:-1].float()).abs().sum(1)
    covered = inside(boxes[1:], 96, 128, 1.0) | inside(boxes[:-1], 96, 128, 1.0)
    assert change.sum() > 0
    assert change[~covered].sum() == 0


@pytest.mark.parametrize("seed", [1000, 1001, 1002])
def test_boxes_are_tight_round_what_is_drawn(seed: int) -> None:
    """The same scene with and without a look's texture differs in the actor's pixels only."""
    scene = Scene(96, 12, 5.0, 0.0, 2.0, 1.0, 1.0)
    generator = torch.Generator().manual_seed(seed)
    moving = draw_trajectories(scene, [Actor(("horizontal", "shear"), "shear")], generator)
    still = Trajectories(moving.view, ())
    pictures = [render_frames(scene, shown, torch.Generator().manual_seed(seed)) for shown in (still, moving)]
    for frame, (box,) in zip((pictures[0] != pictures[1]).any(1), moving.boxes(scene), strict=True):
        rows, columns = frame.any(1).nonzero(), frame.any(0).nonzero()
        seen = torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        assert torch.allclose(box * torch.tensor([128, 96, 128, 96]), seen.float(), atol=1.5)


def test_actions_show_in_the_boxes_as_they_should() -> None:
    """Who travels moves its middle, who pulses changes its size, who stands does neither."""
    shown = [Actor(actions, "orbit") for actions in ((), ("horizontal",), ("vertical",), ("vertical", "pulse"))]
    _, boxes = render(shown, seed=1001, frames=50, **QUIET)
    middle = (boxes[..., :2] + boxes[..., 2:]).std(0)
    area = (boxes[..., 2:] - boxes[..., :2]).prod(-1).std(0)
    moving = torch.cat([middle, area[:, None]], 1) > 0.012
    assert moving.tolist() == [[False] * 3, [True, False, False], [False, True, False], [False, True, True]]


def test_who_stands_moves_with_the_view() -> None:
    scene = Scene(96, 50, 25.0, 0.0, 6.0, 1.0, 1.0)
    drawn = draw_trajectories(scene, [Actor((), "orbit")], torch.Generator().manual_seed(1000))
    boxes = drawn.boxes(scene)[:, 0] * torch.tensor([128, 96, 128, 96])
    assert drawn.view.std(1).min() > 0.5
    assert (boxes - drawn.view.T.repeat(1, 2)).std(0).max() < 1e-3


def test_files_read_back_with_the_readers_of_detection(root: Path) -> None:
    assert detection.read_label_map(root / "actions.pbtxt") == dict(ACTIONS)
    clips = json.loads((root / "synthetic.json").read_text())["clips"]
    for split, count in {"train": 3, "val": 2, "test": 2}.items():
        truth = detection.read_annotations(root / f"{split}.csv", num_actions=len(ACTIONS))
        assert set(truth.by_key_frame()) == set(product([f"{split}_{n:04d}" for n in range(count)], [901.0, 902.0]))
        actions_of = {clip["name"]: [set(actor["actions"]) for actor in clip["actors"]] for clip in clips}
        for frame in detection.key_frames(truth, classes=list(ACTIONS)):
            found = [{CLASSES[k] for k in labels.nonzero().flatten()} for labels in frame.labels]
            assert found == [actions for actions in actions_of[frame.video] if actions]


def test_files_hold_what_is_rendered_and_where_it_is(root: Path) -> None:
    truth = detection.read_annotations(root / "train.csv")
    rows = truth.by_key_frame()
    for clip in json.loads((root / "synthetic.json").read_text())["clips"][:3]:
        actors = [Actor(tuple(actor["actions"]), actor["appearance"]) for actor in clip["actors"]]
        video, boxes = render(actors, seed=clip["seed"], frames=30, fps=10)
        frames = data.read_frames(root / "videos" / f"{clip['name']}.mp4")
        assert (frames.float().mean(1) - video.float().mean(1)).abs().mean() < 4  # grey: 4:2:0 keeps it better
        for second in (901.0, 902.0):
            found = rows[clip["name"], second]
            frame = boxes[detection.key_frame_window(second, 10, 30, frames=1)][0]
            assert torch.allclose(truth.boxes[found].float(), frame[truth.person[found]], atol=6e-4)


def test_proposals_find_everybody_and_more(root: Path) -> None:
    from torchvision.ops import box_iou

    truth = detection.read_annotations(root / "train.csv")
    proposals = detection.read_proposals(root / "proposals_train.csv", annotations=truth)
    given = proposals.by_key_frame()
    best = torch.cat(
        [box_iou(truth.boxes[r], proposals.boxes[given[k]]).amax(1) for k, r in truth.by_key_frame().items()]
    )
    assert 0.6 < best.min() < best.max() < 1
    people = torch.cat(
        [detection.match(proposals.boxes[given[k]], truth.boxes[r]) for k, r in truth.by_key_frame().items()]
    )
    assert 0.2 < (people < 0).float().mean() < 0.8


def frame_map(root: Path, mix) -> float:
    truth = detection.read_annotations(root / "test.csv")
    found = detection.Detections(
        truth.videos, truth.video, truth.second, truth.boxes, mix(truth.action), torch.ones(len(truth)).double()
    )
    detection.write_detections(root.parent / "found.csv", found)
    return detection.frame_map(root / "test.csv", root.parent / "found.csv", root / "actions.pbtxt").mean


def test_a_perfect_detector_has_map_1_and_one_of_shuffled_actions_far_less(root: Path) -> None:
    assert frame_map(root, lambda action: action) == 1.0
    assert frame_map(root, lambda action: action.roll(3)) < 0.5


def test_two_processes_at_once_write_the_same_bytes_as_one(tmp_path: Path) -> None:
    alone = write_dataset(tmp_path / "alone", **SMALL)
    code = f"from kdvideo.data.synthetic.localization import *; write_dataset({str(tmp_path / 'both')!r}, **{SMALL!r})"
    running = [
        subprocess.Popen([sys.executable, "-c", code], env={**os.environ, "OMP_NUM_THREADS": threads})
        for threads in ("1", "2")
    ]
    assert [process.wait() for process in running] == [0, 0]
    assert tree(tmp_path / "both") == tree(alone)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["alone", "both"]


def test_interrupted_writing_goes_on_to_the_same_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = tree(write_dataset(tmp_path / "whole", **SMALL))
    render_all, done = localization.render_frames, []

    def stop(*arguments):
        if done:
            raise KeyboardInterrupt
        done.append(1)
        return render_all(*arguments)

    monkeypatch.setattr(localization, "render_frames", stop)
    with pytest.raises(KeyboardInterrupt):
        write_dataset(tmp_path / "set", **SMALL)
    assert not (tmp_path / "set").exists()
    monkeypatch.setattr(localization, "render_frames", lambda *arguments: done.append(2) or render_all(*arguments))
    assert tree(write_dataset(tmp_path / "set", **SMALL)) == whole
    assert done == [1, 2, 2]


def test_no_two_videos_share_a_seed(tmp_path: Path) -> None:
    plans = [list(localization._plan({"train": 9, "val": 9, "test": 9}, 0.6, 0.3, 0.5, seed)) for seed in (0, 1)]
    seeds = [video.seed for plan in plans for video in plan]
    assert len(set(seeds)) == len(seeds) == 54
    assert plans[0] == list(localization._plan({"train": 9, "val": 9, "test": 9}, 0.6, 0.3, 0.5, 0))


@pytest.mark.parametrize("cue", [0.0, 0.6, 1.0])
def test_looks_agree_with_actions_as_often_as_cue_says(cue: float) -> None:
    plan = list(localization._plan({"train": 60, "test": 60}, cue, 0.3, 0.5, 1000))
    for split, share in {"train": cue, "test": 1 / 6}.items():
        people = [actor for video in plan if video.split == split for actor in video.actors if actor.actions]
        count = Counter(actor.actions[0] for actor in people)
        own = Counter(actor.actions[0] for actor in people if actor.appearance == actor.actions[0])
        assert max(count.values()) - min(count.values()) <= 1
        assert all(abs(own[name] - share * count[name]) <= 1 for name in CLASSES)
        assert 0.15 < sum(len(actor.actions) == 2 for actor in people) / len(people) < 0.45
        still = [sum(not actor.actions for actor in video.actors) for video in plan if video.split == split]
        assert set(still) == {0, 1}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"cue": 1.5}, r"cue must be a fraction in .*got 1\.5"),
        ({"seconds": 1}, "seconds must be at least 2, got 1"),
        ({"fps": 12.5}, r"fps must be a whole number above 0, got 12\.5"),
        ({"size": 50}, "size must be a multiple of 6 pixels from 48, got 50"),
        ({"videos": {"../x": 1}}, "name of a split"),
        ({"fps": float("nan")}, "fps must be a whole number above 0, got nan"),
        ({"videos": {"train": 0}}, "number above 0"),
        ({"videos": {"train": 1.5}}, "whole number above 0"),
        ({"videos": {"train": "3"}}, "whole number above 0"),
        ({"videos": {}}, "whole number above 0"),
    ],
)
def test_bad_settings_are_named(tmp_path: Path, change: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_dataset(tmp_path / "set", **{**SMALL, **change})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("actions", [("orbit", "vertical"), ("spin", "pulse"), ("walk",)])
def test_actions_that_do_not_go_together_are_named(actions: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match=f"actor .*{actions[0]}"):
        Actor(actions, "spin")


def test_five_actors_do_not_fit() -> None:
    with pytest.raises(ValueError, match="actors must be 1 to 4 of them, got 5"):
        render([Actor((), "spin")] * 5, seed=0)


def test_another_data_set_in_the_folder_is_refused_and_the_same_kept(tmp_path: Path) -> None:
    folder = write_dataset(tmp_path / "set", **SMALL)
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    write_dataset(folder, **SMALL)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before
    with pytest.raises(ValueError, match=r"seed.*1000, 1001"):
        write_dataset(folder, **{**SMALL, "seed": 1001})
