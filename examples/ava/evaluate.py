"""Frame-mAP of a trained detector, overall and per action, and its detections as a csv file.

python -m examples.ava.evaluate pocket --detector runs/detectors/<key>
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object, tqdm
from torch import Tensor
from torch.utils.data import DataLoader, Subset

from examples.ava import clips, detector
from examples.ava.clips import Split, Windows
from examples.ava.config import Config, parse
from examples.ava.detector import Loaded
from examples.ava.train import make_accelerator
from examples.d3d.config import plain_errors
from kdvideo.detection import Detections, FrameMAP, decode, frame_map, write_detections
from kdvideo.training import ignore_signals

Found = tuple[str, float, Tensor, Tensor]


@torch.no_grad()
def detections(loaded: Loaded, found: Split, config: Config, accelerator: Accelerator) -> Detections:
    """What the detector says about the proposals of a split, the same on all processes."""
    network, spec = loaded.network.to(accelerator.device), detector.input_spec(loaded.network)
    dataset = Windows(found, config, train=False)
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)
    loader = DataLoader(  # one window at a time: videos differ in shape
        Subset(dataset, list(mine)),
        num_workers=config.num_workers,
        collate_fn=clips.collate,
        worker_init_fn=ignore_signals,
    )
    rows: list[Found] = []
    for batch in tqdm(loader, desc="key frames", leave=False):
        given = [part.to(accelerator.device) for part in batch["proposals"]]
        with accelerator.autocast():
            output = network(spec.prepare(batch["clip"].to(accelerator.device)), given)
        ((boxes, scores),) = decode(output, given)
        rows.append((batch["video"][0], batch["second"][0], boxes.float().cpu(), scores.float().cpu()))
    rows = sorted(gather_object(rows), key=lambda row: row[:2])
    return Detections.from_scores(rows, classes=list(loaded.classes))


def evaluate(folder: Path, config: Config, accelerator: Accelerator, *, output: Path) -> FrameMAP:
    """Frame-mAP of the detector in a folder; its detections are written.

    The people of missing videos stay in the ground truth and count as not found.

    Raises:
        ValueError: a detector of other actions or of another input than the settings say, or bad files.
    """
    loaded = detector.load(folder)
    found = clips.split(config, config.split)
    accelerator.print(found.report)
    _check(folder, loaded, found, config)
    table = detections(loaded, found, config, accelerator)
    if accelerator.is_main_process:
        output.parent.mkdir(parents=True, exist_ok=True)
        write_detections(output, table)
    root = clips.root(config)
    excluded = root / f"excluded_{config.split}.csv"
    return frame_map(
        root / f"{config.split}.csv", table, found.classes, excluded=excluded if excluded.exists() else None
    )


def _check(folder: Path, loaded: Loaded, found: Split, config: Config) -> None:
    if loaded.classes != found.classes:
        raise ValueError(f"{folder} knows the actions {loaded.classes}, actions.pbtxt names {found.classes}")
    differ = {
        name: (value, getattr(config.input, name))
        for name, value in loaded.input.items()
        if value != getattr(config.input, name)
    }
    if differ:
        raise ValueError(f"{folder} was trained on another input, (trained, now): {differ}")


def summary(result: FrameMAP) -> str:
    """The mean, and a line for each action."""
    lines = [f"frame-mAP at IoU 0.5: {100 * result.mean:.1f} %"]
    for name, value in result.per_class.items():
        lines.append(f"  {name:30s} {'not in the ground truth' if math.isnan(value) else f'{100 * value:.1f}'}")
    return "\n".join(lines)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Print the frame-mAP of one detector and write its detections."""
    config = parse(arguments)
    if config.detector is None:
        raise SystemExit("error: give the detector, as in --detector runs/detectors/<key>")
    if config.output.is_dir():
        raise ValueError(f"--output {config.output} is a folder; expected the csv file for the detections")
    accelerator = make_accelerator(config)
    accelerator.print(summary(evaluate(config.detector, config, accelerator, output=config.output)))
    accelerator.print(f"detections: {config.output}")
    accelerator.end_training()


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
