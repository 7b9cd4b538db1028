"""Small files that ask for much memory or time are refused, clearly, within two seconds and without gigabytes."""

import json
import os
import re
import struct
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import kdvideo as kd
from kdvideo import detection, flow, models
from kdvideo.data import ArrayStream, ClipInfo, ClipSource, from_csv, from_kinetics_list, from_ucf101_list
from kdvideo.models import checkpoints
from kdvideo.models.build import build
from kdvideo.models.checkpoints.conversion import convert
from tests.security.forks import guarded
from tests.security.tensorflow_files import variable, write_index

pytestmark = [pytest.mark.security, pytest.mark.reliability("E3")]
MEGABYTES, SECONDS = 400, 4.0


def small() -> models.Network:
    return models.i3d(2, depth_multiplier=0.125, min_depth=8)


def state() -> dict[str, torch.Tensor]:
    return {key: value.contiguous() for key, value in small().state_dict().items()}


def deflated(folder: Path) -> Path:
    torch.save({"state_dict": {"w": torch.zeros(50_000_000)}}, folder / "big.pt")
    with zipfile.ZipFile(folder / "big.pt") as big, zipfile.ZipFile(folder / "a.pt", "w", zipfile.ZIP_DEFLATED) as out:
        for member in big.infolist():
            out.writestr(member.filename, big.read(member.filename))
    return folder / "a.pt"


def expanded(classes: int) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        weights = state()
        width = weights["head.proj.weight"].shape[1]
        one = torch.zeros(1)
        torch.save(
            {**weights, "head.proj.weight": one.expand(classes, width), "head.proj.bias": one.expand(classes)},
            folder / "a.pt",
        )
        return folder / "a.pt"

    return write


def holding_itself(folder: Path) -> Path:
    content: dict[str, object] = {}
    content["state_dict"] = content
    torch.save(content, folder / "a.pt")
    return folder / "a.pt"


def described(**changes: object) -> Callable[[Path], Path]:
    return metadata({"config": {**small().config, **changes}, "classes": None, "input": {}})


def of_library(architecture: str, name: str, **options: object) -> Callable[[Path], Path]:
    config = {"architecture": architecture, "name": name, "num_classes": 2, "in_channels": 3, **options}
    return metadata({"config": config, "classes": None, "input": {}})


def fed(value: object) -> Callable[[Path], Path]:
    return metadata({"config": small().config, "classes": None, "input": value})


def metadata(description: object) -> Callable[[Path], Path]:
    text = description if isinstance(description, str) else json.dumps(description)

    def write(folder: Path) -> Path:
        save_file(state(), folder / "a.safetensors", {"kdvideo": text})
        return folder / "a.safetensors"

    return write


def header(text: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "a.safetensors").write_bytes(struct.pack("<Q", len(text)) + text)
        return folder / "a.safetensors"

    return write


def many(tensors: int) -> bytes:
    return json.dumps(
        {f"t{i}": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]} for i in range(tensors)}
    ).encode()


WEIGHTS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "deflated": (deflated, "unpack to 200,000"),
    "head of stride 0": (expanded(5_000_000), "its tensors claim 2,5"),
    "head of stride 0, terabytes": (expanded(10**10), "its tensors claim 5,1"),
    "a pickle that holds itself": (holding_itself, "must hold a state dict"),
    "20 million classes": (described(num_classes=20_000_000), "far more weights|do not fit"),
    "a million classes": (described(num_classes=1_000_000), "far more weights|do not fit"),
    "-1 classes": (described(num_classes=-1), "num_classes must be a whole number of at least 1"),
    "classes of text": (described(num_classes="x"), "num_classes must be a whole number of at least 1"),
    "depth multiplier 30": (described(depth_multiplier=30.0), "far more weights"),
    "depth multiplier 1e9": (described(depth_multiplier=1e9), "at most 100,000"),
    "depth multiplier nan": (described(depth_multiplier=float("nan")), "at most 100,000"),
    "depth multiplier 2": (described(depth_multiplier=2.0), "do not fit the model in|far more weights"),
    "10^9 channels": (described(in_channels=10**9), "at most 100,000"),
    "10^12 classes": (described(num_classes=10**12), "far more weights|fit|allocate"),
    "many channels": (described(in_channels=10**5), "far more weights|do not fit"),
    "a large minimal depth": (described(min_depth=100_000), "far more weights"),
    "timm's largest": (of_library("timm", "vit_giant_patch14_224"), "far more weights|do not fit"),
    "a large image": (of_library("timm", "vit_tiny_patch16_224", img_size=40_000), "far more weights|do not fit"),
    "many blocks": (of_library("timm", "vit_tiny_patch16_224", depth=10**5), "far more (weights|layers)|fit"),
    "a deep ResNet": (of_library("timm", "resnet18", layers=[10**5] * 4), "far more (weights|layers)|fit"),
    "a wide ResNet": (of_library("inflated", "resnet18", base_width=10**5), "far more weights|fit"),
    "pytorchvideo, deep": (of_library("pytorchvideo", "slow_r50", model_depth=10**9), "at most 100,000"),
    "no network of torchvision": (of_library("torchvision", "__class__"), "must be one of"),
    "timm, from the Hub": (of_library("timm", "hf_hub:evil/net"), "must be one of"),
    "nested metadata": (metadata("[" * 200_000), "RecursionError"),
    "10^12 frames": (fed({"frames": 10**12}), "frames and step must be <= 100,000"),
    "a rate of text": (fed({"fps": "a"}), "fps must be"),
    "an input of text": (fed("x"), "mapping"),
    "header of 40 MB": (header(b'{"a":' + b"[" * 40_000_000), "its header must have at most"),
    "600,000 tensors": (header(many(600_000)), "its header must have at most"),
    "110,000 tensors": (header(many(110_000)), "at most 100,000 tensors"),
    "numbers beyond 64 bits": (
        header(b'{"a":{"dtype":"F32","shape":[99999999999,99999999999],"data_offsets":[0,0]}}'),
        "",
    ),
}


@pytest.fixture(scope="module", autouse=True)
def imported() -> None:
    """Import the libraries, whose seconds are not the file's."""
    import timm  # noqa: F401
    from pytorchvideo.models import hub  # noqa: F401
    from torchvision.models import video  # noqa: F401

    build({"architecture": "timm", "name": "resnet18", "num_classes": 2})
    torch.set_num_threads(1)


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights(name, tmp_path, record_property):
    """Fails when a limit of `torch_files`, `weight_files`, `planning`, `build` or `InputSpec` is taken away."""
    write, words = WEIGHTS[name]
    path = write(tmp_path)
    doors = {"load": lambda: checkpoints.load(path), "convert": lambda: convert(path, tmp_path / "out", force=True)}
    for call in doors.values():
        refused(guarded(call), words, record_property)


def refused(outcome, words, record_property=lambda *pair: None):
    record_property("worst", f"{outcome.megabytes:.0f} MB, {outcome.seconds:.1f} s")
    assert outcome.kind in ("ValueError", "CheckpointError", "ManifestError"), outcome
    assert re.search(words, outcome.words), outcome
    assert outcome.megabytes < MEGABYTES, outcome
    assert outcome.seconds < SECONDS, outcome


BIG = b"k" * 500_000
INDICES: dict[str, tuple[dict[str, object], str]] = {
    "2^28 data files": ({"entries": [(0, b"a", variable())], "shards": 2**28}, "1 to 10,000 data files"),
    "a varint of 300 kB": (
        {"entries": [(0, b"a", b"\x08" + b"\xff" * 300_000 + b"\1")]},
        "a number has more than 64 bits",
    ),
    "names by their prefix": (
        {"entries": [(0, BIG, variable()), *[(500_000, b"%05d" % i, b"") for i in range(20_000)]]},
        "a name has more than",
    ),
    "a block named often": ({"entries": [(0, b"a" * 4000, variable())] * 200, "repeats": 5000}, "blocks overlap"),
    "an axis of 2^64": ({"entries": [(0, b"a", variable((2**64,)))]}, "damaged"),
    "a product that wraps": ({"entries": [(0, b"a", variable((2**32, 2**32), size=0))]}, "damaged"),
    "one piece for all": (
        {"entries": [(0, b"a%05d" % i, variable((2**18,), size=2**20)) for i in range(9000)]},
        "its variables claim",
    ),
    "10,000 axes": ({"entries": [(0, b"a", variable((1,) * 10_000))]}, "axes"),
    "a file that is not there": ({"entries": [(0, b"a", variable(shard=7))]}, "data file 7 of 1"),
}


@pytest.mark.parametrize("name", INDICES)
def test_tensorflow(name, tmp_path, record_property):
    """Fails when a limit of `tf_checkpoint` is taken away."""
    arguments, words = INDICES[name]
    write_index(tmp_path / "m.index", **arguments)
    (tmp_path / "m.data-00000-of-00001").write_bytes(bytes(2**20))
    refused(guarded(lambda: checkpoints.read_tf(tmp_path / "m")), words, record_property)


def test_a_sound_index_is_read(tmp_path):
    """Fails when `_entry` refuses every size, or `_read` gives the axes in another order."""
    write_index(tmp_path / "m.index", [(0, b"a", variable((2, 2), size=16))])
    (tmp_path / "m.data-00000-of-00001").write_bytes(struct.pack("<4f", 1, 2, 3, 4))
    assert checkpoints.read_tf(tmp_path / "m")["a"].tolist() == [[1, 2], [3, 4]]


def test_links_pipes_and_devices(tmp_path):
    """Fails when `check_regular`, or the comparison of the two folders, is taken away."""
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path / "link.pt", tmp_path / "link.safetensors"):
        if path.name.startswith("link"):
            path.symlink_to("/dev/zero")
        readers = (checkpoints.load, from_csv, flow.read_flo, detection.read_label_map, detection.read_detections)
        for read in readers:
            call = partial(read, path)
            refused(guarded(call, seconds=20), "must be a plain file, got a (pipe|device)")
    write_index(tmp_path / "m.index", [(0, b"a", variable((2,), dtype=3, size=8))])
    (tmp_path / "m.data-00000-of-00001").symlink_to("/etc/passwd")
    refused(guarded(lambda: checkpoints.read_tf(tmp_path / "m")), "must lie beside its index")


def test_pipes_in_folders(tmp_path):
    """Fails when `check_regular` is taken away from `open_shard`, `_read_gray`, `ArrayStream` or `_lines`."""
    (tmp_path / "x").mkdir()
    for name in ("a.safetensors", "x/flow_x_00001.jpg", "x/flow_y_00001.jpg", "x.npy", "list.csv"):
        os.mkfifo(tmp_path / name)
    clip = ClipSource("x", "x", None, None, 25.0, 64, ClipInfo(9, 64, 64))
    readers = (
        lambda: kd.TeacherCache(tmp_path, fingerprint={"teacher": "a"}),
        lambda: flow.TSNFlow(tmp_path).read("x"),
        lambda: ArrayStream(tmp_path, fps=25).read(clip, range(2)),
        lambda: from_kinetics_list(tmp_path / "list.csv", root=tmp_path),
    )
    for read in readers:
        refused(guarded(read, seconds=20), "must be a plain file, got a pipe")


def test_links_as_the_hub_keeps_them(tmp_path):
    """Fails when `_check_files` resolves the link of the data file and not that of the index."""
    (tmp_path / "blobs").mkdir()
    (tmp_path / "snapshot").mkdir()
    write_index(tmp_path / "blobs" / "1", [(0, b"a", variable())])
    (tmp_path / "blobs" / "2").write_bytes(struct.pack("<f", 1))
    (tmp_path / "snapshot" / "m.index").symlink_to("../blobs/1")
    (tmp_path / "snapshot" / "m.data-00000-of-00001").symlink_to("../blobs/2")
    assert checkpoints.read_tf(tmp_path / "snapshot" / "m")["a"].item() == 1


def test_lists(tmp_path):
    """Fails when `lines`, or the limit on classes that are not listed, is taken away."""
    path = tmp_path / "list.csv"
    with open(path, "wb") as file:
        file.truncate(300_000_000)
    refused(guarded(lambda: from_csv(path)), "at most 268,435,456 bytes")
    (tmp_path / "long.csv").write_text("a" * 2_000_000)
    refused(guarded(lambda: from_csv(tmp_path / "long.csv")), "line 1 has more than 1,048,576 characters")
    refused(guarded(lambda: detection.read_detections(path)), "at most 1,048,576 bytes")
    refused(guarded(lambda: detection.read_label_map(path)), "at most 1,048,576 bytes")
    refused(guarded(lambda: from_ucf101_list(path, root=tmp_path, class_index=path)), "at most 67,108,864 bytes")
    path.write_text("label,youtube_id,time_start,time_end\n" + "a" * 2_000_000)
    refused(guarded(lambda: from_kinetics_list(path, root=tmp_path)), "line 2 has more than 1,048,576 characters")
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(b"video")
    path.write_text("a.mp4,0\nb.mp4,99999\n")
    refused(guarded(lambda: from_csv(path)), "label 99999 would make 100000 classes, of which 2 are listed")
    path.write_text("a.mp4,0\nb.mp4,999\n")
    assert from_csv(path).features["label"].num_classes == 1000
