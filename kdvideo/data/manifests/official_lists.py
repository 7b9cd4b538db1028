"""Manifests from the official lists of UCF-101 and HMDB-51."""

from __future__ import annotations

import os
import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from kdvideo.data.manifests.manifest import ListedClip, ManifestBuilder
from kdvideo.files import read_limited

if TYPE_CHECKING:
    from datasets import Dataset

PathLike = str | os.PathLike[str]


def from_ucf101_list(
    split_file: PathLike, *, root: PathLike, class_index: PathLike, allow_missing: float = False
) -> Dataset:
    """Read the manifest of one official list of UCF-101, such as `trainlist01.txt` or `testlist01.txt`.

    `from_ucf101_folder` finds list and clips in the unpacked data set.

    Args:
        split_file: rows `Class/v_Class_g01_c01.avi`, in training lists followed by the number of the class, from 1.
        root: the folder that holds one folder of clips per class.
        class_index: `classInd.txt`, rows `1 ApplyEyeMakeup`; its order gives the labels, from 0.
        allow_missing: leave out, with a warning that counts them, clips that are not there: True for any number,
            0.01 for at most one in a hundred.

    Returns:
        The manifest, a `datasets.Dataset` with the columns `path`, `label`, `clip`, `start`, `end` and `bytes`.

    Raises:
        ManifestError: names every bad row by its line number, also where folder and class number disagree.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "Archery").mkdir()
        ...     Path(root, "Archery/v_Archery_g08_c01.avi").touch()
        ...     _ = Path(root, "classInd.txt").write_text("1 Archery")
        ...     _ = Path(root, "trainlist01.txt").write_text("Archery/v_Archery_g08_c01.avi 1")
        ...     index = Path(root, "classInd.txt")
        ...     from_ucf101_list(Path(root, "trainlist01.txt"), root=root, class_index=index)["clip"][:]
        ['Archery/v_Archery_g08_c01.avi']

    Source:
        Soomro, Zamir, Shah, "UCF101", 2012, arXiv 1212.0402.
    """
    classes = class_names(class_index)
    builder = ManifestBuilder(os.fspath(split_file), os.fspath(root), allow_missing)
    rows = []
    for line, text in _lines(builder, split_file):
        found = re.fullmatch(r"(([^/\s]+)/\S+)(?:\s+(\d+))?", text)
        if not found:
            builder.report(line, f"expected Class/clip.avi or Class/clip.avi number, got {text!r}")
            continue
        path, name, number = found.groups()
        if number and (not 1 <= int(number) <= len(classes) or classes[int(number) - 1] != name):
            builder.report(line, f"class {name!r} does not have the number {number}")
            continue
        named = re.search(r"/v_([^/]+)_g\d+_c\d+\.", path)
        if named and named[1].lower() != name.lower():  # v_HandStandPushups_… lies in HandstandPushups
            builder.report(line, f"a clip of {named[1]!r} in the folder of {name!r}: {path!r}")
            continue
        rows.append(ListedClip(line, _on_disk(root, path), name))
    return builder.build(rows, classes)


def class_names(file: PathLike) -> list[str]:
    """Read the classes of a UCF-101 `classInd.txt`, in their order."""
    builder = ManifestBuilder(os.fspath(file), "")
    classes: list[str] = []
    for line, text in _lines(builder, file):
        number, _, name = text.partition(" ")
        if number != str(len(classes) + 1) or not name.strip():
            builder.report(line, f"expected {len(classes) + 1} and a class name, got {text!r}")
        classes.append(name.strip())
    if builder.problems or not classes:
        builder.fail("no class in it")
    return classes


def from_hmdb51_lists(
    split_folder: PathLike,
    *,
    root: PathLike,
    split: int,
    subset: Literal["train", "test"],
    allow_missing: float = False,
) -> Dataset:
    """Read the manifest of one part of an HMDB-51 split from its official lists, `<class>_test_split<split>.txt`.

    `from_hmdb51_folder` finds lists and clips in the unpacked data set.

    Args:
        split_folder: the folder of the split files, rows `clip.avi 0|1|2` (0 unused, 1 training, 2 test).
        root: the folder that holds one folder of clips per class.
        split: 1, 2 or 3.
        subset: "train" or "test".
        allow_missing: leave out, with a warning that counts them, clips that are not there: True for any number,
            0.01 for at most one in a hundred.

    Returns:
        The manifest, a `datasets.Dataset` with the columns `path`, `label`, `clip`, `start`, `end` and `bytes`.

    Raises:
        ManifestError: names every bad row by file and line number.
        ValueError: another subset.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     Path(root, "wave").mkdir()
        ...     Path(root, "wave/hello.avi").touch()
        ...     _ = Path(root, "wave_test_split1.txt").write_text("hello.avi 2")
        ...     from_hmdb51_lists(root, root=root, split=1, subset="test")["clip"][:]
        ['wave/hello.avi']

    Source:
        Kuehne et al., "HMDB: A Large Video Database for Human Motion Recognition", 2011.
    """
    wanted = {"train": "1", "test": "2"}.get(subset)
    if wanted is None:
        raise ValueError(f"subset must be 'train' or 'test', got {subset!r}")
    ending = f"_test_split{split}.txt"
    builder = ManifestBuilder(os.fspath(split_folder), os.fspath(root), allow_missing)
    files = {p.name.removesuffix(ending): p for p in Path(split_folder).glob("*" + ending) if p.name[0] != "."}
    if not files:
        builder.fail(f"no file *{ending} in it")
    classes = sorted(files)  # the names, not the files: "sword" comes before "sword_exercise"
    rows = []
    for name in classes:
        known: dict[str, int] = {}
        for line, text in _lines(builder, files[name]):
            clip, part = [*text.rsplit(None, 1), ""][:2]
            first = known.setdefault(clip, line)
            if part not in ("0", "1", "2"):
                expected = "expected clip.avi and 0, 1 or 2"
                builder.report(line, f"{files[name].name}: {expected}, got {text!r}")
            elif first != line:
                builder.report(line, f"{files[name].name}: {clip!r} is listed again (first on line {first})")
            elif part == wanted:
                rows.append(ListedClip(line, _on_disk(root, f"{name}/{clip}"), name))
    return builder.build(rows, classes)


def _on_disk(root: PathLike, path: str) -> str:
    """Return the path as the disk spells it: accents may be composed in a list and decomposed in a file name."""
    place = Path(root, path)
    if path.isascii() or place.is_file() or not place.parent.is_dir():
        return path
    wanted = unicodedata.normalize("NFC", place.name)
    found = (name for name in os.listdir(place.parent) if unicodedata.normalize("NFC", name) == wanted)
    return os.path.join(os.path.dirname(path), next(found, place.name))


def _lines(builder: ManifestBuilder, file: PathLike) -> Iterator[tuple[int, str]]:
    """Read the lines that are not blank, with their numbers."""
    try:
        text = read_limited(Path(file)).decode("utf-8-sig").replace("\r\n", "\n")
    except (OSError, ValueError) as error:
        builder.fail(f"{os.fspath(file)} cannot be read: {error}")
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield number, line.strip()
