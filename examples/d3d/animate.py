"""The animated demo of the README: clips, their flow, and where RGB alone and D3D see the class.

python -m examples.d3d.animate --run runs/demo
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # before the imports, which take seconds
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--run", type=Path, default=Path("runs/demo"), help="output folder of examples.d3d.run")
    flags.add_argument("--seed", type=int, default=0, help="the networks of this seed")
    flags.add_argument("--clips", type=Path, help="folder of a folder a class (default: the demo's test clips)")
    flags.add_argument("--output", type=Path, default=Path("docs/img/demo.webp"), help="the animation, .webp or .gif")
    options = flags.parse_args()

import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from examples.d3d.style import GROUND, RIGHT, WRONG
from kdvideo import flow, models
from kdvideo.predict import Predictor

SIDE, GAP, HEAD, FOOT = 176, 8, 22, 24  # pixels
COLUMNS = ("frames", "flow", "RGB alone", "D3D")
CLASSES = ("spin", "orbit", "vertical")


def tiles(networks: dict[str, Predictor], clip: Path) -> tuple[list[Tensor], dict[str, str]]:
    """Return what the columns show, each uint8 (T, 3, H, W), and what each network says."""
    seen = {name: one.window(clip) for name, one in networks.items()}
    frames = ((seen["rgb"].movedim(1, 0) + 1) * 127.5).round().to(torch.uint8)
    shown, said = [frames, flow.to_image(seen["flow"].movedim(1, 0))], {}
    for name in ("rgb", "d3d"):
        network = networks[name].network
        with torch.no_grad():
            best = network(seen[name][None]).argmax(1)
        shown.append(models.highlight(frames, models.class_activation(network, seen[name][None], best)[0]))
        said[name] = networks[name].classes[int(best)]
    return shown, said


def picture(rows: list[tuple[str, list[Tensor], dict[str, str]]], t: int) -> Image.Image:
    """Draw one moment of all clips."""
    width, height = GAP + len(COLUMNS) * (SIDE + GAP), HEAD + len(rows) * (SIDE + FOOT)
    page, font = Image.new("RGB", (width, height), GROUND), ImageFont.load_default(size=14)
    draw = ImageDraw.Draw(page)
    for k, title in enumerate(COLUMNS):
        draw.text((GAP + k * (SIDE + GAP), 2), title, "black", font)
    for row, (truth, shown, said) in enumerate(rows):
        top = HEAD + row * (SIDE + FOOT)
        below = [(truth, "black"), ("", "black")]
        below += [(one, (RIGHT if one == truth else WRONG)[1]) for one in said.values()]
        for k, (frames, (text, color)) in enumerate(zip(shown, below, strict=True)):
            left = GAP + k * (SIDE + GAP)
            image = Image.fromarray(frames[t].permute(1, 2, 0).numpy())
            page.paste(image.resize((SIDE, SIDE), Image.Resampling.BICUBIC), (left, top))
            mark = "" if k < 2 else ("right: " if text == truth else "wrong: ")
            draw.text((left, top + SIDE + 2), mark + text, color, font)
    return page


def main(options: argparse.Namespace) -> None:
    """Take the first clip of three classes that only D3D names, or else the first, and write the animation."""
    folder = options.run / f"seed{options.seed}"
    networks = {name: Predictor(folder / name / "model.safetensors") for name in ("rgb", "flow", "d3d")}
    root = options.clips or options.run.parent / "synthetic" / "independent_seed0" / "test"
    rows: list[tuple[str, list[Tensor], dict[str, str]]] = []
    for truth in CLASSES:
        found: Any = None
        for clip in sorted((root / truth).glob("*.mp4"))[:30]:
            shown, said = tiles(networks, clip)
            found = found or (truth, shown, said)
            if said == {"rgb": said["rgb"], "d3d": truth} and said["rgb"] != truth:
                found = (truth, shown, said)
                break
        rows.append(found)
    first, *others = (picture(rows, t) for t in range(len(rows[0][1][0])))
    options.output.parent.mkdir(parents=True, exist_ok=True)
    first.save(options.output, save_all=True, append_images=others, duration=120, loop=0, quality=70, method=6)
    print(f"{options.output}: {options.output.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    main(options)
