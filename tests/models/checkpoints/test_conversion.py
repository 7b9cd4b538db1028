"""Any file of weights into kdvideo's own, by `kdvideo convert`."""

import pytest
import torch

from kdvideo import models
from kdvideo.cli import main
from kdvideo.models import checkpoints
from kdvideo.models.checkpoints import conversion as convert

SMALL = {"depth_multiplier": 0.125, "min_depth": 8}


def run(*arguments):
    return main(["convert", *map(str, arguments)])


@pytest.fixture
def source(tmp_path):
    torch.save({"state_dict": models.s3d(3, **SMALL).state_dict()}, tmp_path / "a.pth")
    return tmp_path / "a.pth"


def test_converts_and_says_what_it_found(shared, tmp_path, capsys):
    target = tmp_path / "flow.safetensors"
    run(shared / "golden" / "s3dg_slim" / "s3dg_flow_small", target)
    words = capsys.readouterr().out
    loaded, info = checkpoints.load(target)
    count = sum(p.numel() for p in loaded.parameters())
    for part in (
        "TF-slim",
        f"s3dg, {count:,} parameters",
        "classes   11",
        "channels  2",
        "range [-1.0, 1.0]",
        str(target),
    ):
        assert part in words
    assert info["classes"] == [str(k) for k in range(11)]
    assert info["input"]["range"] == [-1.0, 1.0]


def test_classes_and_range(source, tmp_path):
    target, names = tmp_path / "b.safetensors", tmp_path / "names.txt"
    names.write_text("run\n\nhigh jump \nswim\n")
    run(source, target, "--classes", names, "--input-range", 0, 255)
    loaded, info = checkpoints.load(target)
    assert info["classes"] == ["run", "high jump", "swim"]
    assert loaded.input_spec.value_range == (0.0, 255.0)
    run(target, tmp_path / "c.safetensors")
    assert checkpoints.load(tmp_path / "c.safetensors")[1] == info


def test_backbone_of_pytorchvideo(tmp_path, capsys):
    model = models.pytorchvideo("x3d_xs", num_classes=7)
    torch.save({"model_state": model.network.state_dict()}, tmp_path / "x.pyth")
    run(tmp_path / "x.pyth", tmp_path / "x.safetensors", "--name", "x3d_xs")
    loaded, _ = checkpoints.load(tmp_path / "x.safetensors")
    assert loaded.config == model.config
    assert "x3d_xs" in capsys.readouterr().out
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in loaded.state_dict().items())


@pytest.mark.parametrize(("heads", "classes"), [({"head": 5, "blocks.1": 8, "blocks.14": 9}, 5), ({"blocks.5": 6}, 6)])
def test_classes_of_a_backbone(heads, classes, tmp_path, monkeypatch):
    torch.save({f"{name}.proj.weight": torch.zeros(count, 2) for name, count in heads.items()}, tmp_path / "a.pyth")
    built = []
    monkeypatch.setattr(convert, "pytorchvideo", lambda name, **options: built.append((name, options)))
    with pytest.raises(ValueError):
        convert.convert(tmp_path / "a.pyth", tmp_path / "b", backbone="mvit_base_16x4")
    assert built == [("mvit_base_16x4", {"num_classes": classes})]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["none.pth", "b.safetensors"], "none.pth: no such file"),
        (["a.pth", "names.txt"], "names.txt: exists: set force to replace it"),
        (["a.pth", "b.safetensors", "--classes", "names.txt"], "one for each logit, got 2 class names"),
        (["a.pth", "b.safetensors", "--name", "x3d"], "got 'x3d'"),
        (["a.pth", "b.safetensors", "--name", "x3d_xs"], "the weights do not fit the model"),
        (["a.pth", "b.safetensors", "--input-range", "1", "0"], "the lower first"),
    ],
)
def test_errors_are_one_line(arguments, words, source, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "names.txt").write_text("a\nb\n")
    status = run(*arguments)
    out, err = capsys.readouterr()
    assert (status, out) == (1, "")
    assert err.startswith("error: ")
    assert err.count("\n") == 1
    assert words in err
    assert not (tmp_path / "b.safetensors").exists()
    assert (tmp_path / "names.txt").read_text() == "a\nb\n"


def test_force(source, tmp_path):
    (tmp_path / "b.safetensors").write_bytes(b"old")
    run(source, tmp_path / "b.safetensors", "--force")
    assert checkpoints.load(tmp_path / "b.safetensors")[0].num_classes == 3
