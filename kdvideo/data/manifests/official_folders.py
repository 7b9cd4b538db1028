"""Manifests of UCF-101 and HMDB-51 from one folder, in which clips and official lists lie as their archives unpack."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from kdvideo.data.manifests.manifest import ManifestError
from kdvideo.data.manifests.official_lists import PathLike, class_names, from_hmdb51_lists, from_ucf101_list
from kdvideo.data.manifests.scanning import VIDEO_EXTENSIONS

if TYPE_CHECKING:
    from datasets import Dataset

Subset = Literal["train", "test"]
UCF101_CLIPS = ("UCF-101", "UCF101", "videos", ".")
UCF101_LISTS = ("ucfTrainTestlist", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist", "annotations", ".")
HMDB51_CLIPS = ("hmdb51", "hmdb51_org", "videos", ".")
HMDB51_LISTS = (
    "testTrainMulti_7030_splits",
    "test_train_splits/testTrainMulti_7030_splits",
    "test_train_splits",
    "annotations",
    ".",
)


def from_ucf101_folder(
    root: PathLike, *, split: int = 1, subset: Subset = "train", allow_missing: float = False
) -> Dataset:
    """Read the manifest of one part of an official UCF-101 split from the unpacked data set.

    Below `root` the clips `<Class>/v_<Class>_g01_c01.avi` lie in `UCF-101`, `UCF101`, `videos` or `root` itself;
    `classInd.txt`, `trainlist0<split>.txt` and `testlist0<split>.txt` in `ucfTrainTestlist` (also as its archive
    `UCF101TrainTestSplits-RecognitionTask` has it), `annotations` or `root` itself. The first that has them counts.

    Args:
        root: the folder of the data set.
        split: 1, 2 or 3; the paper's Table 4 is split 1.
        subset: "train" or "test".
        allow_missing: leave out, with a warning that counts them, clips that are not there: True for any number,
            0.01 for at most one in a hundred.

    Returns:
        The manifest, a `datasets.Dataset` with the columns `path`, `label`, `clip`, `start`, `end` and `bytes`.

    Raises:
        ManifestError: names the files or class folders that are not there, every bad row of a list, or the groups
            that both lists of the split have.
        ValueError: another split or subset.

    Examples:
        >>> import tempfile
        >>> clip = "Archery/v_Archery_g08_c01.avi"
        >>> with tempfile.TemporaryDirectory() as root:
        ...     (Path(root) / "UCF-101/Archery").mkdir(parents=True)
        ...     (Path(root) / "UCF-101" / clip).touch()
        ...     lists = Path(root) / "ucfTrainTestlist"
        ...     lists.mkdir()
        ...     _ = (lists / "classInd.txt").write_text("1 Archery")
        ...     _ = (lists / "trainlist01.txt").write_text(f"{clip} 1")
        ...     _ = (lists / "testlist01.txt").write_text("Archery/v_Archery_g01_c01.avi")
        ...     from_ucf101_folder(root, split=1, subset="train")["clip"][:]
        ['Archery/v_Archery_g08_c01.avi']

    Source:
        Soomro, Zamir, Shah, "UCF101", 2012, arXiv 1212.0402.
    """
    _check_part(split, subset)
    files = ["classInd.txt", f"trainlist0{split}.txt", f"testlist0{split}.txt"]
    lists = _find(root, UCF101_LISTS, lambda folder: [name for name in files if not (folder / name).is_file()])
    index, train, test = (lists / name for name in files)
    clips = _clips_folder(root, UCF101_CLIPS, class_names(index), allow_missing)
    leak = shared_groups(_clips_of(train), _clips_of(test), ucf101_group)
    if leak:
        text = f"{len(leak)} group(s) are also in {train.name}, first {', '.join(map(str, leak[:5]))}"
        raise ManifestError(os.fspath(test), [(0, text)])
    chosen = train if subset == "train" else test
    return from_ucf101_list(chosen, root=clips, class_index=index, allow_missing=allow_missing)


def from_hmdb51_folder(
    root: PathLike, *, split: int = 1, subset: Subset = "train", allow_missing: float = False
) -> Dataset:
    """Read the manifest of one part of an official HMDB-51 split from the unpacked data set.

    Below `root` the clips `<class>/<clip>.avi` lie in `hmdb51`, `hmdb51_org`, `videos` or `root` itself; the files
    `<class>_test_split<split>.txt` in `testTrainMulti_7030_splits`, also within `test_train_splits`, in
    `test_train_splits`, `annotations` or `root` itself. The first that has them counts.

    Args:
        root: the folder of the data set.
        split: 1, 2 or 3; the paper's Table 4 is split 1.
        subset: "train" or "test".
        allow_missing: leave out, with a warning that counts them, clips that are not there: True for any number,
            0.01 for at most one in a hundred.

    Returns:
        The manifest, a `datasets.Dataset` with the columns `path`, `label`, `clip`, `start`, `end` and `bytes`.

    Raises:
        ManifestError: names the files or class folders that are not there, or every bad row of a list.
        ValueError: another split or subset.

    Examples:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as root:
        ...     for folder in ("hmdb51/wave", "testTrainMulti_7030_splits"):
        ...         (Path(root) / folder).mkdir(parents=True)
        ...     (Path(root) / "hmdb51/wave/[HD]_hello_#2.avi").touch()
        ...     _ = (Path(root) / folder / "wave_test_split1.txt").write_text("[HD]_hello_#2.avi 2")
        ...     from_hmdb51_folder(root, split=1, subset="test")["clip"][:]
        ['wave/[HD]_hello_#2.avi']

    Source:
        Kuehne et al., "HMDB: A Large Video Database for Human Motion Recognition", 2011.
    """
    _check_part(split, subset)
    ending = f"_test_split{split}.txt"
    lists = _find(root, HMDB51_LISTS, lambda folder: [] if _listed_classes(folder, ending) else [f"<class>{ending}"])
    clips = _clips_folder(root, HMDB51_CLIPS, _listed_classes(lists, ending), allow_missing)
    return from_hmdb51_lists(lists, root=clips, split=split, subset=subset, allow_missing=allow_missing)


def ucf101_group(clip: Mapping[str, Any]) -> tuple[str, int] | None:
    """Find the class and the group of a clip of UCF-101.

    The clips of a group were cut from one video. Groups are numbered within each class.

    Args:
        clip: a row of a manifest; its `clip` is read.

    Returns:
        (class, group), or None where the name has no group.

    Examples:
        >>> ucf101_group({"clip": "Archery/v_Archery_g08_c01.avi"})
        ('Archery', 8)
    """
    found = re.fullmatch(r"v_(.+)_g(\d+)_c\d+", Path(clip["clip"]).stem)
    return (found[1], int(found[2])) if found else None


def hmdb51_group(clip: Mapping[str, Any]) -> str | None:
    """Find the video that a clip of HMDB-51 was cut from.

    Args:
        clip: a row of a manifest; its `clip` is read.

    Returns:
        The name of the video, or None where that of the clip has another form.

    Examples:
        >>> hmdb51_group({"clip": "wave/TrumanShow_wave_f_nm_np1_fr_med_26.avi"})
        'TrumanShow'
    """
    found = re.fullmatch(r"(.+)_[a-z]+_[ncm]m_np\w_[a-z]+_[a-z]+_\d+", Path(clip["clip"]).stem)
    return found[1].removesuffix("_" + Path(clip["clip"]).parent.name) if found else None


def shared_groups(
    train: Iterable[Mapping[str, Any]], test: Iterable[Mapping[str, Any]], group: Callable[[Mapping[str, Any]], Any]
) -> list[Any]:
    """Find the groups that have clips in both parts: a test on them measures memory too.

    Args:
        train: the manifest of the training clips.
        test: the manifest of the test clips.
        group: the group of a row, such as `ucf101_group` and `hmdb51_group`; None belongs to no group.

    Returns:
        The groups, sorted; empty where the parts share none.

    Examples:
        >>> rows = [{"clip": f"Archery/v_Archery_g0{group}_c01.avi"} for group in (1, 2, 3)]
        >>> shared_groups(rows[:2], rows[1:], ucf101_group)
        [('Archery', 2)]
    """
    return sorted({group(row) for row in train} & {group(row) for row in test} - {None})


def _check_part(split: int, subset: str) -> None:
    if split not in (1, 2, 3):
        raise ValueError(f"split must be 1, 2 or 3, got {split!r}")
    if subset not in ("train", "test"):
        raise ValueError(f"subset must be 'train' or 'test', got {subset!r}")


def _find(root: PathLike, places: Sequence[str], lacks: Callable[[Path], list[str]]) -> Path:
    """Return the first place that lacks nothing; raise what the most complete one lacks."""
    if not Path(root).is_dir():
        raise ManifestError(os.fspath(root), [(0, "no such folder")])
    folders = [Path(os.path.normpath(Path(root, place))) for place in places]
    missing = {folder: lacks(folder) for folder in folders}
    best = min(folders, key=lambda folder: len(missing[folder]))
    if missing[best]:
        looked = ", ".join(map(repr, places))
        raise ManifestError(os.fspath(root), [(0, f"no {name} in any of {looked}") for name in missing[best]])
    return best


def _clips_folder(root: PathLike, places: Sequence[str], classes: Sequence[str], allow_missing: float) -> Path:
    """Return the first place with a folder of any class; where no clip may be missing, all must be there."""
    archive = f"{classes[0]}.rar"
    hint = f" ({archive} is not unpacked)" if any(Path(root, place, archive).is_file() for place in places) else ""
    wanted = f"class folder such as {classes[0]!r}{hint}"
    folder = _find(root, places, lambda folder: [] if any((folder / name).is_dir() for name in classes) else [wanted])
    missing = [name for name in classes if not (folder / name).is_dir()]
    others = [repr(p.name) for p in sorted(folder.iterdir()) if p.name not in classes and _holds_clips(p)]
    unlisted = f"folders that no list names: {', '.join(others)}"
    if missing and not allow_missing:
        packed = {name for name in missing if (folder / f"{name}.rar").is_file()}
        hints = {name: f" ({name}.rar is not unpacked)" if name in packed else "" for name in missing}
        problems = [f"no folder of the class {name!r}{hints[name]}" for name in missing]
        raise ManifestError(os.fspath(folder), [(0, text) for text in [*problems, *([unlisted] if others else [])]])
    if others:
        warnings.warn(f"{os.fspath(folder)}: {unlisted}; their clips are not used", stacklevel=3)
    return folder


def _holds_clips(folder: Path) -> bool:
    visible = folder.is_dir() and folder.name[0] != "."
    return visible and any(p.suffix.lower() in VIDEO_EXTENSIONS for p in folder.iterdir())


def _listed_classes(folder: Path, ending: str) -> list[str]:
    """Return the classes that have a list in a folder."""
    files = sorted(folder.glob("*" + ending)) if folder.is_dir() else []
    return sorted(file.name.removesuffix(ending) for file in files if file.name[0] != ".")


def _clips_of(file: Path) -> list[dict[str, str]]:
    lines = file.read_text(encoding="utf-8-sig", errors="replace").split("\n")
    return [{"clip": line.split()[0]} for line in lines if line.strip()]
