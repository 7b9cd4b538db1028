"""The folds of UT-Interaction, and what its record says."""

import csv
import json
from pathlib import Path

import pytest
import torch

from benchmarks.paper import hand_crafted, ut_interaction, ut_interaction_record
from benchmarks.paper.methods import D3D, FLOW, MARS, RGB


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, first in (("set1", 1), ("set2", 11)):
        for name in ("hug", "push"):
            folder = tmp_path / "clips" / part / name
            folder.mkdir(parents=True)
            for sequence in range(first, first + 10):
                (folder / f"{sequence}_{sequence}_{name}.avi").touch()
    return tmp_path / "clips"


def held(root: Path, folder: Path, fold: int) -> tuple[set[int], set[int]]:
    """The sequences of the training and the test clips."""
    rows = [list(csv.reader(file.open(newline=""))) for file in ut_interaction.fold_files(root, folder, fold)]
    assert [part.pop(0) for part in rows] == [["path", "label"]] * 2
    assert all((root / path).is_file() and label in path for part in rows for path, label in part)
    assert len(rows[0]) + len(rows[1]) == 40
    train, test = ({int(Path(path).name.split("_")[1]) for path, _ in part} for part in rows)
    return train, test


def test_folds_leave_whole_sequences_out(root: Path, tmp_path: Path) -> None:
    train, test = held(root, tmp_path / "lists", 4)
    assert test == {8, 9, 18, 19}
    assert train == set(range(1, 21)) - test


def test_the_sequences_that_chose_the_settings_are_in_no_reported_test(root: Path, tmp_path: Path) -> None:
    _, development = held(root, tmp_path / "lists", ut_interaction.DEVELOPMENT)
    tests = [held(root, tmp_path / "lists", fold)[1] for fold in ut_interaction.REPORTED]
    assert sorted(one for test in tests for one in test) == sorted(set(range(1, 21)) - development)


def test_a_method_is_the_mean_softmax_of_its_members() -> None:
    trained: list[object] = []

    class Lab:
        labels = torch.tensor([0, 1])

        def train(self, method, seed):
            trained.append(method)
            return method

        def scores(self, method):
            rgb, flow = [[0.9, 0.1], [0.6, 0.4]], [[0.8, 0.2], [0.1, 0.9]]
            return torch.tensor(flow if method == FLOW else rgb)

    found = ut_interaction.measure(Lab(), 0)
    assert trained == [FLOW, RGB, D3D, MARS]
    assert found == pytest.approx(dict.fromkeys(found, 0.5) | {"Flow": 1.0, "RGB+Flow": 1.0})


def test_a_record_compares_methods_fold_by_fold() -> None:
    rgb = {"fold 2": [0.5], "fold 3": [0.7, 0.9], "fold 4": [0.8]}
    d3d = {"fold 2": [0.75], "fold 3": [0.8, 0.8], "fold 4": [0.7]}
    found = ut_interaction_record.summary({"RGB": rgb, "D3D": d3d}, 1 / 4, ut_interaction.STARTED, [0, 1])
    assert [row["mean"] for row in found["rows"]] == pytest.approx([0.7, 0.75])
    assert list(found["differences"]) == ["D3D - RGB"]
    assert found["differences"]["D3D - RGB"]["mean"] == pytest.approx(0.05)
    assert {"threads", "cpu_capability"} <= set(found["environment"])
    page = ut_interaction_record.render({"imagenet": found})
    assert "| D3D | 75.0 (" in page
    assert " to " in page.split("| D3D |")[1].split("|")[0]
    assert "75 / 80 / 70 |" in page
    assert "From scratch" not in page
    assert "fold 1: not run" in page


def test_two_folds_that_happen_to_agree_are_not_certain() -> None:
    cells = {"RGB": {"fold 2": [0.5], "fold 3": [0.5]}, "Flow": {"fold 2": [0.6], "fold 3": [0.6]}}
    page = ut_interaction_record.render(
        {"imagenet": ut_interaction_record.summary(cells, 1 / 4, ut_interaction.STARTED, [0])}
    )
    assert "- Flow - RGB: +10.0 (too few folds for an interval) points" in page


def test_a_list_that_others_read_is_never_half_written(root: Path, tmp_path: Path, monkeypatch) -> None:
    files = ut_interaction.fold_files(root, tmp_path / "lists", 0)
    before = [file.read_bytes() for file in files]

    def fails(stream):
        raise OSError("disk full")

    monkeypatch.setattr(ut_interaction.csv, "writer", fails)
    with pytest.raises(OSError, match="disk full"):
        ut_interaction.fold_files(root, tmp_path / "lists", 0)
    assert [file.read_bytes() for file in files] == before
    assert len(list((tmp_path / "lists").iterdir())) == 2


def test_motion_to_the_right_falls_into_its_bins_and_cells() -> None:
    """Fails when u and v are swapped, or rows and columns of cells."""
    noise = torch.rand(24, 40, generator=torch.Generator().manual_seed(0))
    texture = (255 * noise.repeat_interleave(4, 0).repeat_interleave(4, 1)).byte()
    frames = texture[:, :96].expand(7, 3, 96, 96).clone()
    for k in range(7):
        frames[k, :, :32, 32:64] = texture[32:64, 30 - 2 * k : 62 - 2 * k]  # moves in the middle of the upper third
    cells = hand_crafted.motion(frames).reshape(3, 6, 6, hand_crafted.BINS)[1]
    inside = cells[:2, 2:4]
    assert inside.sum() > 0.7 * cells.sum()
    assert inside[..., [3, 4]].sum() > 0.7 * inside.sum()  # the angle 0 lies between bins 3 and 4


def test_gradients_are_averaged_over_each_third() -> None:
    frames = torch.zeros(6, 3, 96, 96, dtype=torch.uint8)
    frames[4:, :, ::4] = 255
    first, second, third = hand_crafted.gradients(frames).reshape(3, -1)
    assert not first.any()
    assert not second.any()
    assert third.any()


def test_a_fold_joins_those_of_the_same_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Fails when folds of other settings or seeds are joined, or none is."""
    monkeypatch.setattr(ut_interaction_record.record, "FOLDER", tmp_path)
    settings, share = ut_interaction.STARTED, 1 / 4
    assert ut_interaction_record.measured("imagenet", settings, [0]) == {}
    cells = {"RGB": {"fold 2": [0.5], "fold 3": [0.75]}}
    found = {"imagenet": ut_interaction_record.summary(cells, share, settings, [0])}
    (tmp_path / "ut_interaction.json").write_text(json.dumps(found))
    assert ut_interaction_record.measured("imagenet", settings, [0]) == cells
    assert ut_interaction_record.measured("imagenet", settings, [1]) == {}
    assert ut_interaction_record.measured("imagenet", ut_interaction.SCRATCH, [0]) == {}
    assert ut_interaction_record.measured("scratch", settings, [0]) == {}
