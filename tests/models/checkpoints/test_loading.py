"""Recognition, a given model, the input's range, and the errors that name the way out."""

import pytest
import torch
from safetensors.torch import save_file

from kdvideo import models
from kdvideo.models import checkpoints
from tests.models.checkpoints.reference import SMALL, randomise


@pytest.fixture
def bare(tmp_path):
    """A narrow NL S3D-G of kdvideo as a bare state dict."""
    model = models.s3dg(5, non_local=("4C",), **SMALL)
    randomise(model.state_dict())
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, tmp_path / "bare")
    return model, tmp_path / "bare"


@pytest.mark.parametrize("build", [models.s3dg, models.i3d, models.s3d])
def test_bare_state_dicts_of_kdvideo(build, tmp_path):
    model = build(5, **SMALL)
    randomise(model.state_dict())
    torch.save({f"student.{key}": value for key, value in model.state_dict().items()}, tmp_path / "a.pt")
    state = torch.get_rng_state()
    loaded, info = checkpoints.load(tmp_path / "a.pt")
    assert torch.equal(state, torch.get_rng_state())
    assert (loaded.config, info["format"], loaded.training) == (model.config, "kdvideo", False)
    assert all(torch.equal(value, loaded.state_dict()[key]) for key, value in model.state_dict().items())


def test_a_given_model_is_filled_in_place(bare):
    source, path = bare
    model = models.s3dg(5, non_local=("4C",), **SMALL)
    before, spec = dict(model.named_parameters()), model.input_spec
    loaded, info = checkpoints.load(path, model)
    assert loaded is model
    assert model.training
    assert (model.input_spec, info["config"]) == (spec, model.config)
    assert all(parameter is before[key] for key, parameter in model.named_parameters())
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in source.state_dict().items())


def test_a_misfit_changes_nothing(bare):
    model = models.s3dg(4, **SMALL)
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with pytest.raises(ValueError) as error:
        checkpoints.load(bare[1], model)
    for words in (f"{bare[1]}: ", "in 15 places", "unexpected non_local_4c.norm.running_var", "resize_head"):
        assert words in str(error.value)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())


def test_input_range(bare, tmp_path):
    loaded, info = checkpoints.load(bare[1], input_range=(0, 1))
    assert loaded.input_spec.value_range == loaded.config["input_range"] == (0, 1)
    assert info["input"]["range"] == [0, 1]
    own = tmp_path / "own.safetensors"
    checkpoints.save(loaded, own, classes=[*"abcde"], input_spec={"fps": 12.5, "range": [0, 1]})
    again, info = checkpoints.load(own, input_range=(0, 255))
    assert again.input_spec.value_range == (0, 255)
    assert info["input"] == {"fps": 12.5, "range": [0, 255]}
    for wrong in ((1, 0), (0, float("inf")), (0, 0)):
        with pytest.raises(ValueError, match="input_range"):
            checkpoints.load(own, input_range=wrong)


def test_an_image_network_is_sent_to_inflation(tmp_path):
    save_file({"conv1.weight": torch.zeros(8, 3, 7, 7), "fc.weight": torch.zeros(5, 8)}, tmp_path / "resnet")
    with pytest.raises(ValueError, match=r"resnet: .*2-D convolutions: models\.inflate"):
        checkpoints.load(tmp_path / "resnet")


def test_an_unknown_layout_lists_the_known_ones(tmp_path):
    save_file({"encoder.conv.weight": torch.zeros(8, 3, 7, 7, 7)}, tmp_path / "a")
    with pytest.raises(ValueError) as error:
        checkpoints.load(tmp_path / "a", models.i3d(5, **SMALL))
    for words in ("encoder.conv.weight", "TF-slim", "Sonnet", "pytorch-i3d", "torchvision", "kylemin", "pytorchvideo"):
        assert words in str(error.value)


def test_an_incomplete_file_lists_what_is_missing(bare, tmp_path):
    state = {key: value.contiguous() for key, value in bare[0].state_dict().items() if not key.startswith("mixed_4c")}
    save_file(state, tmp_path / "a")
    with pytest.raises(ValueError) as error:
        checkpoints.load(tmp_path / "a")
    assert str(error.value).count("missing mixed_4c.") == 32


def test_device(bare):
    loaded, _ = checkpoints.load(bare[1], device="meta")
    assert all(value.is_meta for value in loaded.state_dict().values())
