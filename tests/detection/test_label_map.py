"""Label maps."""

from pathlib import Path

import pytest

from kdvideo.detection import read_label_map


def write(folder: Path, text: str) -> Path:
    path = folder / "list.pbtxt"
    path.write_text(text)
    return path


def test_avas_lists(shared: Path) -> None:
    folder = shared / "data/ava"
    (path,) = (folder / "activitynet_ava/Evaluation/ava").glob("*.pbtxt.txt")
    classes = read_label_map(path)
    assert len(classes) == 60
    assert (min(classes), max(classes)) == (1, 80)
    assert classes[1] == "bend/bow (at the waist)"
    assert classes[79] == "talk to (e.g., self, a person, a group)"
    twice = read_label_map(folder / "ava_dataset/action_list.txt")
    assert twice == {12: "action1", 17: "action2", 79: "action3", 80: "action3"}


def test_the_layout_of_all_eighty(tmp_path: Path) -> None:
    text = "label {\n  name: \"id: 5 {\"\n  label_id: 3\n  label_type: PERSON_MOVEMENT\n}\nitem { id: 7 name: 'sit' }\n"
    assert read_label_map(write(tmp_path, text.replace('{"', '"'))) == {3: "id: 5 ", 7: "sit"}


def test_comments_and_braces_in_names(tmp_path: Path) -> None:
    text = """
    # item { name: 'old' id: 1 }
    item { name: "hold {sth} #2" id: 2 }  # the second
    item { name: "one's" id: 3 }
    """
    assert read_label_map(write(tmp_path, text)) == {2: "hold {sth} #2", 3: "one's"}


def test_other_encodings(tmp_path: Path) -> None:
    path = tmp_path / "list.pbtxt"
    path.write_bytes('item { name: "café" id: 1 }'.encode("latin-1"))
    with pytest.raises(ValueError, match=r"list\.pbtxt: the file must be UTF-8"):
        read_label_map(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "no class in it"),
        ("sit\nstand\n", "no class in it"),
        ('item {\n  name: "a"\n  id: 1\n}\nitem {\n  name: "b"\n  id: 1\n}\n', "line 5: ids must be given once"),
        ('item {\n  name: "a"\n  id: 0\n}\n', "line 1: ids must be 1 or more, got 0"),
        ('item {\n  name: "a"\n}\n', "line 1: a class must have a name, an id"),
        ("item {\n  id: 1\n}\n", "line 1: a class must have a name, an id"),
        ('item { name: "a" id: 1.5 }', "line 1: a class must have a name, an id"),
        ('item { name: "a" id: 1 }\nitem {\n name: "b"\n id: 2\n', "line 2: .*and a closing brace"),
        ('item { name: "a" id: 1 }\nitem { name: "b"\nitem { name: "c" id: 3 }', "line 2: a class must have"),
    ],
)
def test_bad_lists(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(ValueError, match=rf"list\.pbtxt: {message}"):
        read_label_map(write(tmp_path, text))
