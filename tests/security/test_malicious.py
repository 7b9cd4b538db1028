"""No weight file runs code, through any door of the library."""

import contextlib
import hashlib
import json
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kdvideo import TeacherCache, cli, detection, models
from kdvideo.flow.store.codecs import UNCOMPRESSED
from kdvideo.models import checkpoints
from kdvideo.models.checkpoints.conversion import convert
from kdvideo.training import CheckpointError, Checkpoints
from tests.security import malicious

pytestmark = [pytest.mark.security, pytest.mark.reliability("E1")]
FILES = malicious.files()


class Refused(Exception):
    """What the command line says by its exit status."""


def small() -> models.Network:
    return models.i3d(2, depth_multiplier=0.125, min_depth=8)


def command(*arguments: Any) -> None:
    if cli.main([str(one) for one in arguments]):
        raise Refused


def pretrained(path: Path) -> None:
    folder = path.with_name("net")
    models.save_pretrained(small(), folder, classes=["a", "b"])
    (folder / "model.safetensors").write_bytes(path.read_bytes())
    models.from_pretrained(folder)


def checkpoint(path: Path) -> None:
    folder = path.with_name("run")
    saved = Checkpoints(folder).save(1, {"a": torch.ones(1)})
    (saved / "state.pt").write_bytes(path.read_bytes())
    manifest = {"step": 1, "sha256": {"state.pt": hashlib.sha256(path.read_bytes()).hexdigest()}}
    (saved / "manifest.json").write_text(json.dumps(manifest))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Checkpoints(folder).load()


def cache(path: Path) -> None:
    folder = path.with_name("cache")
    folder.mkdir()
    (folder / (hashlib.sha256(path.read_bytes()).hexdigest()[:32] + ".safetensors")).write_bytes(path.read_bytes())
    TeacherCache(folder, fingerprint={"teacher": "a"}).read(["a"], [0])


def stored_flow(path: Path) -> None:
    UNCOMPRESSED.read(path, range(1), (2, 2))


def tensorflow(path: Path) -> None:
    for name in ("m.index", "m.data-00000-of-00001"):
        path.with_name(name).write_bytes(path.read_bytes())
    checkpoints.load(path.with_name("m"))


def folder_of_weights(path: Path) -> None:
    folder = path.with_name("folder")
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(path.read_bytes())
    checkpoints.load(folder)


DOORS: dict[str, Callable[[Path], Any]] = {
    "load": checkpoints.load,
    "load into a model": lambda path: checkpoints.load(path, small()),
    "load a folder": folder_of_weights,
    "load a TensorFlow checkpoint": tensorflow,
    "convert": lambda path: convert(path, path.with_name("out.safetensors")),
    "convert a backbone": lambda path: convert(path, path.with_name("out.safetensors"), backbone="x3d_s"),
    "from_pretrained": pretrained,
    "kdvideo convert": lambda path: command("convert", path, path.with_name("out.safetensors")),
    "kdvideo predict": lambda path: command("predict", "--weights", path, path.with_name("clip.mp4")),
    "Checkpoints": checkpoint,
    "TeacherCache": cache,
    "stored flow": stored_flow,
    "proposals": lambda path: detection.read_proposals(path),
}


@pytest.mark.parametrize("door", DOORS)
def test_doors(door, tmp_path, record_property, capsys):
    """Fails when `weights_only=True` is taken from a `torch.load`, as the next test shows of these files."""
    for number, (name, write) in enumerate(FILES.items()):
        folder = tmp_path / str(number)
        folder.mkdir()
        canary = folder / "canary"
        write(folder / "weights.pt", canary)
        assert not canary.exists()
        with pytest.raises((ValueError, CheckpointError, Refused)) as caught:
            DOORS[door](folder / "weights.pt")
        assert not canary.exists(), f"{name} ran, and then: {caught.value}"
    record_property("trials", len(FILES))


@pytest.mark.parametrize("name", malicious.PAYLOADS)
def test_the_traps_work(name, tmp_path):
    """Fails when the command of `malicious.shell` touches nothing.

    Read by Python's own pickle, and as a zip by `torch.load`, each payload touches the canary.
    """
    canary, path = tmp_path / "canary", tmp_path / "a.pt"
    with contextlib.suppress(Exception):
        pickle.loads(malicious.pickled(malicious.PAYLOADS[name](canary)))
    assert touched(canary)
    canary.unlink()
    FILES[f"zip: {name}"](path, canary)
    with contextlib.suppress(Exception):
        torch.load(path, weights_only=False)
    assert touched(canary)


def touched(canary: Path) -> bool:
    for _ in range(100):  # `Popen` does not wait
        if canary.exists():
            return True
        time.sleep(0.02)
    return False


def test_there_are_many():
    """Fails when the pickles of all protocols are taken out of `malicious.files`."""
    assert len(FILES) >= 45
