"""MARS: the features of a network that sees RGB become those of one that sees optical flow.

Clips of drifting textures; the class is the direction, one of eight. The flow network is trained first and frozen; the
RGB network learns from labels and from the other's pooled features, in one stage, and needs no flow afterwards:

    L = cross_entropy(s(rgb), y) [on the clips with labels] + a * ||f_s(rgb) - f_t(flow)||^2 [on all], a = 50

Labels are few for the student, as in `two_inputs.py`, which matches logits; settings were chosen on clips of other
seeds.

    python examples/mars.py

Crasto, Weinzaepfel, Alahari, Schmid, "MARS: Motion-Augmented RGB Stream for Action Recognition", CVPR 2019.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import math
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import flow

CLASSES, FRAMES, SIZE = 8, 4, 20
TRAINING, LABELED, TEST = 256, 48, 256
SEEDS, STEPS = (0, 1), 150
POOLED = {"7": "pooled"}  # module path -> role


def clips(count: int, *, seed: int) -> tuple[Tensor, Tensor]:
    """Draw textures that drift 1.5 pixels a frame: RGB (B, 3, T, H, W) in [0, 1], and labels (B)."""
    g = torch.Generator().manual_seed(seed)
    texture = F.avg_pool2d(torch.randn(count, 3, 42, 42, generator=g), 3, stride=1)
    angle = 2 * math.pi * torch.rand(count, generator=g)
    drift = 1.5 * torch.stack([angle.cos(), angle.sin()], 1)
    frames = []
    for t in range(FRAMES):
        grid = F.affine_grid(torch.eye(2, 3).repeat(count, 1, 1) / 2, [count, 3, SIZE, SIZE], align_corners=False)
        moved = grid - (t - FRAMES // 2) * drift[:, None, None] / 20  # the window is 20 of 40 pixels, -1 to 1
        frames.append(F.grid_sample(texture, moved, align_corners=False))
    rgb = torch.stack(frames, 2)
    rgb = (0.5 + rgb + 0.05 * torch.randn(rgb.shape, generator=g)).clamp(0, 1)
    return rgb, (angle * CLASSES / (2 * math.pi)).long() % CLASSES


def flow_of(rgb: Tensor) -> Tensor:
    """Estimate the flow (B, 2, T-1, H, W) between the frames, scaled to [-1, 1]."""
    motion = flow.tvl1(rgb.movedim(1, 2), preset="fast", value_range=(0, 1))
    return flow.to_unit(motion, bound=4.0).movedim(2, 1)


def network(in_channels: int) -> nn.Sequential:
    """Build a small 3-D network; module 7 gives its pooled features (B, 32), module 8 the logits."""
    return nn.Sequential(
        *(nn.Conv3d(in_channels, 16, (3, 5, 5), stride=(1, 2, 2), padding=(1, 2, 2)), nn.BatchNorm3d(16), nn.ReLU()),
        *(nn.Conv3d(16, 32, 3, stride=(1, 2, 2), padding=1), nn.BatchNorm3d(32), nn.ReLU()),
        *(nn.AdaptiveAvgPool3d(1), nn.Flatten(), nn.Linear(32, CLASSES)),
    )


def train(
    student: kd.Student, inputs: Tensor, labels: Tensor, teacher: kd.Teacher | None = None, motion: Tensor | None = None
) -> nn.Module:
    """Train on the labels of the first clips and, with a teacher, on its features for all; return the network."""
    criterion = 50.0 * kd.FeatureMSE("pooled")
    optimizer = torch.optim.Adam(student.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=STEPS)
    for _ in range(STEPS):
        batch = torch.randint(len(labels), (32,))
        loss = F.cross_entropy(student(inputs[batch]).logits, labels[batch])
        if teacher is not None and motion is not None:
            batch = torch.randint(len(inputs), (32,))
            loss = loss + criterion(student(inputs[batch]), teacher(motion[batch]))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    return student.model.eval()


@torch.no_grad()
def accuracy(net: nn.Module, inputs: Tensor, labels: Tensor) -> float:
    """Compute the percentage of right answers."""
    return 100 * float((net(inputs).argmax(1) == labels).float().mean())


def main() -> None:
    """Draw clips and train teacher and students for each seed, and print their accuracies."""
    rows: dict[str, list[float]] = {"teacher, flow": [], "student alone, RGB": [], "student taught, RGB": []}
    for seed in SEEDS:
        (rgb, labels), (test_rgb, test_labels) = clips(TRAINING, seed=2 * seed), clips(TEST, seed=2 * seed + 1)
        motion, test_motion = flow_of(rgb), flow_of(test_rgb)
        torch.manual_seed(seed)
        teacher = kd.Teacher(train(kd.Student(network(2)), motion, labels), POOLED)
        torch.manual_seed(seed)
        alone = train(kd.Student(network(3)), rgb, labels[:LABELED])
        torch.manual_seed(seed)  # the same first weights
        taught = train(kd.Student(network(3), POOLED), rgb, labels[:LABELED], teacher, motion)
        rows["teacher, flow"].append(accuracy(teacher.model, test_motion, test_labels))
        rows["student alone, RGB"].append(accuracy(alone, test_rgb, test_labels))
        rows["student taught, RGB"].append(accuracy(taught, test_rgb, test_labels))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds (chance: {100 / CLASSES:.1f}):")
    for name, values in rows.items():
        print(f"  {name:<20} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
