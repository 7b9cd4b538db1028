"""Draw the rooms of the code and the imports between them, from the code: docs/img/rooms.svg.

python docs/draw_rooms.py

Floors are those of the contract "arrows point down" in pyproject.toml, which `make lint` checks; arrows are the imports
that the code has. An arrow that another path implies is left out.
"""

from __future__ import annotations

import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).resolve().parents[1]
PICTURE = ROOT / "docs" / "img" / "rooms.svg"
TOP = (("benchmarks",), ("examples",))
SIDE, WIDTH, HEIGHT, GAP_X, GAP_Y = 20, 118, 34, 90, 34
PAGE = 900
# Dark for light, of the same hue, where the page is dark.
DARK = (
    "<style>@media (prefers-color-scheme: dark) "
    "{ .drawn { filter: invert(1) hue-rotate(180deg) } .ground { fill: none } }</style>"
)


def floors() -> list[tuple[str, ...]]:
    """Read the floors, the highest first."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [one["layers"] for one in contracts if one["name"] == "arrows point down"]
    rooms = [[room.strip(" ()") for room in layer.split("|")] for layer in layers]
    public = [tuple(room for room in floor if not room.startswith("_")) for floor in rooms]
    return [*TOP, *filter(None, public)]


def arrows(rooms: set[str]) -> set[tuple[str, str]]:
    """Find which room imports which."""
    graph, found = grimp.build_graph("kdvideo", "examples", "benchmarks"), set()
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            pair = _room(module), _room(imported)
            if pair[0] != pair[1] and set(pair) <= rooms:
                found.add(pair)
    return found


def _room(module: str) -> str:
    first, _, rest = module.partition(".")
    return rest.split(".")[0] if first == "kdvideo" and rest else first


def needed(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """Leave out the arrows that others imply."""
    below = {above: {b for a, b in pairs if a == above} for above, _ in pairs}

    def reached(room: str) -> set[str]:
        found, wanted = set[str](), [room]
        while wanted:
            new = below.get(wanted.pop(), set()) - found
            found |= new
            wanted += new
        return found

    return {(a, b) for a, b in pairs if not any(b in reached(other) for other in below[a] - {b})}


def draw() -> str:
    """Render the picture as SVG."""
    levels = floors()
    place = {}
    for row, floor in enumerate(levels):
        width = len(floor) * WIDTH + (len(floor) - 1) * GAP_X
        for column, room in enumerate(floor):
            left = (PAGE - width) / 2 + column * (WIDTH + GAP_X)
            place[room] = (left, SIDE + row * (HEIGHT + GAP_Y))
    height = 2 * SIDE + len(levels) * HEIGHT + (len(levels) - 1) * GAP_Y
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {PAGE} {height}" '
        'font-family="sans-serif" font-size="14">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#7986cb"/></marker></defs>',
        f'{DARK}<g class="drawn"><rect class="ground" width="{PAGE}" height="{height}" fill="#ffffff"/>',
    ]
    for above, under in sorted(needed(arrows(set(place)))):
        (x1, y1), (x2, y2) = place[above], place[under]
        x1, y1, x2 = x1 + WIDTH / 2, y1 + HEIGHT, x2 + WIDTH / 2
        lines.append(
            f'<path d="M{x1:g} {y1:g} C{x1:g} {y1 + GAP_Y:g} {x2:g} {y2 - GAP_Y:g} {x2:g} {y2:g}" fill="none" '
            'stroke="#7986cb" stroke-width="1.3" marker-end="url(#tip)"/>'
        )
    for room, (x, y) in place.items():
        fill = "#fff3e0" if (room,) in TOP else "#e8eaf6"
        lines.append(
            f'<rect x="{x:g}" y="{y:g}" width="{WIDTH}" height="{HEIGHT}" rx="6" fill="{fill}" stroke="#3f51b5"/>'
        )
        lines.append(f'<text x="{x + WIDTH / 2:g}" y="{y + 22:g}" text-anchor="middle" fill="#1a237e">{room}</text>')
    return "\n".join([*lines, "</g></svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
