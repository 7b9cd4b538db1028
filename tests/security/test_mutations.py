"""Mutated files of weights, flow, caches and lists end in documented errors, without a crash or a hang."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from kdvideo import Output, TeacherCache, detection, flow, models
from kdvideo.data import from_csv
from kdvideo.models import checkpoints
from kdvideo.training import CheckpointError, Checkpoints
from tests.security.forks import guarded
from tests.security.tensorflow_files import variable, write_index

pytestmark = [pytest.mark.security, pytest.mark.reliability("E4")]
Pair = tuple[Callable[[Path], Any], Callable[[Path], Any]]  # write files into a folder, read them
FINGERPRINT = {"teacher": "a"}


def network() -> models.Network:
    return models.i3d(2, depth_multiplier=0.0625, min_depth=2)


def tensorflow(folder: Path) -> None:
    write_index(folder / "m.index", [(0, b"a%d" % i, variable((2, 2), size=16, offset=16 * i)) for i in range(9)])
    (folder / "m.data-00000-of-00001").write_bytes(bytes(144))


def cache(folder: Path) -> None:
    with TeacherCache(folder, fingerprint=FINGERPRINT, features=["f"]).writer() as writer:
        writer.add(["a", "b", "c"], [0, 0, 1], Output(torch.ones(3, 5), {"f": torch.ones(3, 2)}))


def store(folder: Path) -> flow.FlowStore:
    return flow.FlowStore(folder)


def write_csv(folder: Path) -> None:
    for name in "ab":
        (folder / f"{name}.mp4").write_bytes(b"video")
    (folder / "list.csv").write_text("path,label,start,end\na.mp4,run,0,1.5\nb.mp4,jump,1,2\n")


KINDS: dict[str, Pair] = {
    "network": (
        lambda folder: models.checkpoints.save(network(), folder / "a", classes=["x", "y"], input_spec={}),
        lambda folder: checkpoints.load(folder / "a"),
    ),
    "folder of a network": (
        lambda folder: models.save_pretrained(network(), folder, classes=["x", "y"]),
        lambda folder: models.from_pretrained(folder),
    ),
    "safetensors": (
        lambda folder: save_file(network().state_dict(), folder / "a.safetensors"),
        lambda folder: checkpoints.load(folder / "a.safetensors", network()),
    ),
    "zipped .pt": (
        lambda folder: torch.save(network().state_dict(), folder / "a.pt"),
        lambda folder: checkpoints.load(folder / "a.pt"),
    ),
    "old .pt": (
        lambda folder: torch.save(network().state_dict(), folder / "a.pt", _use_new_zipfile_serialization=False),
        lambda folder: checkpoints.load(folder / "a.pt"),
    ),
    "TensorFlow": (tensorflow, lambda folder: checkpoints.read_tf(folder / "m")),
    "checkpoint": (
        lambda folder: Checkpoints(folder).save(1, {"a": torch.ones(3), "b": [1, "x"]}),
        lambda folder: Checkpoints(folder).load(),
    ),
    "teacher cache": (
        cache,
        lambda folder: TeacherCache(folder, fingerprint=FINGERPRINT, features=["f"]).read(["a", "c"], [0, 1]),
    ),
    "flow store": (
        lambda folder: store(folder).write("clip", torch.rand(3, 2, 8, 8)),
        lambda folder: store(folder).read("clip"),
    ),
    ".flo": (
        lambda folder: flow.write_flo(folder / "a", torch.rand(2, 5, 7)),
        lambda folder: flow.read_flo(folder / "a"),
    ),
    "csv": (write_csv, lambda folder: from_csv(folder / "list.csv")),
    "boxes": (
        lambda folder: (folder / "a.csv").write_text(
            "v,0902,0.1,0.1,0.5,0.5,12,0.9\nv,0903,0.1,0.1,0.5,0.5,12,0.9\n" * 4
        ),
        lambda folder: detection.read_detections(folder / "a.csv"),
    ),
    "label map": (
        lambda folder: (folder / "a").write_text('item {\n  name: "sit"\n  id: 11\n}\n' * 1),
        lambda folder: detection.read_label_map(folder / "a"),
    ),
}
ABSENT = {"teacher cache": KeyError, "flow store": KeyError, "TensorFlow": FileNotFoundError}  # as documented


def mutate(data: bytes, generator: random.Random) -> bytes:
    """Return bytes that differ: flipped, cut, left out, put in, zeroed, repeated, or with another number in them."""
    out, kind = bytearray(data), generator.randrange(7)
    at = generator.randrange(len(out) or 1)
    # The first bytes, of headers, are where most can go wrong.
    at = min(at, generator.randrange(200)) if generator.random() < 0.5 and len(out) > 200 else at
    span = generator.randrange(1, 40)
    if kind == 0:
        for _ in range(span):
            out[generator.randrange(len(out))] ^= 1 << generator.randrange(8)
    elif kind == 1:
        del out[at:]
    elif kind == 2:
        del out[at : at + span]
    elif kind == 3:
        out[at:at] = generator.randbytes(span)
    elif kind == 4:
        out[at : at + span] = bytes(len(out[at : at + span]))
    elif kind == 5:
        out[at:at] = out[at : at + span * 20]
    else:
        out[at : at + 4] = generator.choice([b"\xff" * 4, b"\xff\xff\xff\x7f", b"9999", b"[[[[", b'"-1"'])
    return bytes(out)


def read_mutated(kind: str, folder: Path, seeds: range) -> str:
    """Read one mutated file after the other, and say how many were read and how many refused."""
    import warnings

    warnings.simplefilter("ignore")
    write, read = KINDS[kind]
    write(folder)
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.suffix not in (".mp4", ".md"))
    read_well = 0
    for seed in seeds:
        generator = random.Random(seed)
        path = generator.choice(files)
        whole = path.read_bytes()
        path.write_bytes(mutate(whole, generator) if whole else b"x")
        try:
            read(folder)
            read_well += 1
        except (ValueError, CheckpointError, ABSENT.get(kind, ValueError)):
            pass
        except BaseException as error:
            raise AssertionError(f"seed {seed}, {path.name}: {type(error).__name__}: {error}") from error
        path.write_bytes(whole)
    return f"{read_well} read"


def check(kind: str, folder: Path, seeds: range, record_property: Callable[[str, object], None]) -> None:
    outcome = guarded(lambda: read_mutated(kind, folder, seeds), seconds=280)
    record_property("trials", len(seeds))
    record_property("worst", outcome.words)
    assert outcome.kind == "loaded", outcome


@pytest.mark.parametrize("kind", KINDS)
def test_some(kind, tmp_path, record_property):
    """Fails when an error is taken out of an `except` of the readers, such as `SafetensorError` or `RecursionError`."""
    check(kind, tmp_path, range(40), record_property)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_many(kind, tmp_path, record_property):
    """Fails when `SafetensorError` is taken out of the `except` of `_read_safetensors`."""
    check(kind, tmp_path, range(1000, 1400), record_property)
