"""Train D3D: an RGB network that learns its classes and the logits of the flow network.

    L = cross-entropy + λ · 1/B Σ ‖student(rgb) − teacher(flow)‖² / K

python -m examples.d3d.train_student pocket
python -m examples.d3d.train_student pocket --flow-from cache --distinct-views 8
"""

from __future__ import annotations

from examples.d3d.config import Config, parse, plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

import torch.nn.functional as F
from accelerate import Accelerator
from torch import Tensor, nn

import kdvideo as kd
from examples.d3d.batches import Batch
from examples.d3d.checking import checked
from examples.d3d.data import Clips, open_clips
from examples.d3d.teaching import teach
from examples.d3d.train_teacher import WEIGHTS, Setup, train_s3dg, train_stream
from examples.d3d.training import make_accelerator
from kdvideo import models


def train_student(
    config: Config, clips: Clips, teacher: models.Network, seed: int, accelerator: Accelerator
) -> models.Network:
    """Train the student in its folder, unless that is done.

    Raises:
        ValueError: the folder holds a training with other settings, another teacher among them.
    """

    def setup() -> Setup:
        teaching = teach(kd.Teacher(teacher), clips, config, seed, accelerator)
        criterion = config.distill_weight * kd.LogitMSE(reduction=config.class_reduction)

        def losses(student: nn.Module, batch: Batch) -> dict[str, Tensor]:
            logits = student(batch["rgb"])
            action = F.cross_entropy(logits.float(), batch["label"])
            return {"action": action, "distill": criterion(kd.Output(logits, {}), teaching.target(batch))}

        return teaching.views, losses, teaching.on_device

    decisive = {
        "teacher": kd.cache.weights_fingerprint(teacher),
        "distill_weight": config.distill_weight,
        "class_reduction": config.class_reduction,
        "flow_from": config.flow_from,
        "cache_flow": config.cache_flow,
        "distinct_views": config.distinct_views,
    }
    return train_s3dg(config, clips, "d3d", "rgb", seed, decisive, setup, accelerator)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Train one student per seed; its teacher is trained first where there is none yet."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    clips = checked(open_clips(config), config, accelerator)
    for seed in config.seeds:
        if config.distill_weight == 0:
            train_stream(config, clips, "rgb", seed, accelerator)
            accelerator.print(f"S3D-G RGB, seed {seed}: {config.folder(seed, 'rgb') / WEIGHTS}")
        else:
            teacher = train_stream(config, clips, "flow", seed, accelerator)
            train_student(config, clips, teacher, seed, accelerator)
            accelerator.print(f"D3D, seed {seed}: {config.folder(seed, 'd3d') / WEIGHTS}")


if __name__ == "__main__":
    main()
