"""The picture of the rooms is what the code draws, and its arrows point down."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rooms():
    sys.path.insert(0, str(ROOT / "docs"))
    try:
        import draw_rooms
    finally:
        sys.path.remove(str(ROOT / "docs"))
    return draw_rooms


def test_the_picture_is_up_to_date(rooms) -> None:
    assert rooms.PICTURE.read_text() == rooms.draw(), "run: python docs/draw_rooms.py"


def test_arrows_point_down_and_every_room_of_the_library_is_drawn(rooms) -> None:
    floor = {room: level for level, line in enumerate(rooms.floors()) for room in line}
    assert all(floor[above] < floor[under] for above, under in rooms.arrows(set(floor)))
    library = {path.stem for path in (ROOT / "kdvideo").iterdir() if path.suffix == ".py" or path.is_dir()}
    assert {name for name in library if not name.startswith("_") and name != "__pycache__"} <= set(floor)
