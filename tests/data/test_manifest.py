import unicodedata
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kdvideo.data import (
    ManifestError,
    from_csv,
    from_folder,
    from_hmdb51_lists,
    from_ucf101_list,
    split_by_group,
)


def touch(root, *names):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def problems(call, *args, **options):
    with pytest.raises(ManifestError) as info:
        call(*args, **options)
    return info.value.problems


def test_folder_per_class(tmp_path):
    touch(
        tmp_path,
        "run/b.mp4",
        "run/deep/a.AVI",
        "jump/1.webm",
        "jump/notes.txt",
        ".git/x.mp4",
        "run/._b.mp4",
        "x.mp4",
    )
    manifest = from_folder(tmp_path)
    assert manifest.features["label"].names == ["jump", "run"]
    assert manifest["clip"][:] == ["jump/1.webm", "run/b.mp4", "run/deep/a.AVI"]
    assert manifest["label"][:] == [0, 1, 1]
    assert all(Path(path).is_file() for path in manifest["path"])
    assert manifest[0]["start"] is None
    assert manifest[0]["end"] is None


def test_folders_without_clips(tmp_path):
    assert problems(from_folder, tmp_path / "none") == [(0, "no such folder")]
    assert problems(from_folder, tmp_path) == [(0, "no folder of clips in it")]
    touch(tmp_path, "run/a.mp4", "jump/notes.txt", "sit/.mp4")
    text = "class folder 'jump' holds no clip"
    assert problems(from_folder, tmp_path) == [(0, text), (0, "class folder 'sit' holds no clip")]
    with pytest.raises(ManifestError, match=f"{tmp_path}(.|\n)*{text}"):
        from_folder(tmp_path)


def write(tmp_path, text, name="list.csv"):
    (tmp_path / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return tmp_path / name


@pytest.mark.parametrize(
    "text",
    [
        "a b.mp4,run\nc.mp4,jump\n",
        "path,label\na b.mp4,run\nc.mp4,jump\n",
        "Label,Path,extra\nrun,a b.mp4,1\njump,c.mp4,2\n",
        b"\xef\xbb\xbfpath,label\r\na b.mp4,run\r\nc.mp4,jump\r\n",
        '"a b.mp4", "run"\n\n c.mp4 ,\tjump\n'.replace(', "', ',"'),
    ],
)
@pytest.mark.reliability("B9")
def test_csv_dialects(tmp_path, text):
    """Fails when `decoded` keeps the byte order mark."""
    touch(tmp_path, "a b.mp4", "c.mp4")
    manifest = from_csv(write(tmp_path, text))
    assert manifest["clip"][:] == ["a b.mp4", "c.mp4"]
    assert manifest.features["label"].names == ["jump", "run"]
    assert manifest["label"][:] == [1, 0]


def test_csv_with_numbers_parts_and_absolute_paths(tmp_path):
    touch(tmp_path, "in/a.mp4", "out/b.mp4")
    text = f"a.mp4,2,0,1.5\na.mp4,0,1.5,3\n{tmp_path}/in/a.mp4,1,,\n{tmp_path}/out/b.mp4,1,4,\n"
    manifest = from_csv(write(tmp_path, text), root=tmp_path / "in")
    assert manifest["label"][:] == [2, 0, 1, 1]
    assert manifest.features["label"].names == ["0", "1", "2"]
    outside = f"{tmp_path}/out/b.mp4@4.0-end".lstrip("/")
    assert manifest["clip"][:] == ["a.mp4@0.0-1.5", "a.mp4@1.5-3.0", "a.mp4", outside]
    assert manifest["start"][:] == [0, 1.5, None, 4]
    assert manifest["end"][:] == [1.5, 3, None, None]


def test_csv_with_given_classes(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    file = write(tmp_path, "a.mp4,run\nb.mp4,0\nc.mp4,7\n")
    assert from_csv(file, classes=["sit", "run", "7"])["label"][:] == [1, 0, 2]
    assert problems(from_csv, file, classes=["sit", "run"]) == [(3, "label 7 is not in 0..1")]
    assert problems(from_csv, file, classes=["sit", "sit"])[0] == (0, "a class is named twice")


def test_class_names_in_either_unicode_form_are_one_class(tmp_path):
    touch(tmp_path, "a.mp4", "b.mp4")
    manifest = from_csv(write(tmp_path, "a.mp4,caf\u00e9\nb.mp4,cafe\u0301\n"))
    assert manifest.features["label"].names == ["caf\u00e9"]


@pytest.mark.faults
@pytest.mark.reliability("B9")
def test_every_bad_row_is_named_in_one_report(tmp_path):
    """Fails when `_clips` leaves out a segment that ends before it starts without a word."""
    touch(tmp_path, "a.mp4", "b.mp4", "c.mp4")
    rows = [
        "a.mp4,0",
        "b.mp4,1.0",
        "b.mp4,-1",
        "b.mp4,",
        ",1",
        "b.mp4",
        "b.mp4,run",
        "a.mp4,0",
        "a.mp4,1",
        "../c.mp4,1",
        "x/../../c.mp4,1",
        "none.mp4,1",
        "c.mp4,1,2,1",
        "c.mp4,1,x,",
        "c.mp4,1,-1,inf",
        "c.mp4,1,nan,2",
        "b.mp4,1,2",
        "c.mp4,0,1,2,3",
        "c.mp4,1e99",
        "c.mp4,0",
    ]
    found = problems(from_csv, write(tmp_path, "\n".join(rows)))
    assert {line for line, _ in found} == set(range(2, 20))
    text = str(ManifestError("list.csv", found))
    for part in (
        "line 2: label '1.0' is not a whole number from 0",
        "line 3: label '-1'",
        "line 4: no label",
        "line 5: no path",
        "line 6: expected path,label",
        "line 7: label 'run': names and numbers are mixed",
        "line 8: 'a.mp4' is listed again (first on line 1)",
        "line 9: 'a.mp4' is listed again with another label (first on line 1)",
        "line 10: path '../c.mp4' leads out of",
        "line 11: path 'x/../../c.mp4' leads out of",
        "line 12: no such file 'none.mp4'",
        "line 13: end 1.0 is not after start 2.0",
        "line 14: start 'x' is not a time",
        "line 15: end 'inf' is not a time",
        "line 16: start 'nan' is not a time",
    ):
        assert part in text


def test_label_out_of_range_and_other_files(tmp_path):
    touch(tmp_path, "a.mp4")
    assert problems(from_csv, write(tmp_path, "")) == [(0, "no clip in it")]
    assert problems(from_csv, write(tmp_path, "path,label\n")) == [(0, "no clip in it")]
    assert "cannot be read" in problems(from_csv, tmp_path / "none.csv")[0][1]
    assert "cannot be read" in problems(from_csv, write(tmp_path, b"\xff\x00a.mp4,1"))[0][1]
    assert "cannot be read" in problems(from_csv, write(tmp_path, 'a.mp4,"run\n'))[0][1]
    assert "from 0 to 99999" in problems(from_csv, write(tmp_path, "a.mp4,123456"))[0][1]
    assert problems(from_csv, write(tmp_path, "a.mp4,5"), classes=["a", "b"]) == [(1, "label 5 is not in 0..1")]


def test_swapped_columns_are_seen(tmp_path):
    """Fails when nobody looks whether the labels are the files."""
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).touch()
    found = problems(from_csv, write(tmp_path, "run,a.mp4\njump,b.mp4\n"))
    assert found[0] == (0, "the labels are files: a row must be path,label in this order")
    assert len(found) == 3


def test_missing_clips_are_counted_and_left_out_only_when_allowed(tmp_path):
    touch(tmp_path, "a.mp4")
    file = write(tmp_path, "a.mp4,run\nb.mp4,sit\nc.mp4,run\n")
    assert [line for line, _ in problems(from_csv, file)] == [2, 3]
    with pytest.warns(UserWarning, match=r"2 of 3 clips are missing and left out, first 'b\.mp4'"):
        manifest = from_csv(file, allow_missing=True)
    assert manifest["clip"][:] == ["a.mp4"]
    assert manifest.features["label"].names == ["run", "sit"]
    for share in ("yes", 2, -0.1):
        with pytest.raises(ValueError, match=f"allow_missing must be a fraction of the clips, 0 to 1, got {share!r}"):
            from_csv(file, allow_missing=share)


FIELD = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
LABELS = st.one_of(FIELD, st.integers(-3, 9).map(str), st.floats().map(str), st.sampled_from(["run", "sit"]))
ROWS = st.lists(st.tuples(st.sampled_from(["a.mp4", "b.mp4", "../a.mp4", "", "none.mp4"]), LABELS), max_size=5)
GOOD = st.tuples(*(st.tuples(st.just(path), st.integers(0, 9).map(str)) for path in ("a.mp4", "b.mp4")))


@settings(deadline=None, max_examples=60)
@given(st.one_of(ROWS, GOOD))
@pytest.mark.faults
@pytest.mark.reliability("B9")
@pytest.mark.filterwarnings("ignore:.*never 0")
def test_any_csv_is_a_manifest_or_one_report(tmp_path_factory, rows):
    """Fails when `_labels` takes every number for class 0."""
    folder = tmp_path_factory.mktemp("csv")
    touch(folder, "a.mp4", "b.mp4")
    quoted = ["{},{}".format(*('"' + value.replace('"', '""') + '"' for value in row)) for row in rows]
    file = write(folder, "\n".join(quoted))
    try:
        manifest = from_csv(file)
    except ManifestError:
        return
    names = manifest.features["label"].names
    wanted = {path: label.strip() for path, label in rows if label.strip() or path}
    for row in manifest:  # no row has become label 0 in silence
        label = wanted[row["clip"]]
        assert names[row["label"]] == unicodedata.normalize("NFC", label) or int(label) == row["label"]


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200))
@pytest.mark.faults
@pytest.mark.reliability("B9")
def test_any_bytes_are_a_report(tmp_path_factory, data):
    """Fails when `read_table` does not report what is not UTF-8."""
    with pytest.raises(ManifestError):
        from_csv(write(tmp_path_factory.mktemp("csv"), data))


def test_groups_are_never_split(tmp_path):
    touch(tmp_path, *(f"c{i % 3}/{i}_{i % 7}.mp4" for i in range(42)))
    manifest = from_folder(tmp_path)

    def group(row):
        return int(Path(row["clip"]).stem.split("_")[1])

    held = []
    for fold in range(3):
        train, test = split_by_group(manifest, group, folds=3, fold=fold)
        assert len(train) + len(test) == 42
        assert not {group(row) for row in train} & {group(row) for row in test}
        assert {group(row) for row in test} == set(range(7)[fold::3])
        held += test["clip"][:]
    assert sorted(held) == sorted(manifest["clip"])
    with pytest.raises(ValueError, match=r"0\.\.2"):
        split_by_group(manifest, group, folds=3, fold=3)
    with pytest.raises(ValueError, match="7 groups"):
        split_by_group(manifest, group, folds=9, fold=8)
    with pytest.raises(ValueError, match="1 groups"):
        split_by_group(manifest, lambda row: 0, folds=2, fold=0)


INDEX = "1 ApplyEyeMakeup\n2 BandMarching\n"
EYE, BAND = "ApplyEyeMakeup/v_ApplyEyeMakeup_g08_c01.avi", "BandMarching/v_BandMarching_g01_c02.avi"


def test_ucf101(tmp_path):
    touch(tmp_path, EYE, BAND)
    index = write(tmp_path, INDEX.replace("\n", "\r\n"), "classInd.txt")
    for text in (f"{BAND} 2\r\n{EYE} 1\r\n", f"{BAND}\n{EYE}\n"):
        manifest = from_ucf101_list(write(tmp_path, text, "list.txt"), root=tmp_path, class_index=index)
        assert manifest["label"][:] == [1, 0]
        assert manifest["clip"][:] == [BAND, EYE]
        assert manifest.features["label"].names == ["ApplyEyeMakeup", "BandMarching"]
    text = f"{EYE} 2\n{EYE} 0\nrubbish\nNone/a.avi\n{BAND}\n"
    found = problems(from_ucf101_list, write(tmp_path, text, "list.txt"), root=tmp_path, class_index=index)
    assert [line for line, _ in found] == [1, 2, 3, 4, 4]
    bad = write(tmp_path, "1 A\n3 B\n", "bad.txt")
    assert problems(from_ucf101_list, tmp_path / "list.txt", root=tmp_path, class_index=bad)[0][0] == 2


def test_hmdb51(tmp_path):
    touch(tmp_path, "clips/wave/a.avi", "clips/wave/b b.avi", "clips/cartwheel/c.avi", "clips/cartwheel/d.avi")
    write(tmp_path, "a.avi 1 \nb b.avi 2 \n", "wave_test_split1.txt")
    write(tmp_path, "c.avi 0 \nd.avi 1 \n", "cartwheel_test_split1.txt")
    write(tmp_path, "c.avi 2\n", "cartwheel_test_split2.txt")
    train = from_hmdb51_lists(tmp_path, root=tmp_path / "clips", split=1, subset="train")
    test = from_hmdb51_lists(tmp_path, root=tmp_path / "clips", split=1, subset="test")
    assert train["clip"][:] == ["cartwheel/d.avi", "wave/a.avi"]
    assert test["clip"][:] == ["wave/b b.avi"]
    assert test.features["label"].names == ["cartwheel", "wave"]
    assert test["label"][:] == [1]
    assert "no file" in problems(from_hmdb51_lists, tmp_path, root=tmp_path, split=3, subset="test")[0][1]
    write(tmp_path, "a.avi 3\n", "wave_test_split1.txt")
    found = problems(from_hmdb51_lists, tmp_path, root=tmp_path / "clips", split=1, subset="test")
    assert found[0][0] == 1
    assert "wave_test_split1.txt" in found[0][1]


def test_real_folders(shared):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        manifest = from_folder(shared / "data" / "ut_interaction" / "set1")
    assert len(manifest) == 60
    assert manifest.features["label"].names[2] == "2_kicking"
