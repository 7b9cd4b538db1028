"""Networks as folders and as repositories of the Hub."""

import copy
import dataclasses
import io
import json
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from kdvideo import models
from kdvideo.models import hub

huggingface_hub = pytest.importorskip("huggingface_hub")

BUILDERS = {
    "i3d": lambda: models.i3d(2, in_channels=2, depth_multiplier=0.125, min_depth=8),
    "s3dg": lambda: models.s3dg(2, depth_multiplier=0.125, min_depth=8, non_local=("4C",)),
    "pytorchvideo": lambda: models.pytorchvideo("x3d_xs", num_classes=2),
    "torchvision": lambda: models.torchvision("mc3_18", num_classes=2, in_channels=2),
    "timm": lambda: models.timm("test_vit", num_classes=2, img_size=32, drop_rate=0.1),
}
CLASSES = ["run", "jump"]
CARD = {"data": "40 synthetic clips", "accuracy": "top-1 0.75 on 8 clips", "license": "Apache-2.0"}


def small():
    return BUILDERS["i3d"]()


def trained(model):
    """Weights and buffers that are not the initial ones."""
    generator = torch.Generator().manual_seed(0)
    for tensor in model.state_dict().values():
        if tensor.is_floating_point():
            tensor.add_(0.01 * torch.rand(tensor.shape, generator=generator))
    return model


@pytest.fixture
def folder(tmp_path):
    models.save_pretrained(small(), tmp_path / "net", classes=CLASSES, card=CARD)
    return tmp_path / "net"


@pytest.mark.parametrize("name", sorted(BUILDERS))
def test_round_trip_is_bit_equal(name, tmp_path):
    model = trained(BUILDERS[name]())
    models.save_pretrained(model, tmp_path / "new" / "folder", classes=CLASSES)
    assert sorted(p.name for p in (tmp_path / "new/folder").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    state = torch.get_rng_state()
    loaded = models.from_pretrained(tmp_path / "new" / "folder")
    assert torch.equal(torch.get_rng_state(), state)
    assert (type(loaded), loaded.config, loaded.input_spec) == (type(model), model.config, model.input_spec)
    assert loaded.classes == ("run", "jump")
    assert not any(m.training for m in loaded.modules())
    expected, got = model.state_dict(), loaded.state_dict()
    assert expected.keys() == got.keys()
    assert all(torch.equal(expected[key], got[key]) for key in expected)
    clip = torch.randn(1, model.in_channels, 8, 32, 32)
    with torch.no_grad():
        assert torch.equal(loaded(clip), model.eval()(clip))


def test_a_changed_input_comes_along(tmp_path):
    model = small()
    model.input_spec = models.InputSpec(16, 112, 2, (0.0, 1.0), (0.5, 0.5), (0.2, 0.2), 12.5)
    models.save_pretrained(model, tmp_path, classes=CLASSES)
    assert models.from_pretrained(str(tmp_path)).input_spec == model.input_spec


def test_the_weights_are_a_checkpoint(folder, tmp_path):
    model, info = models.checkpoints.load(folder / "model.safetensors")
    assert (info["classes"], info["config"]) == (CLASSES, model.config)
    models.checkpoints.save(model, tmp_path / "same", classes=info["classes"], input_spec=info["input"])
    assert (tmp_path / "same").read_bytes() == (folder / "model.safetensors").read_bytes()


def test_config_says_what_is_in_the_folder(folder):
    described = json.loads((folder / "config.json").read_text())
    assert described["config"]["architecture"] == "i3d"
    assert (described["classes"], described["input"]["frames"]) == (CLASSES, 64)


# the model card


def test_the_card_says_what_is_given_and_nothing_else(folder):
    card = huggingface_hub.ModelCard.load(folder / "README.md")
    assert (card.data.license, card.data.library_name) == ("apache-2.0", "kdvideo")
    assert card.data.pipeline_tag == "video-classification"
    sections = dict(part.split("\n\n", 1) for part in card.text.split("\n## ")[1:])
    sections = {heading: text.strip() for heading, text in sections.items()}
    assert sections["Data"] == CARD["data"]
    assert sections["Accuracy"] == CARD["accuracy"]
    assert sections["Protocol"] == sections["Source"] == "not stated"
    assert sections["Input"] == (
        "2 channels, 64 frames of 224 x 224 pixels, consecutive frames at 25 frames per second; values in [-1, 1]."
    )
    assert sections["Classes"] == "run, jump"
    assert 'from_pretrained("net")' in card.text


def test_the_card_has_step_and_normalization(tmp_path):
    models.save_pretrained(BUILDERS["pytorchvideo"](), tmp_path, classes=CLASSES)
    text = (tmp_path / "README.md").read_text()
    assert "one in 12 frames of a video at 30 frames per second; values in [0, 1], then (x - mean) / std" in text
    assert "[0.45, 0.45, 0.45] and std [0.225, 0.225, 0.225]" in text
    assert "\nlicense:" not in text


def test_a_second_save_leaves_no_old_card(folder):
    (folder / "notes.txt").write_text("mine")
    models.save_pretrained(small(), folder, classes=CLASSES)
    assert "top-1" not in (folder / "README.md").read_text()
    assert (folder / "notes.txt").read_text() == "mine"


def test_braces_and_free_licenses_are_text(tmp_path):
    card = {"data": "{{ 7 * 7 }}", "license": "for research only"}
    models.save_pretrained(small(), tmp_path, classes=CLASSES, card=card)
    text = (tmp_path / "README.md").read_text()
    assert "{{ 7 * 7 }}" in text
    assert "\nlicense: other\nlicense_name: for research only\n" in text
    assert "for research only" in text


def test_an_unknown_field_is_named(tmp_path):
    with pytest.raises(ValueError, match=r"got 'acuracy': closest \['accuracy'\]"):
        models.save_pretrained(small(), tmp_path / "net", classes=CLASSES, card={"acuracy": 1})
    assert not (tmp_path / "net").exists()


def test_a_zero_is_stated_and_none_is_not(tmp_path):
    models.save_pretrained(small(), tmp_path, classes=CLASSES, card={"accuracy": 0.0, "data": None, "source": ""})
    text = (tmp_path / "README.md").read_text()
    assert "## Accuracy\n\n0.0\n" in text
    assert "## Data\n\nnot stated\n" in text
    assert "## Source\n\nnot stated\n" in text


@pytest.mark.parametrize(("classes", "words"), [(["run"], "2 names, .* got 1 class names"), ("ab", "got 'ab'")])
def test_wrong_class_names_leave_the_folder_alone(folder, classes, words):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(ValueError, match=words):
        models.save_pretrained(small(), folder, classes=classes)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_what_is_not_json_leaves_the_folder_alone(folder):
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    model = models.timm("test_vit", num_classes=2, norm_layer=torch.nn.LayerNorm)
    with pytest.raises(ValueError, match="what JSON can hold: Object of type type"):
        models.save_pretrained(model, folder, classes=CLASSES)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


# what may be wrong with a folder


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    with pytest.raises(FileNotFoundError, match=rf"(?i)no such file.*{file}|{file}: no such file"):
        models.from_pretrained(folder)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
@pytest.mark.parametrize("part", [0.0, 0.5, 0.99])
def test_a_truncated_file_is_named(folder, file, part):
    data = (folder / file).read_bytes()
    (folder / file).write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ValueError, match=rf"{file}: .*truncated"):
        models.from_pretrained(folder)


def edit(folder, **changes):
    described = json.loads((folder / "config.json").read_text())
    described.update({key: change(described[key]) for key, change in changes.items()})
    (folder / "config.json").write_text(json.dumps(described))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (
            {"config": lambda c: {**c, "architecture": "c3d"}},
            r"differ in \['config'\]",
        ),
        ({"classes": lambda c: [*c, "swim"]}, r"differ in \['classes'\]"),
        ({"classes": lambda c: c[::-1]}, r"differ in \['classes'\]"),
        ({"config": lambda c: {**c, "dropout": 0.9}}, r"differ in \['config'\]"),
        ({"input": lambda c: {**c, "frames": 8}}, r"differ in \['input'\]"),
        ({"config": lambda c: [c]}, r"differ in \['config'\]"),
    ],
)
def test_a_wrong_description_is_named(folder, changes, words):
    edit(folder, **changes)
    with pytest.raises(ValueError, match=words):
        models.from_pretrained(folder)


def test_part_of_an_input_is_taken_and_foreign_weights_are_named(folder):
    model = small()
    models.checkpoints.save(model, folder / "model.safetensors", classes=CLASSES, input_spec={"fps": 25})
    edit(folder, input=lambda c: {"fps": 25})
    assert models.from_pretrained(folder).input_spec == dataclasses.replace(model.input_spec, fps=25)
    save_file(model.state_dict(), folder / "model.safetensors")
    with pytest.raises(ValueError, match=r"model\.safetensors: no usable kdvideo description"):
        models.from_pretrained(folder)


def test_a_folder_from_before_an_argument_was_added(folder):
    with safe_open(folder / "model.safetensors", "pt") as file:
        described = json.loads(file.metadata()["kdvideo"])
    del described["config"]["bn_scale"]
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors, folder / "model.safetensors", {"kdvideo": json.dumps(described)})
    edit(folder, config=lambda c: described["config"])
    assert models.from_pretrained(folder).config["bn_scale"] is False


def test_neither_folder_nor_repository(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match=r"got the file .*file: models\.checkpoints\.load reads it"):
        models.from_pretrained(tmp_path / "file")
    (tmp_path / "student").mkdir()
    with pytest.raises(FileNotFoundError, match=r"no folder .*studnt; the closest there are \['student'\]"):
        models.from_pretrained(tmp_path / "studnt")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "_huggingface_hub", lambda: pytest.fail("the Hub is asked"))
    for typo in ("studnt", "./studnt", "~/studnt-of-nobody"):  # none is "owner/name"
        with pytest.raises(FileNotFoundError, match=rf"there is no folder {typo}"):
            models.from_pretrained(typo)
    monkeypatch.undo()
    with pytest.raises(ValueError, match=r"(?s)Repo id must .*There is no folder"):
        models.from_pretrained("a b/nothing")


# the Hub, without a network


@pytest.fixture
def remote(monkeypatch):
    """The Hub's side: the requests, and the files that would be uploaded."""
    seen = {}

    class Api:
        def __init__(self, token=None):
            seen["token"] = token

        def create_repo(self, repo_id, **kwargs):
            seen["create"] = (repo_id, kwargs)
            return type("Url", (), {"repo_id": repo_id})

        def upload_folder(self, repo_id, folder_path, **kwargs):
            seen["files"] = {p.name: p.read_bytes() for p in Path(folder_path).iterdir()}
            seen["upload"] = (repo_id, kwargs)
            return "https://hub/commit/1"

    monkeypatch.setattr(huggingface_hub, "HfApi", Api)
    return seen


def test_push_uploads_what_save_writes(remote, folder):
    model = models.from_pretrained(folder)
    options = {"private": True, "token": "t", "commit_message": "m"}
    url = models.push_to_hub(model, "user/net", classes=model.classes, card=CARD, **options)
    assert url == "https://hub/commit/1"
    assert remote["token"] == "t"
    assert remote["create"] == ("user/net", {"private": True, "exist_ok": True})
    assert (remote["upload"][0], remote["upload"][1]["commit_message"]) == ("user/net", "m")
    local = {path.name: path.read_bytes() for path in folder.iterdir()}
    local["README.md"] = local["README.md"].replace(b'("net")', b'("user/net")')
    assert remote["files"] == local


def test_from_the_hub(folder, monkeypatch):
    asked = []

    def download(repo_id, **kwargs):
        asked.append((repo_id, kwargs["revision"], kwargs["allow_patterns"]))
        return str(folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    model = models.from_pretrained("user/net", revision="v1")
    assert asked == [("user/net", "v1", ["config.json", "model.safetensors"])]
    assert model.classes == ("run", "jump")


def test_a_repository_that_is_not_there_says_that_it_was_no_folder(tmp_path):
    with pytest.raises(OSError) as caught:
        models.from_pretrained("user/net", local_files_only=True, cache_dir=tmp_path)
    assert "no folder user/net" in caught.value.__notes__[0]


# nothing else changes


def test_networks_still_copy_pickle_and_compile(folder):
    model = models.from_pretrained(folder)
    clip = torch.randn(1, 2, 8, 32, 32)
    buffer = io.BytesIO()
    torch.save(model, buffer)
    buffer.seek(0)
    compiled = torch.compile(model, backend="eager", fullgraph=True)
    twins = [copy.deepcopy(model), pickle.loads(pickle.dumps(model)), torch.load(buffer, weights_only=False), compiled]
    with torch.no_grad():
        assert all(torch.equal(twin(clip), model(clip)) for twin in twins)
    assert all(twin.classes == ("run", "jump") for twin in twins)


def test_models_import_without_the_other_libraries():
    code = """if True:
        import sys
        sys.modules["huggingface_hub"] = None
        from kdvideo import models
        assert not {"timm", "torchvision", "pytorchvideo"} & sys.modules.keys()
        try:
            models.from_pretrained("user/net")
        except ImportError as error:
            print(error)
    """
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'huggingface_hub, which is not installed: pip install "kdvideo[video]"' in result.stdout
