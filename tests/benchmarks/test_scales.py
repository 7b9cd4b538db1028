"""The clips and settings of every scale."""

import dataclasses
from itertools import product
from pathlib import Path

import pytest

from benchmarks.paper.tables import scales
from benchmarks.paper.tables.scales import SCALES
from kdvideo.data import synthetic
from tests.benchmarks.fakes import options


def test_the_second_data_set_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(synthetic, "write_dataset", lambda root, **settings: written.append((root, settings)) or root)
    for name in ("pocket", "bench"):
        first, second = (
            SCALES[name].draws(part, (4,), options(tmp_path))[0] for part in ("kinetics400", "kinetics600")
        )
        assert (first.key, first.seed, second.key) == ("4", 4, "4")
        assert (
            first.config.train
            != second.config.train
            == second.config.work_dir / second.config.train.relative_to(second.config.work_dir)
        )
        assert second.config.test.parent == second.config.train.parent
        classes = written[-1][1]["classes"]
        assert f"({len(classes)} motions" in SCALES[name].data["kinetics600"].text
        assert len(classes) > len(synthetic.CLASSES)
        assert dataclasses.replace(second.config, train=first.config.train, test=first.config.test) == first.config


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *product(("pocket", "bench"), ("kinetics400", "kinetics600")),
        ("more_clips", "kinetics400"),
    ],
)
def test_the_text_counts_the_clips(name: str, part: str) -> None:
    videos = SCALES[name].data[part]
    counts = videos.settings["clips_per_class"] if videos.settings else scales.clips.SYNTHETIC
    classes = len(videos.settings["classes"] if videos.settings else synthetic.CLASSES)
    assert f"{counts['train'] * classes} training and {counts['test'] * classes} test clips" in videos.text


def test_folds_of_real_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = SCALES["ut_interaction"]
    with pytest.raises(ValueError, match="--clips"):
        scale.draws("kinetics400", (0,), options(tmp_path, "--clips", str(tmp_path / "gone")))
    config = scale.config
    monkeypatch.setattr(scales.ut_interaction, "fold_config", lambda options, fold: (options.seeds, fold))
    draws = scale.draws("kinetics400", (0, 7), options(tmp_path, "--clips", str(tmp_path)))
    assert [draw.key for draw in draws[3:]] == [f"fold {fold} seed 7" for fold in range(3)]
    assert [draw.config[1] for draw in draws] == [0, 1, 2, 0, 1, 2]
    assert config.optimizer.steps == 300
