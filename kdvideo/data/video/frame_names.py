"""Folders of frames: numbered pictures of one name, which together are a clip."""

from __future__ import annotations

import re
from collections.abc import Iterable

IMAGE_EXTENSIONS = (".jpg", ".jpeg", ".png")
NUMBERED = re.compile(r"(.*?)([0-9]{1,9})(\.[A-Za-z]+)", re.DOTALL)


def frame_names(names: Iterable[str]) -> list[str]:
    """Return the names of pictures in the order of their numbers, or nothing if they are not the frames of one clip.

    They are that if there are two at least, all `<name><number>.<extension>` with one name and extension: pictures
    of flow, of two names, are none.

    Examples:
        >>> frame_names(["img_10.jpg", "img_9.jpg", "notes.txt"])
        ['img_9.jpg', 'img_10.jpg']
        >>> frame_names(["flow_x_1.jpg", "flow_y_1.jpg"])
        []
    """
    numbers: dict[int, str] = {}
    kinds: set[tuple[str, str]] = set()
    for name in names:
        if not name.lower().endswith(IMAGE_EXTENSIONS) or name.startswith("."):
            continue
        found = NUMBERED.fullmatch(name)
        if found is None:
            return []
        kinds.add((found[1], found[3].lower()))
        if len(kinds) > 1 or int(found[2]) in numbers:
            return []
        numbers[int(found[2])] = name
    return [numbers[number] for number in sorted(numbers)] if len(numbers) > 1 else []


def frame_number(name: str) -> int:
    """Return the number in a name that `frame_names` gave."""
    found = NUMBERED.fullmatch(name)
    assert found is not None
    return int(found[2])
