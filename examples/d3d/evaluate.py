"""Scores of a trained network on test clips: the softmax of a whole clip, or its mean over the views.

python -m examples.d3d.evaluate pocket --weights runs/d3d/student.safetensors
"""

from __future__ import annotations

from examples.d3d.config import Config, Input, parse, plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

import functools
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object
from torch import Tensor
from torch.utils.data import Dataset

from examples.d3d import networks, progress
from examples.d3d.batches import CLIP_DEADLINE, STEP_DEADLINE, Batch
from examples.d3d.checking import checked
from examples.d3d.data import Clips, open_clips, prepare
from examples.d3d.loading import loader_of, named
from examples.d3d.training import make_accelerator
from kdvideo import data, flow, models
from kdvideo.training import Watchdog, Watched, accuracy, confusion_matrix


@torch.no_grad()
def gather(
    dataset: Dataset[Any],
    rows_of: Callable[[Batch], list[Any]],
    accelerator: Accelerator,
    *,
    desc: str,
    clip_deadline: float = CLIP_DEADLINE,
    step_deadline: float = STEP_DEADLINE,
    **loading: Any,
) -> list[Any]:
    """Apply a function to the batches of a data set, which the processes share; return all rows on all of them.

    A process that gets nowhere ends, as in a training, and those that wait for it end too.

    Args:
        dataset: of items 0, 1, 2, ...
        rows_of: batch on the device -> rows, such as (index, scores); it runs in the accelerator's precision, without
            gradients.
        accelerator: the one of the run.
        desc: shown beside the progress bar; "" for none.
        clip_deadline: seconds that a loader's worker may take for one item; 0: any.
        step_deadline: seconds from one batch to the next, and to wait longer for the others than for this process; 0:
            any.
        loading: of the `DataLoader`.
    """
    mine = range(accelerator.process_index, len(dataset), accelerator.num_processes)  # type: ignore[arg-type]
    watched = Watched(dataset, deadline=clip_deadline, workers=loading.get("num_workers", 0))
    loader = loader_of(watched, sampler=mine, **loading)
    rows: list[Any] = []
    shown = progress.bar(loader, desc=desc, leave=False) if desc else loader
    began = time.monotonic()
    with named(watched), Watchdog(step_deadline, sys.__stderr__) as dog:
        for batch in flow.prefetch_to_device(shown, data.to_float, device=accelerator.device):
            dog.feed()
            with accelerator.autocast():
                rows += rows_of(batch)
    with Watchdog(step_deadline and step_deadline + time.monotonic() - began, sys.__stderr__):  # shares are alike
        found: list[Any] = gather_object(rows)
    return found


def mean_by_clip(rows: list[tuple[int, list[float]]]) -> Tensor:
    """Average the rows (index of the clip, scores) of every clip: (clips, K) float64."""
    index = torch.tensor([row[0] for row in rows])
    score = torch.tensor([row[1] for row in rows], dtype=torch.float64)
    clips_seen = int(index.max()) + 1
    total = torch.zeros(clips_seen, score.shape[1], dtype=torch.float64).index_add_(0, index, score)
    return total / torch.bincount(index, minlength=clips_seen)[:, None]


def whole_clips(seen: Input) -> data.ViewProtocol | None:
    """Return the protocol of one pass over a clip, as published; None where windows of clips are tested."""
    return functools.partial(data.single_pass, most=seen.test_frames) if seen.test_frames else None


def scores(
    network: models.Network,
    stream: str,
    clips: Clips,
    config: Config,
    accelerator: Accelerator,
    *,
    protocol: data.ViewProtocol | None = None,
    quiet: bool = False,
) -> Tensor:
    """Compute the scores of every test clip, (clips, K), the same on all processes.

    By default those of the settings: the softmax of one pass over the clip, or its mean over several windows.

    Args:
        network: what is tested.
        stream: what it sees, "rgb" or "flow".
        clips: the clips.
        config: the settings.
        accelerator: the one of the run.
        protocol: gives other views of a clip, whose softmax is averaged.
        quiet: show no progress.
    """
    source = prepare(clips, clips.test, accelerator) if stream == "flow" else None
    network = network.to(accelerator.device).eval()

    def softmax(batch: Batch) -> Tensor:
        logits = network(networks.feed(network, batch[stream]))
        probabilities: Tensor = logits.float().softmax(1)
        return probabilities

    def rows_of(batch: Batch) -> list[Any]:
        return list(zip(batch["index"].tolist(), softmax(batch).tolist(), strict=True))

    def row_of(clip: Batch) -> list[Any]:
        return [(int(clip["index"]), softmax(clip).double().mean(0).tolist())]

    protocol = protocol or whole_clips(clips.input)
    options = {"train": False, "rgb": stream == "rgb"}
    size = max(1, config.optimizer.batch_size // accelerator.num_processes)
    loading: dict[str, Any] = {"num_workers": config.num_workers, "desc": "" if quiet else f"scores ({stream})"}
    loading |= {"clip_deadline": config.clip_deadline, "step_deadline": config.step_deadline}
    if protocol is None:
        windows = clips.views(clips.test, source, **options)
        return mean_by_clip(gather(windows, rows_of, accelerator, batch_size=size, **loading))
    views = data.MultiView(clips.views(clips.test, source, **options), protocol)
    return mean_by_clip(gather(views, row_of, accelerator, batch_size=None, **loading))  # clips differ in length


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Print the accuracy, overall and per class, of one file of weights."""
    config = parse(arguments)
    if config.weights is None:
        raise ValueError("--weights must name the network, as in --weights runs/d3d/student.safetensors")
    accelerator = make_accelerator(config)
    clips = checked(open_clips(config), config, accelerator)
    result = scores(*networks.load(config.weights, clips), clips, config, accelerator)
    label = torch.tensor(clips.test["label"])
    counts = confusion_matrix(result.argmax(1), label, result.shape[1])
    accelerator.print(f"top-1 {accuracy(result, label):.3f} on {len(label)} clips")
    for name, row, correct in zip(clips.classes, counts, counts.diagonal(), strict=True):
        accelerator.print(f"  {name if name.isprintable() else repr(name):20s} {int(correct)}/{int(row.sum())}")


if __name__ == "__main__":
    main()
