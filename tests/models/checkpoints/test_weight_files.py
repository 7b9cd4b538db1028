"""Files and folders of weights, and what is wrong with them."""

import os
import pickle
from collections import OrderedDict

import pytest
import torch
from safetensors.torch import save_file

from kdvideo import models
from kdvideo.models import checkpoints
from kdvideo.models.checkpoints.weight_files import read_weights

WEIGHTS = {"a.weight": torch.arange(6.0).view(2, 3), "b": torch.zeros((), dtype=torch.int64)}


def assert_read(path):
    tensors, metadata = read_weights(path)
    assert metadata == {}
    assert tensors.keys() == WEIGHTS.keys()
    assert all(torch.equal(tensors[key], value) for key, value in WEIGHTS.items())


@pytest.mark.parametrize(
    "content",
    [
        WEIGHTS,
        OrderedDict(WEIGHTS),
        {"epoch": 3, "state_dict": WEIGHTS},
        {"cfg": "text", "model_state": WEIGHTS, "optimizer_state": {"state": {}, "param_groups": []}},
        {"model": {"module": WEIGHTS}, "best": 0.5},
    ],
)
@pytest.mark.parametrize("zipped", [True, False])
def test_torch_files(content, zipped, tmp_path):
    torch.save(content, tmp_path / "a.bin", _use_new_zipfile_serialization=zipped)
    assert_read(tmp_path / "a.bin")


def test_safetensors_by_content(tmp_path):
    save_file(WEIGHTS, tmp_path / "a.pt")
    assert_read(tmp_path / "a.pt")


@pytest.fixture
def golden(shared, tmp_path):
    for file in (shared / "golden" / "s3dg_slim" / "s3dg_flow_small").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    (tmp_path / "checkpoint").write_text('model_checkpoint_path: "/another/machine/model.ckpt"\n')
    return tmp_path


def test_tensorflow_by_any_name(golden):
    (golden / "model.ckpt.meta").write_bytes(b"graph")
    names = ("model.ckpt", "model.ckpt.index", "model.ckpt.data-00000-of-00001", "model.ckpt.meta", "")
    keys = [sorted(read_weights(golden / name)[0]) for name in names]
    assert len(keys[0]) == 305
    assert all(other == keys[0] for other in keys)


def test_tensorflow_folders(golden):
    (golden / "old.index").write_bytes(b"")
    assert len(read_weights(golden)[0]) == 305
    (golden / "checkpoint").unlink()
    with pytest.raises(ValueError, match=r"or one TensorFlow checkpoint, got \['activations.npz'"):
        read_weights(golden)
    (golden / "old.index").unlink()
    assert len(read_weights(golden)[0]) == 305


def test_missing_files(golden):
    for name in ("none.pt", "none.ckpt.index"):
        with pytest.raises(FileNotFoundError, match=name):
            read_weights(golden / name)
    (golden / "model.ckpt.data-00000-of-00001").unlink()
    with pytest.raises(FileNotFoundError, match="data-00000"):
        read_weights(golden)


def test_truncated_and_foreign_files(tmp_path):
    path = tmp_path / "a.pt"
    for zipped in (True, False):
        torch.save(WEIGHTS, path, _use_new_zipfile_serialization=zipped)
        whole = path.read_bytes()
        for keep in (20, len(whole) // 2, len(whole) - 3):
            path.write_bytes(whole[:keep])
            with pytest.raises(ValueError, match=r"a\.pt: truncated"):
                read_weights(path)
    save_file(WEIGHTS, path)
    path.write_bytes(path.read_bytes()[:-3])
    with pytest.raises(ValueError, match=r"a\.pt: not a safetensors file, or truncated"):
        read_weights(path)
    for foreign in (b"", b"\x89HDF\r\n\x1a\n", b"#!/bin/sh\nexit"):
        path.write_bytes(foreign)
        with pytest.raises(ValueError, match=r"a\.pt: must be a file of weights \(safetensors"):
            read_weights(path)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ({"epoch": 3, "optimizer": {"a": 1}}, r"under one of \['state_dict'.*got \['epoch', 'optimizer'\]"),
        ({}, r"got \[\]"),
        ([torch.zeros(1)], "must hold a state dict, got a list"),
        ({"model": {"a": 3}}, r"got \['a'\]"),
    ],
)
def test_no_state_dict(content, words, tmp_path):
    torch.save(content, tmp_path / "a.pt")
    with pytest.raises(ValueError, match=rf"a\.pt: .*{words}"):
        read_weights(tmp_path / "a.pt")


class Malicious:
    def __init__(self, command):
        self.command = command

    def __reduce__(self):
        return os.system, (self.command,)


@pytest.mark.parametrize("form", ["zip", "legacy", "pickle"])
def test_code_is_never_run(form, tmp_path):
    path, mark = tmp_path / "evil.pth", tmp_path / "was_here"
    content = {"state_dict": WEIGHTS, "more": Malicious(f"touch {mark}")}
    if form == "pickle":
        path.write_bytes(pickle.dumps(content["more"]))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=form == "zip")
    with pytest.raises(ValueError, match=r"evil\.pth: .*wants to import (posix|nt)\.system, which was not run"):
        checkpoints.load(path, models.i3d(5, depth_multiplier=0.125, min_depth=8))
    assert not mark.exists()
    pickle.loads(pickle.dumps(content["more"]))  # the trap does work
    assert mark.exists()
