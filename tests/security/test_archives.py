"""Archives are read member by member, and never unpacked: names in them lead nowhere."""

import io
import os
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest
import torch

from kdvideo.models import checkpoints
from tests.security.forks import guarded

pytestmark = [pytest.mark.security, pytest.mark.reliability("E5")]
WEIGHTS = {"a": torch.ones(3)}


def rezipped(path: Path, names: list[str]) -> None:
    whole = io.BytesIO()
    torch.save(WEIGHTS, whole)
    with zipfile.ZipFile(whole) as old, zipfile.ZipFile(path, "w") as new:
        for member in old.infolist():
            new.writestr(member.filename, old.read(member.filename))
        for name in names:
            link = zipfile.ZipInfo(name)
            link.external_attr = 0o120777 << 16  # a symbolic link
            new.writestr(link, "/etc/passwd")


def tar(path: Path, kind: bytes, name: str) -> None:
    with tarfile.open(path, "w") as archive:
        for one in (name, "storages", "tensors", "pickle"):
            member = tarfile.TarInfo(one)
            member.type, member.linkname = kind, "../../outside"
            archive.addfile(member)


ZIPS = {
    "up": ["../outside", "archive/../../outside"],
    "absolute": ["/kdvideo_outside"],
    "case": ["ARCHIVE/DATA.PKL", "archive/Data.pkl"],
    "twice": ["archive/data/0"],
    "drive": ["C:\\outside", "..\\outside"],
    "many": [f"archive/x{i}" for i in range(70_000)],
}
KINDS = {"link": tarfile.SYMTYPE, "hard link": tarfile.LNKTYPE, "device": tarfile.CHRTYPE, "pipe": tarfile.FIFOTYPE}


def everything(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize("name", ZIPS)
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_zip(name, tmp_path):
    """Fails when an archive is unpacked to be read."""
    (tmp_path / "in").mkdir()
    rezipped(tmp_path / "in" / "a.pt", ZIPS[name])
    before = everything(tmp_path)
    outcome = guarded(lambda: checkpoints.load(tmp_path / "in" / "a.pt"))
    assert outcome.kind == "ValueError", outcome
    assert outcome.seconds < 2
    assert everything(tmp_path) == before
    assert not Path("/kdvideo_outside").exists()


@pytest.mark.parametrize("kind", KINDS)
def test_tar(kind, tmp_path):
    """Fails when `read_weights` unpacks a tar to look into it."""
    (tmp_path / "in").mkdir()
    tar(tmp_path / "in" / "a.pt", KINDS[kind], "../outside")
    before = everything(tmp_path)
    outcome = guarded(lambda: checkpoints.load(tmp_path / "in" / "a.pt"))
    assert outcome.kind == "ValueError", outcome
    assert everything(tmp_path) == before


def test_a_hole_in_a_file(tmp_path):
    """Fails when the limit on the header in `_read_safetensors` is taken away.

    A file of 100 GB of nothing, which takes no room on a disk, is refused by its first bytes.
    """
    for head, name in ((struct.pack("<Q", 2**33) + b"{", "a.safetensors"), (b"PK\3\4", "a.pt"), (b"\x80\2", "b.pt")):
        with open(tmp_path / name, "wb") as file:
            file.write(head)
            file.truncate(100 * 2**30)
        outcome = guarded(lambda: checkpoints.load(tmp_path / name), seconds=20)  # noqa: B023
        assert outcome.kind == "ValueError", (name, outcome)
        assert outcome.megabytes < 400
        os.unlink(tmp_path / name)
