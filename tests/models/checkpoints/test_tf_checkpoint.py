"""The reader of TensorFlow's files: damage, and what is no weight."""

import pytest

from kdvideo.models import checkpoints


@pytest.fixture
def checkpoint(shared, tmp_path):
    """A writable copy of a TF checkpoint."""
    for file in (shared / "golden" / "s3dg_slim" / "s3dg_flow_small").glob("model.ckpt.*"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path / "model.ckpt"


@pytest.mark.parametrize("keep", [0, 20, 47, 5000, -1])
def test_truncated_index(checkpoint, keep):
    index = checkpoint.with_name("model.ckpt.index")
    index.write_bytes(index.read_bytes()[:keep])
    with pytest.raises(ValueError, match=r"model\.ckpt\.index: .*(truncated|damaged)"):
        checkpoints.read_tf(checkpoint)


def test_damaged_index(checkpoint):
    index = checkpoint.with_name("model.ckpt.index")
    data = bytearray(index.read_bytes())
    for position in (3, 700, 2500, len(data) - 60):
        damaged = data.copy()
        damaged[position] ^= 4
        index.write_bytes(damaged)
        with pytest.raises(ValueError, match=r"model\.ckpt\.index"):
            checkpoints.read_tf(checkpoint)


def test_truncated_and_missing_data(checkpoint):
    data = checkpoint.with_name("model.ckpt.data-00000-of-00001")
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(ValueError, match="too short for InceptionV1"):
        checkpoints.read_tf(checkpoint)
    data.unlink()
    with pytest.raises(FileNotFoundError, match="data-00000-of-00001"):
        checkpoints.read_tf(checkpoint)


def test_foreign_index(tmp_path):
    (tmp_path / "a.index").write_bytes(b"not a table" * 20)
    with pytest.raises(ValueError, match=r"a\.index: not a TensorFlow checkpoint"):
        checkpoints.read_tf(tmp_path / "a")


def test_drop_optimizer_state():
    weights = ["a/weights", "a/BatchNorm/moving_mean", "a/Momentum/weights"]
    slots = [
        "a/weights/Momentum",
        "a/weights/ExponentialMovingAverage",
        "a/weights/Adam_1",
        "global_step",
        "beta1_power",
    ]
    variables = {name: object() for name in [*weights, *slots]}
    assert checkpoints.drop_optimizer_state(variables) == {name: variables[name] for name in weights}
    assert len(variables) == 8
