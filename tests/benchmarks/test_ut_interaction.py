"""The folds of UT-Interaction."""

import csv
from pathlib import Path

import pytest

from benchmarks.paper import ut_interaction


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for part, first in (("set1", 1), ("set2", 4)):
        for name in ("hug", "push"):
            folder = tmp_path / "clips" / part / name
            folder.mkdir(parents=True)
            for sequence in range(first, first + 3):
                (folder / f"{sequence}_{sequence}_{name}.avi").touch()
    return tmp_path / "clips"


def test_folds_leave_whole_sequences_out(root: Path, tmp_path: Path) -> None:
    train, test = ut_interaction.fold_files(root, tmp_path / "lists", 1)
    rows = {file.name: list(csv.reader(file.open(newline=""))) for file in (train, test)}
    assert [part.pop(0) for part in rows.values()] == [["path", "label"]] * 2
    assert [Path(path).name.split("_")[1] for path, _ in rows["fold1_test.csv"]] == ["1", "1", "4", "4"]
    assert len(rows["fold1_train.csv"]) == 8
    assert all((root / path).is_file() and label in path for part in rows.values() for path, label in part)


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
