"""Label maps: the evaluated action ids and their names."""

from __future__ import annotations

import os
import re
from pathlib import Path

from kdvideo.files import read_limited

LARGEST = 2**20  # bytes; 80 classes have 5,000
_QUOTED = r""""[^"\n]*"|'[^'\n]*'"""
_COMMENT = re.compile(rf"(?P<kept>{_QUOTED})|#[^\n]*")
_ITEM = re.compile(rf"\b(?:item|label)\s*\{{(?P<body>(?:{_QUOTED}|[^{{}}\"'])*)(?P<end>\}}?)")
_NAME = re.compile(r"""\bname\s*:\s*(?:"(?P<double>[^"\n]*)"|'(?P<single>[^'\n]*)')""")
_ID = re.compile(r"\b(?:label_id|id)\s*:\s*(?P<id>-?\d+)\b(?!\.)")


def read_label_map(path: str | os.PathLike[str]) -> dict[int, str]:
    r"""Read the classes of a `.pbtxt` file: id -> name, in its order.

    Both of AVA's layouts are read: `item { name: "sit" id: 11 }` of the 60 evaluated classes, and
    `label { name: "sit" label_id: 11 label_type: PERSON_MOVEMENT }` of all 80.

    Args:
        path: the file.

    Returns:
        Action id -> name, in the order of the file.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: not UTF-8 text, no class in the file; with its line, a class without name, id or closing brace, an
            id under 1 or given twice.

    Examples:
        >>> import tempfile, pathlib
        >>> file = pathlib.Path(tempfile.mkdtemp(), "list.pbtxt")
        >>> _ = file.write_text('item {\n  name: "sit"\n  id: 11\n}\nitem {\n  name: "stand"\n  id: 12\n}\n')
        >>> read_label_map(file)
        {11: 'sit', 12: 'stand'}
    """
    try:
        text = read_limited(Path(path), LARGEST).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{os.fspath(path)}: the file must be UTF-8 text: {error}") from error
    text = _COMMENT.sub(lambda found: found["kept"] or "", text)
    classes: dict[int, str] = {}
    for item in _ITEM.finditer(text):
        where = f"{os.fspath(path)}: line {text.count(chr(10), 0, item.start()) + 1}"
        body = _NAME.sub("", item["body"])
        name, number = _NAME.search(item["body"]), _ID.search(body)
        if name is None or number is None or not item["end"]:
            raise ValueError(f"{where}: a class must have a name, an id and a closing brace, got {item[0]!r}")
        action = int(number["id"])
        if action < 1 or action in classes:
            rule = "must be given once" if action in classes else "must be 1 or more"
            raise ValueError(f"{where}: ids {rule}, got {action}{' again' if action in classes else ''}")
        classes[action] = name["double"] if name["single"] is None else name["single"]
    if not classes:
        raise ValueError(f'{os.fspath(path)}: no class in it: blocks must be like item {{ name: "sit" id: 11 }}')
    return classes
