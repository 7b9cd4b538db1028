"""The whole recipe: flow, teacher, RGB network, D3D, and the report with its pictures.

python -m examples.d3d.run pocket
"""

from __future__ import annotations

from examples.d3d.config import Config, parse, plain_errors

if __name__ == "__main__":
    plain_errors(parse)()  # --help and wrong flags end here, before the imports take their seconds

import torch
from accelerate import Accelerator

from examples.d3d import report
from examples.d3d.beside import rgb_beside
from examples.d3d.checking import checked
from examples.d3d.data import Clips, open_clips
from examples.d3d.evaluate import scores
from examples.d3d.report import Trained
from examples.d3d.train_student import train_student
from examples.d3d.train_teacher import train_stream
from examples.d3d.training import make_accelerator


def one_seed(config: Config, clips: Clips, seed: int, accelerator: Accelerator) -> Trained:
    """Train and measure the three networks of one seed; what was trained before is read back."""
    steps = config.optimizer.steps

    def say(stage: int, what: str) -> None:
        accelerator.print(f"{stage}/4, seed {seed}: {what}", flush=True)

    # The teacher first: a wrong --teacher ends the run before anything is trained.
    given = "the teacher, which is given"
    say(1, given if config.teacher else f"the teacher learns on flow, {steps} steps; action: cross-entropy")
    with rgb_beside(config, clips, seed, accelerator) as beside:
        if beside:
            say(2, f"the same network learns on RGB without a teacher, {steps} steps, at the same time")
        teacher = train_stream(config, clips, "flow", seed, accelerator)
        if not beside:
            say(2, f"the same network learns on RGB without a teacher, {steps} steps")
            train_stream(config, clips, "rgb", seed, accelerator)
        say(3, f"the student, D3D, learns on RGB, {steps} steps; distill: λ · squared logit difference")
        student = train_student(config, clips, teacher, seed, accelerator)
    rgb = train_stream(config, clips, "rgb", seed, accelerator)
    say(4, f"all three classify the {len(clips.test)} test clips")
    networks = {"S3D-G RGB": rgb, "S3D-G Flow": teacher, "D3D": student}
    streams = {"S3D-G RGB": "rgb", "S3D-G Flow": "flow", "D3D": "rgb"}
    found = {name: scores(one, streams[name], clips, config, accelerator) for name, one in networks.items()}
    return Trained(seed, networks, found)


@plain_errors
def main(arguments: list[str] | None = None) -> None:
    """Run everything for all seeds and write the report."""
    config = parse(arguments)
    accelerator = make_accelerator(config)
    clips = checked(open_clips(config), config, accelerator)
    trained = [one_seed(config, clips, seed, accelerator) for seed in config.seeds]
    if accelerator.is_main_process:
        report.write(config, clips, trained)
    accelerator.end_training()


if __name__ == "__main__":
    torch.set_float32_matmul_precision("high")
    main()
