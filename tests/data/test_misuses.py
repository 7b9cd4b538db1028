"""What users get wrong with clips and flow, and the sentence it is answered with; and what clips and flow print."""

from pathlib import Path

import datasets
import numpy as np
import pytest
import torch
from torch import nn

from kdvideo import data, flow, models
from kdvideo.models.network import check_clip

FRAMES, FLOW = torch.zeros(3, 3, 16, 16), torch.zeros(2, 8, 8)
NONE = datasets.Dataset.from_dict({name: [] for name in ("path", "label", "clip", "bytes", "start", "end")})


@pytest.mark.parametrize(
    ("misuse", "words"),
    [
        (lambda: data.PairedClips("folder", train=True), r"a Dataset of clips, got 'folder'.*from_folder\(folder\)"),
        (lambda: data.PairedClips(NONE, train=True, flow="tvl1"), r"a flow source, got 'tvl1'.*EstimatorSource\(\)"),
        (lambda: flow.EstimatorSource("tvl1"), r"estimator must be one, got 'tvl1'.*TVL1Estimator\(\)"),
        (lambda: flow.OnlineFlow("tvl1"), r"estimator must be one, got 'tvl1'"),
        (lambda: flow.FlowStore("flow", estimator="tvl1"), r"estimator must be one, got 'tvl1'"),
        (lambda: data.PairedClips(["a.mp4"], train=True), r"a Dataset of clips, got \['a.mp4'\]"),
        (lambda: data.PairedClips(NONE, train=True, flow=flow.TVL1Estimator()), r"a flow source, got TVL1Estimator"),
        (lambda: data.PairedClips(NONE, train=True, flow=flow.EstimatorSource), r"a flow source, got <class"),
        (
            lambda: data.PairedClips(NONE, train=True, flow=flow.DISEstimator()),
            r"got DISEst.*EstimatorSource\(estimator",
        ),
        (lambda: data.PairedClips(NONE, train=True, flow=flow.OnlineFlow()), r"a flow source, got OnlineFlow"),
        (lambda: data.PairedClips(NONE, train=True, flow=flow.RAFTEstimator(nn.Linear(1, 1))), r"got RAFTEstimator"),
        (lambda: data.MultiView(NONE, data.multi_crop), r"must be PairedClips, got a Dataset"),
        (lambda: data.MultiView(data.PairedClips(NONE, train=False), "multi_crop"), r"a function.*got 'multi_crop'"),
        (
            lambda: data.MultiView(data.PairedClips(NONE, train=False), data.multi_crop(9, 256, 256, 4, 224)),
            r"a function.*got \[Window\(.*partial",
        ),
        (lambda: data.PairedClips(NONE, train="train"), r"train must be True.*got 'train'"),
        (lambda: data.PairedClips(NONE, train=True, crop=(32, 32)), r"crop must be a whole number.*got \(32, 32\)"),
        (lambda: data.PairedClips(NONE, train=True, frames=8.0), r"frames must be a whole number.*got 8\.0"),
        (lambda: data.PairedClips(NONE, train=True, fps="10"), r"must be positive numbers, got '10'"),
        (lambda: data.PairedClips(NONE, train=True, streams=[]), r"streams must map names to streams, got a list"),
        (lambda: data.PairedClips(NONE, train=True, streams={"a": data.FrameDifference}), r"got the class Frame.* 'a'"),
        (lambda: data.PairedClips(NONE, train=True, streams={"a": "depth"}), r"`read`, .* got a str as 'a'"),
        (lambda: data.PairedClips(NONE, train=True, input_range=(1, -1)), r"input_range must be \(black, white\)"),
        (lambda: data.unreadable_clips("clips"), r"manifest must be rows of clips, got 'clips'"),
        (lambda: data.synthetic.encode(FRAMES.byte()[:, :, 1:]), r"even H and W, got .*\(3, 3, 15, 16\)"),
        (lambda: data.synthetic.encode(FRAMES.byte()[:0]), r"clip must be uint8.* got .*\(0, 3, 16, 16\)"),
        (lambda: data.from_folder(NONE), r"root must be a folder, got a Dataset"),
        (lambda: data.from_folder(__file__), r"a file, not a folder: from_csv reads lists"),
        (lambda: flow.EstimatorSource(flow.TVL1Estimator), r"estimator must be one, got <class"),
        (lambda: flow.TVL1Estimator("fst"), r"preset must be TVL1Settings or one of .*'fst'"),
        (lambda: flow.TVL1Estimator(backend="gpu"), r"backend must be one of .*'gpu'"),
        (lambda: flow.tvl1(np.zeros((2, 1, 8, 8))), r"frames must be tensors, got a ndarray"),
        (lambda: flow.OnlineFlow(value_range=(1, 1)), r"\(black, white\) with black < white, got \(1, 1\)"),
        (lambda: flow.tvl1(FRAMES, value_range=1.0), r"\(black, white\) with black < white, got 1.0"),
        (lambda: flow.RAFTEstimator("raft_small"), r"model must be a torch module, got a str"),
        (lambda: flow.PTLFlowEstimator("sea_raft"), r"model must be a torch module, got a str"),
        (lambda: flow.EstimatorSource(bound=0), r"bound must be a positive number of pixels, got 0"),
        (lambda: flow.truncate(FRAMES, "20"), r"bound must be a positive number of pixels, got '20'"),
        (lambda: flow.area_pool(FLOW, 4), r"size must be \(H, W\) in whole pixels, got 4"),
        (lambda: flow.resize(FLOW, 4), r"size must be \(H, W\) in whole pixels, got 4"),
        (lambda: flow.resize(FLOW, (4.0, 0)), r"size must be \(H, W\) in whole pixels, got \(4.0, 0\)"),
        (lambda: flow.resize(FLOW.numpy(), (4, 4)), r"flow must be a tensor, got a ndarray"),
        (lambda: flow.dequantize([1, 2]), r"quantized flow must be a tensor, got a list"),
        (lambda: flow.FlowStore("x", codec="zstd"), r"codec must be a FlowCodec, got 'zstd'"),
        (lambda: flow.FlowStore("x", codec=flow.Zstd), r"codec must be a FlowCodec, got <class"),
        (lambda: flow.FlowStore("x", fps=-1), r"fps must be positive, or None.*got -1"),
        (lambda: flow.FlowStore("x", fps="25"), r"fps must be positive, or None.*got '25'"),
        (lambda: flow.FlowStore("x", size=8), r"size must be \(H, W\) in whole pixels, got 8"),
        (lambda: flow.FlowStore("x").write("a", np.zeros((1, 2, 8, 8))), r"flow must be a tensor, got a ndarray"),
        (lambda: flow.FlowStore("x").write(7, FLOW[None]), r"clip id must be text, got 7"),
        (lambda: flow.FlowStore("x").read(Path("a")), r"clip id must be text, got PosixPath\('a'\)"),
        (lambda: flow.quantize(np.zeros((2, 8, 8))), r"a tensor of floating point pixels, got a ndarray"),
        (lambda: models.from_pretrained(None), r"a folder or \"owner/name\", got None"),
        (
            lambda: models.save_pretrained(nn.Linear(2, 2), "x", classes=["a", "b"]),
            r"one of kdvideo.models, got a Linear",
        ),
        (lambda: check_clip(np.zeros((1, 3, 8, 8, 8)), channels=3), r"the clip must be a tensor, got a ndarray"),
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


@pytest.mark.parametrize("names", [("test", "train"), ("train", "val"), ("test", "val"), ("Test", "Train")])
def test_a_folder_of_splits_is_no_folder_of_classes(names, tmp_path):
    """Fails when the names are not looked at: the splits become the classes."""
    for name in names:
        (tmp_path / name / "run").mkdir(parents=True)
        (tmp_path / name / "run" / "a.mp4").touch()
    with pytest.raises(
        data.ManifestError, match=rf"one folder per class, got the splits.*root / '({names[0]}|[Tt]rain)'"
    ):
        data.from_folder(tmp_path)
    (tmp_path / "bus").mkdir()
    (tmp_path / "bus" / "a.mp4").touch()
    assert data.from_folder(tmp_path).features["label"].names == sorted(["bus", *names])  # the vehicle, for one


def test_clips_without_class_folders_are_named(tmp_path):
    (tmp_path / "a.mp4").touch()
    with pytest.raises(data.ManifestError, match=r"but 'a.mp4' itself: put clips as class/a.mp4"):
        data.from_folder(tmp_path)
