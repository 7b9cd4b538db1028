"""Draw the picture of the home page: RGB beside flow, student beside teacher: docs/img/two_inputs.svg.

python docs/draw_home.py

The frames are those of an embedded synthetic clip, its flow is TV-L1, and the loss is D3D's.
"""

from __future__ import annotations

import base64
import tempfile
from pathlib import Path

from draw_rooms import DARK
from torch import Tensor
from torchvision.io import encode_jpeg

from kdvideo import data, flow
from kdvideo.data import synthetic

PICTURE = Path(__file__).resolve().parents[1] / "docs" / "img" / "two_inputs.svg"
WIDTH, HEIGHT, SIDE = 760, 330, 96
ROWS = ((70, "RGB", "student", "#e3f2fd", "#1565c0"), (224, "optical flow", "teacher, frozen", "#fff3e0", "#bf5b00"))


def frames(count: int = 3) -> tuple[Tensor, Tensor]:
    """Read a synthetic clip: frames (T, 3, H, W) and pictures of their flow, as bytes."""
    with tempfile.TemporaryDirectory() as folder:
        root = synthetic.write_dataset(
            f"{folder}/clips", clips_per_class={"train": 1}, classes=("orbit", "spin"), frames=12, seed=1
        )
        options = {"frames": 2 * count + 1, "fps": 12.5, "short_side": SIDE, "crop": SIDE, "flow_bound": 5.0}
        clips = data.PairedClips(data.from_folder(root / "train"), train=False, flow=flow.EstimatorSource(), **options)
        item = clips[0]
    rgb = ((item["rgb"].movedim(1, 0) + 1) * 127.5).byte()
    motion = flow.to_image(item["flow"].movedim(1, 0) * 5.0, max_magnitude=4.0)
    return rgb[: 2 * count : 2], motion[: 2 * count : 2]


def embedded(picture: Tensor, x: int, y: int) -> str:
    """Place a picture (3, H, W), scaled to `SIDE`."""
    code = base64.b64encode(bytes(encode_jpeg(picture, quality=90).numpy())).decode()
    return f'<image x="{x}" y="{y}" width="{SIDE}" height="{SIDE}" href="data:image/jpeg;base64,{code}"/>'


def row(y: int, sees: str, who: str, fill: str, stroke: str) -> list[str]:
    """Draw one network: the name of what it sees, the box, and its logits as bars."""
    lines = [text(94, y - 34, sees, stroke, "middle"), arrow(190, y + 36, 238, y + 36)]
    box = f'<rect x="240" y="{y}" width="150" height="72" rx="8" fill="{fill}" stroke="{stroke}" stroke-width="2"/>'
    lines += [box, text(315, y + 42, who, stroke, "middle"), arrow(390, y + 36, 438, y + 36)]
    for k, value in enumerate((12, 26, 58, 20, 8)):
        lines.append(f'<rect x="{446 + 18 * k}" y="{y + 66 - value}" width="12" height="{value}" fill="{stroke}"/>')
    return [*lines, text(489, y + 86, "logits", "#37474f", "middle", 14)]


def text(x: int, y: int, words: str, color: str, anchor: str = "start", size: int = 17) -> str:
    """Write words."""
    return f'<text x="{x}" y="{y}" fill="{color}" font-size="{size}" text-anchor="{anchor}">{words}</text>'


def arrow(x1: int, y1: int, x2: int, y2: int) -> str:
    """Draw an arrow."""
    return f'<path d="M{x1} {y1} L{x2} {y2}" stroke="#546e7a" stroke-width="2" marker-end="url(#tip)"/>'


def draw() -> str:
    """Render the picture as SVG."""
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif">',
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="6" markerHeight="6" orient="auto">'
        '<path d="M0 0 L8 4 L0 8 z" fill="#546e7a"/></marker></defs>',
        f'{DARK}<g class="drawn"><rect class="ground" width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>',
    ]
    for place in ROWS:
        lines += row(*place)
    lines += [arrow(545, 260, 610, 200), arrow(545, 106, 610, 150)]
    lines.append('<rect x="612" y="146" width="138" height="60" rx="8" fill="#f1f8e9" stroke="#33691e"/>')
    lines += [
        text(681, 170, "λ ‖s − t‖² / K", "#33691e", "middle"),
        text(681, 193, "+ labels", "#33691e", "middle", 14),
    ]
    lines.append("</g>")
    for (y, *_), pictures in zip(ROWS, frames(), strict=True):
        lines += [embedded(picture, 10 + 34 * k, y - 24 + 6 * k) for k, picture in enumerate(pictures)]
    return "\n".join([*lines, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(draw())
