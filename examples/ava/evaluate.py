"""Frame-mAP of a trained detector, overall and per action, and its detections as a csv file.

python -m examples.ava.evaluate pocket --detector runs/ava/seed0
"""

from __future__ import annotations

from examples.ava.config import Config, parse
from examples.d3d.config import plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

from examples.ava import detectors, windows
from examples.ava.detectors import Loaded
from examples.ava.train import make_accelerator
from examples.ava.windows import Split, Windows, collate, open_split
from examples.d3d.batches import Batch
from examples.d3d.evaluate import gather
from kdvideo.detection import Detections, FrameMAP, decode, frame_map, write_detections


def detections(loaded: Loaded, split: Split, config: Config, accelerator: Accelerator) -> Detections:
    """Return what the detector says about the proposals of a split, the same on all processes."""
    network, device = loaded.network.to(accelerator.device), accelerator.device
    spec = detectors.backbone(loaded.network).input_spec

    def rows_of(batch: Batch) -> list[Any]:
        given = [part.to(device) for part in batch["proposals"]]
        ((boxes, scores),) = decode(network(spec.prepare(batch["clip"].to(device)), given), given)
        return [(batch["video"][0], batch["second"][0], boxes.float().cpu(), scores.float().cpu())]

    # One window at a time: videos differ in shape.
    loading: dict[str, Any] = {"num_workers": config.num_workers, "collate_fn": collate}
    rows = gather(Windows(split, config, train=False), rows_of, accelerator, desc="key frames", **loading)
    return Detections.from_scores(sorted(rows, key=lambda row: row[:2]), classes=list(loaded.classes))


def evaluate(folder: Path, config: Config, accelerator: Accelerator, *, output: Path) -> FrameMAP:
    """Compute the frame-mAP of the detector in a folder, and write its detections.

    The people of missing videos stay in the ground truth and count as not found.

    Raises:
        ValueError: a detector of other actions or of another input than the settings say, or bad files.
    """
    loaded = detectors.load(folder)
    found = open_split(config, config.split)
    accelerator.print(found.report)
    _check(folder, loaded, found, config)
    table = detections(loaded, found, config, accelerator)
    if accelerator.is_main_process:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_detections(output, table)
    root = windows.root(config)
    excluded = root / f"excluded_{config.split}.csv"
    return frame_map(
        root / f"{config.split}.csv", table, found.classes, excluded=excluded if excluded.exists() else None
    )


def _check(folder: Path, loaded: Loaded, found: Split, config: Config) -> None:
    if loaded.classes != found.classes:
        raise ValueError(f"{folder} must know the actions of actions.pbtxt, {found.classes}, got {loaded.classes}")
    differ = {
        name: (value, getattr(config.input, name))
        for name, value in loaded.input.items()
        if value != getattr(config.input, name)
    }
    if differ:
        raise ValueError(f"the settings must be those of the training of {folder}, got (trained, now): {differ}")


def summary(result: FrameMAP) -> str:
    """Render the mean, and a line for each action."""
    lines = [f"frame-mAP at IoU 0.5: {100 * result.mean:.1f} %"]
    for name, value in result.per_class.items():
        lines.append(f"  {name:30s} {'not in the ground truth' if math.isnan(value) else f'{100 * value:.1f}'}")
    return "\n".join(lines)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Print the frame-mAP of one detector and write its detections."""
    config = parse(arguments)
    if config.detector is None:
        raise ValueError("--detector must name the folder of one, as in --detector runs/ava/seed0")
    if config.output.is_dir():
        raise ValueError(f"--output must be the csv file for the detections, got the folder {config.output}")
    accelerator = make_accelerator(config)
    accelerator.print(summary(evaluate(config.detector, config, accelerator, output=config.output)))
    accelerator.print(f"detections: {config.output}")
    accelerator.end_training()


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
