"""The clips and settings of every scale."""

import dataclasses
from itertools import product
from pathlib import Path

import pytest

from benchmarks.paper.tables import scales
from benchmarks.paper.tables.scales import SCALES
from examples.d3d.data import SYNTHETIC
from kdvideo.data import synthetic
from tests.benchmarks.fakes import options


def test_the_second_data_set_is_another_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written = []
    monkeypatch.setattr(synthetic, "write_dataset", lambda root, **settings: written.append((root, settings)) or root)
    for name in ("pocket", "shortcut", "bench"):
        draws = [SCALES[name].draws(part, (4,), options(tmp_path), None)[0] for part in ("kinetics400", "kinetics600")]
        assert [(draw.key, draw.seed) for draw in draws] == [("4", 4)] * 2
        first, second = (draw.lab.config for draw in draws)
        assert first.train != second.train
        assert second.train.is_relative_to(second.work_dir)
        assert second.test.parent == second.train.parent
        classes = written[-1][1]["classes"]
        assert f"({len(classes)} motions" in SCALES[name].data["kinetics600"].text
        assert len(classes) > len(synthetic.CLASSES)
        assert dataclasses.replace(second, train=first.train, test=first.test) == first


@pytest.mark.parametrize(
    ("name", "part"),
    [
        *product(("pocket", "shortcut", "bench"), ("kinetics400", "kinetics600")),
        ("more_clips", "kinetics400"),
    ],
)
def test_the_text_counts_the_clips(name: str, part: str) -> None:
    videos = SCALES[name].data[part]
    settings = videos.settings or SYNTHETIC[SCALES[name].config.videos] | {"classes": synthetic.CLASSES}
    counts, classes = settings["clips_per_class"], len(settings["classes"])
    assert f"{counts['train'] * classes} training and {counts['test'] * classes} test clips" in videos.text


def test_folds_of_real_clips(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scale = SCALES["ut_interaction"]
    with pytest.raises(ValueError, match="--clips"):
        scale.draws("kinetics400", (0,), options(tmp_path, "--clips", str(tmp_path / "gone")), None)
    made = lambda settings, clips, work_dir, fold: (settings, work_dir, fold)  # noqa: E731
    monkeypatch.setattr(scales.ut_interaction, "fold_config", made)
    draws = scale.draws("kinetics400", (0, 7), options(tmp_path, "--clips", str(tmp_path)), None)
    assert [draw.key for draw in draws[4:]] == [f"fold {fold} seed 7" for fold in range(1, 5)]
    assert [draw.seed for draw in draws] == [0] * 4 + [7] * 4
    assert [draw.lab.config for draw in draws] == [(scale.config, tmp_path / "runs", fold) for fold in range(1, 5)] * 2
    assert scale.config.optimizer.steps == 300
