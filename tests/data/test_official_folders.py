"""Miniature trees of UCF-101 and HMDB-51 as their archives unpack: real clips where there are any, else empty files."""

import shutil
import unicodedata
import warnings
from pathlib import Path

import pytest

from kdvideo.data import (
    ManifestError,
    PairedClips,
    from_hmdb51_folder,
    from_hmdb51_lists,
    from_ucf101_folder,
    hmdb51_group,
    shared_groups,
    ucf101_group,
)
from kdvideo.flow import EstimatorSource

G23, G24 = (f"SoccerJuggling/v_SoccerJuggling_g{number}_c01.avi" for number in (23, 24))
HAND = "HandstandPushups/v_HandStandPushups_g08_c01.avi"  # the data set spells it in two ways
# Names that the data set has, and one with an accent.
AWKWARD = [
    "Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!_brush_hair_h_cm_np1_fr_goo_0.avi",
    "Goalkeeper_Training_Day_#_2_catch_f_cm_np1_ba_bad_0.avi",
    "(Rad)Schlag die Bank! & more_cartwheel_f_cm_np1_le_med_0.avi",
    "Espa\u00f1a; l'\u00e9t\u00e9_wave_u_nm_np1_fr_med_1.avi",
]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode())


def touch(folder, *names):
    for name in names:
        write(folder / name, "")


@pytest.fixture
def ucf(tmp_path):
    touch(tmp_path / "UCF-101", G23, G24, HAND)
    lists = tmp_path / "ucfTrainTestlist"
    write(lists / "classInd.txt", "1 HandstandPushups\r\n2 SoccerJuggling\r\n")
    write(lists / "trainlist01.txt", f"{HAND} 1\r\n{G23} 2\r\n")
    write(lists / "testlist01.txt", f"{G24}\r\n")
    return tmp_path


@pytest.fixture
def hmdb(tmp_path):
    lists = tmp_path / "testTrainMulti_7030_splits"
    touch(tmp_path / "hmdb51", *(f"wave/{name}" for name in AWKWARD), "sword/a.avi", "sword_exercise/b.avi")
    write(lists / "wave_test_split1.txt", "".join(f"{name} {i % 3} \r\n" for i, name in enumerate(AWKWARD)))
    write(lists / "sword_test_split1.txt", "a.avi 1 \n")
    write(lists / "sword_exercise_test_split1.txt", "b.avi 2 \n")
    touch(lists, "._wave_test_split1.txt")  # left by archivers of macOS
    return tmp_path


def problems(call, *args, **options):
    with pytest.raises(ManifestError) as info:
        call(*args, **options)
    return [text for _, text in info.value.problems]


def test_ucf101(ucf):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        train, test = (from_ucf101_folder(ucf, split=1, subset=subset) for subset in ("train", "test"))
    assert train["clip"][:] == [HAND, G23]
    assert train["label"][:] == [0, 1]
    assert test["clip"][:] == [G24]
    assert test["label"][:] == [1]
    assert train.features["label"].names == test.features["label"].names == ["HandstandPushups", "SoccerJuggling"]
    assert shared_groups(train, test, ucf101_group) == []


@pytest.mark.parametrize(
    ("clips", "lists"),
    [
        ("UCF101", "UCF101TrainTestSplits-RecognitionTask/ucfTrainTestlist"),
        ("videos", "annotations"),
        (".", "ucfTrainTestlist"),
        (".", "."),
    ],
)
def test_other_places_of_ucf101(ucf, tmp_path_factory, clips, lists):
    other = tmp_path_factory.mktemp("other")
    shutil.copytree(ucf / "UCF-101", other / clips, dirs_exist_ok=True)
    shutil.copytree(ucf / "ucfTrainTestlist", other / lists, dirs_exist_ok=True)
    assert from_ucf101_folder(other, subset="test")["path"][:] == [str((other / clips / G24).resolve())]


def test_what_is_missing_of_ucf101_is_named(ucf):
    assert problems(from_ucf101_folder, ucf / "none") == ["no such folder"]
    (ucf / "ucfTrainTestlist" / "testlist01.txt").unlink()
    (text,) = problems(from_ucf101_folder, ucf)
    assert text.startswith("no testlist01.txt in any of 'ucfTrainTestlist', ")
    assert len(problems(from_ucf101_folder, ucf, split=2)) == 2
    shutil.rmtree(ucf / "ucfTrainTestlist")
    names = [text.split()[1] for text in problems(from_ucf101_folder, ucf)]
    assert names == ["classInd.txt", "testlist01.txt", "trainlist01.txt"]


def test_there_are_three_splits_and_two_parts(ucf):
    for read in (from_ucf101_folder, from_hmdb51_folder):
        for split in (0, 4, "1"):
            with pytest.raises(ValueError, match="split must be 1, 2 or 3, got"):
                read(ucf, split=split)
        with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
            read(ucf, subset="val")
    with pytest.raises(ValueError, match="'train' or 'test', got 'val'"):
        from_hmdb51_lists(ucf, root=ucf, split=1, subset="val")


def test_class_folders_that_disagree_with_the_lists(ucf):
    (ucf / "UCF-101" / "SoccerJuggling").rename(ucf / "UCF-101" / "Soccer_Juggling")
    (ucf / "UCF-101" / "empty").mkdir()
    touch(ucf / "UCF-101" / ".cache", "a.avi")
    assert problems(from_ucf101_folder, ucf) == [
        "folders that no list names: 'Soccer_Juggling'",
        "no folder of the class 'SoccerJuggling'",
    ]
    with (
        pytest.warns(UserWarning, match="1 of 2 clips are missing"),
        pytest.warns(UserWarning, match="no list names: 'Soccer_Juggling'; their clips are not used"),
    ):
        assert from_ucf101_folder(ucf, allow_missing=True)["clip"][:] == [HAND]
    (ucf / "UCF-101" / "HandstandPushups").rename(ucf / "UCF-101" / "handstand")
    (text,) = problems(from_ucf101_folder, ucf)
    assert text.startswith("no class folder such as 'HandstandPushups' in any of 'UCF-101', ")


def test_a_clip_listed_in_the_folder_of_another_class(ucf):
    wrong = "HandstandPushups/v_SoccerJuggling_g23_c02.avi"
    touch(ucf / "UCF-101", wrong)
    write(ucf / "ucfTrainTestlist" / "trainlist01.txt", f"{G23} 2\n{wrong} 1\n")
    (text,) = problems(from_ucf101_folder, ucf)
    assert text == f"a clip of 'SoccerJuggling' in the folder of 'HandstandPushups': {wrong!r}"


def test_a_group_in_both_lists_is_a_leak(ucf):
    again = G24.replace("c01", "c07")
    write(ucf / "ucfTrainTestlist" / "trainlist01.txt", f"{G23} 2\n{again} 2\n")
    for subset in ("train", "test"):
        (text,) = problems(from_ucf101_folder, ucf, subset=subset)
        assert text == "1 group(s) are also in trainlist01.txt, first ('SoccerJuggling', 24)"


def test_missing_clips_up_to_a_fraction(ucf):
    names = [f"SoccerJuggling/v_SoccerJuggling_g01_c{i:02d}.avi" for i in range(20)]
    touch(ucf / "UCF-101", *names[2:])
    write(ucf / "ucfTrainTestlist" / "trainlist01.txt", "".join(f"{name} 2\n" for name in names))
    assert problems(from_ucf101_folder, ucf) == [f"no such file {name!r}" for name in names[:2]]
    found = problems(from_ucf101_folder, ucf, allow_missing=0.09)
    assert found[0] == "2 of 20 clips are missing, more than the 9.00% allowed"
    assert len(found) == 3
    for allowed in (0.1, True):
        with pytest.warns(UserWarning, match=rf"2 of 20 clips are missing and left out, first '{names[0]}', '"):
            assert from_ucf101_folder(ucf, allow_missing=allowed)["clip"][:] == names[2:]
    shutil.rmtree(ucf / "UCF-101" / "SoccerJuggling")
    (ucf / "UCF-101" / "SoccerJuggling").mkdir()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert problems(from_ucf101_folder, ucf, allow_missing=True)[0].startswith("20 of 20 clips are missing")
    with pytest.raises(ValueError, match="fraction of the clips, 0 to 1, got 5"):
        from_ucf101_folder(ucf, allow_missing=5)


def test_hmdb51(hmdb):
    train, test = (from_hmdb51_folder(hmdb, split=1, subset=subset) for subset in ("train", "test"))
    assert train["clip"][:] == ["sword/a.avi", f"wave/{AWKWARD[1]}"]
    assert test["clip"][:] == ["sword_exercise/b.avi", f"wave/{AWKWARD[2]}"]
    # As in torchvision and others: sorted class names, although the names of the files sort otherwise.
    assert train.features["label"].names == test.features["label"].names == ["sword", "sword_exercise", "wave"]
    assert test["label"][:] == [1, 2]
    assert all(Path(path).is_file() for path in [*train["path"], *test["path"]])


@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize("other", ["NFC", "NFD"])
def test_accents_in_either_form(hmdb, form, other):
    name = AWKWARD[3]
    (hmdb / "hmdb51" / "wave" / name).rename(hmdb / "hmdb51" / "wave" / unicodedata.normalize(form, name))
    lists = hmdb / "testTrainMulti_7030_splits"
    write(lists / "wave_test_split1.txt", unicodedata.normalize(other, name) + " 1\n")
    (path,) = from_hmdb51_folder(hmdb)["path"][1:]
    assert Path(path).name == unicodedata.normalize(form, name)


@pytest.mark.parametrize(
    ("clips", "lists"),
    [
        ("hmdb51_org", "test_train_splits/testTrainMulti_7030_splits"),
        ("videos", "annotations"),
        (".", "test_train_splits"),
        (".", "."),
    ],
)
def test_other_places_of_hmdb51(hmdb, tmp_path_factory, clips, lists):
    other = tmp_path_factory.mktemp("other [of] #1")
    shutil.copytree(hmdb / "hmdb51", other / clips, dirs_exist_ok=True)
    shutil.copytree(hmdb / "testTrainMulti_7030_splits", other / lists, dirs_exist_ok=True)
    assert len(from_hmdb51_folder(other)) == 2


def test_what_is_wrong_with_hmdb51_is_named(hmdb):
    lists = hmdb / "testTrainMulti_7030_splits"
    assert problems(from_hmdb51_folder, hmdb, split=2)[0].startswith("no <class>_test_split2.txt in any of 'testTrain")
    (hmdb / "hmdb51" / "sword" / "a.avi").rename(hmdb / "hmdb51" / "sword.rar")
    (hmdb / "hmdb51" / "sword").rmdir()
    assert problems(from_hmdb51_folder, hmdb) == ["no folder of the class 'sword' (sword.rar is not unpacked)"]
    for name in ("wave", "sword_exercise"):
        shutil.rmtree(hmdb / "hmdb51" / name)
    (text,) = problems(from_hmdb51_folder, hmdb)
    assert text.startswith("no class folder such as 'sword' (sword.rar is not unpacked) in any of 'hmdb51', ")
    touch(hmdb / "hmdb51", *(f"wave/{name}" for name in AWKWARD), "sword_exercise/b.avi")
    (lists / "sword_test_split1.txt").unlink()
    write(lists / "sword_exercise_test_split1.txt", "b.avi 2\nb.avi 1\nc.avi\nd.avi 3\n")
    assert problems(from_hmdb51_folder, hmdb) == [
        "sword_exercise_test_split1.txt: 'b.avi' is listed again (first on line 1)",
        "sword_exercise_test_split1.txt: expected clip.avi and 0, 1 or 2, got 'c.avi'",
        "sword_exercise_test_split1.txt: expected clip.avi and 0, 1 or 2, got 'd.avi 3'",
    ]
    (lists / "sword_exercise_test_split1.txt").write_bytes("Espa\u00f1a.avi 2\n".encode("latin-1"))
    assert "sword_exercise_test_split1.txt cannot be read: 'utf-8'" in problems(from_hmdb51_folder, hmdb)[0]


def test_groups_of_names():
    assert ucf101_group({"clip": HAND}) == ("HandStandPushups", 8)
    assert ucf101_group({"clip": "a/b.avi"}) is None
    rows = [{"clip": f"{folder}/{name}"} for folder, name in zip(("brush_hair", "catch"), AWKWARD, strict=False)]
    sources = ["Brushing_Her_Hair__[_NEW_AUDIO_]_UPDATED!!!!", "Goalkeeper_Training_Day_#_2"]
    assert [hmdb51_group(row) for row in rows] == sources
    unnamed = {"clip": "catch/a.avi"}
    assert hmdb51_group(unnamed) is None
    assert shared_groups([*rows, unnamed], [rows[1], unnamed], hmdb51_group) == sources[1:]


def test_real_clips(shared, tmp_path):
    source = shared / "data" / "clips" / "torchvision_videos"
    for clip in (G23, G24):
        (tmp_path / "UCF-101/SoccerJuggling").mkdir(parents=True, exist_ok=True)
        shutil.copy(source / Path(clip).name, tmp_path / "UCF-101" / clip)
    write(tmp_path / "ucfTrainTestlist/classInd.txt", "1 SoccerJuggling\n")
    write(tmp_path / "ucfTrainTestlist/trainlist01.txt", f"{G23} 1\n")
    write(tmp_path / "ucfTrainTestlist/testlist01.txt", f"{G24}\n")
    waves = sorted(path.name for path in source.glob("*_wave_*.avi"))
    wheel = "Turnk_r_Pippi_Michel_cartwheel_f_cm_np2_le_med_6.avi"
    lists = tmp_path / "testTrainMulti_7030_splits"
    for folder in ("wave", "cartwheel"):
        (tmp_path / "hmdb51" / folder).mkdir(parents=True)
    shutil.copy(source / f"hmdb51_{wheel}", tmp_path / "hmdb51/cartwheel" / wheel)
    for name in waves:
        shutil.copy(source / name, tmp_path / "hmdb51/wave" / name)
    write(lists / "wave_test_split1.txt", "".join(f"{name} {1 + i % 2} \n" for i, name in enumerate(waves)))
    write(lists / "cartwheel_test_split1.txt", f"{wheel} 1 \n")
    size = {"frames": 3, "short_side": 24, "crop": 16, "train": False, "flow": EstimatorSource()}
    seen = {}
    for read in (from_ucf101_folder, from_hmdb51_folder):
        parts = {subset: read(tmp_path, subset=subset) for subset in ("train", "test")}
        group = ucf101_group if read is from_ucf101_folder else hmdb51_group
        assert shared_groups(parts["train"], parts["test"], group) == []
        for subset, manifest in parts.items():
            items = list(PairedClips(manifest, **size))
            assert all(item["rgb"].std() > 0.05 and item["flow"].shape == (2, 3, 16, 16) for item in items)
            seen[read.__name__, subset] = [item["clip"] for item in items]
    assert seen["from_ucf101_folder", "train"] == [G23]
    assert seen["from_ucf101_folder", "test"] == [G24]
    assert seen["from_hmdb51_folder", "train"] == [f"cartwheel/{wheel}", f"wave/{waves[0]}", f"wave/{waves[2]}"]
    assert seen["from_hmdb51_folder", "test"] == [f"wave/{waves[1]}"]
