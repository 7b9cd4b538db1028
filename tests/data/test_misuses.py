"""What users get wrong with clips and flow, and the sentence it is answered with; and what clips and flow print."""

import datasets
import pytest

from kdvideo import data, flow

NONE = datasets.Dataset.from_dict({name: [] for name in ("path", "label", "clip", "bytes", "start", "end")})


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        (lambda: data.PairedClips("folder", train=True), r"a Dataset of clips, got 'folder'.*from_folder\(folder\)"),
        (lambda: data.PairedClips(NONE, train=True, flow="tvl1"), r"a flow source, got 'tvl1'.*EstimatorSource\(\)"),
        (lambda: flow.EstimatorSource("tvl1"), r"estimator must be one, got 'tvl1'.*TVL1Estimator\(\)"),
        (lambda: flow.OnlineFlow("tvl1"), r"estimator must be one, got 'tvl1'"),
        (lambda: flow.FlowStore("flow", estimator="tvl1"), r"estimator must be one, got 'tvl1'"),
    ],
)
def test_a_misuse_is_answered_in_one_sentence(misuse, words):
    """Fails when the check is removed: an AttributeError comes then, at the first clip."""
    with pytest.raises(ValueError, match=words):
        misuse()


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (
            lambda folder: data.PairedClips(NONE, train=True, fps=10),
            "PairedClips(clips=0, train=True, frames=64, ",
        ),
        (lambda folder: data.ClipReader(NONE, fps=10), "ClipReader(clips=0, fps=10, "),
        (lambda folder: flow.FlowStore(folder, bound=15.0), "bound=15.0, fps=None"),
        (lambda folder: flow.TSNFlow(folder), "TSNFlow(folder="),
        (lambda folder: flow.EstimatorSource(), "EstimatorSource(estimator=TVL1Estimator(preset=TVL1Settings("),
        (lambda folder: flow.OnlineFlow(bound=5.0), "bound=5.0"),
        (lambda folder: flow.DISEstimator("fast"), "DISEstimator(quality='fast')"),
    ],
)
def test_reprs_show_what_was_chosen(thing, words, tmp_path):
    assert words in repr(thing(tmp_path))
