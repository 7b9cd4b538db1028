"""MERS: a network that sees RGB first becomes one that sees optical flow, then learns to classify.

Clips of drifting textures; the class is the direction, one of eight. Two stages: in the first the RGB network mimics
the pooled features of the frozen flow network, without any label; in the second its features are frozen and a
classifier is trained on them:

    L_1 = ||f_s(rgb) - f_t(flow)||^2 [on all clips],    L_2 = cross_entropy(W f_s(rgb), y) [on the clips with labels]

`mars.py` does both at once. Settings were chosen on clips of other seeds. The student alone trains as many steps.

    python examples/mers.py

Crasto, Weinzaepfel, Alahari, Schmid, "MARS: Motion-Augmented RGB Stream for Action Recognition", CVPR 2019.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import math
from collections.abc import Callable
from functools import partial
from statistics import mean, stdev

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import flow

CLASSES, FRAMES, SIZE, TRAINING, LABELED, TEST = 8, 4, 20, 256, 48, 256
SEEDS, STEPS, POOLED = (0, 1), 150, {"7": "pooled"}  # module path -> role


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


def fit(learning: nn.Module, loss_of: Callable[[], Tensor], steps: int) -> None:
    """Train the parameters of a module on a loss of random batches."""
    optimizer = torch.optim.Adam(learning.parameters())
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    for _ in range(steps):
        optimizer.zero_grad()
        loss_of().backward()
        optimizer.step()
        rate.step()


def label_loss(net: nn.Module, inputs: Tensor, labels: Tensor) -> Tensor:
    """Compute the cross-entropy of a batch of the first clips, which have labels."""
    batch = torch.randint(len(labels), (32,))
    return F.cross_entropy(net(inputs[batch]), labels[batch])


def feature_loss(student: kd.Student, teacher: kd.Teacher, rgb: Tensor, motion: Tensor) -> Tensor:
    """Compute how far the pooled features of a batch are from the teacher's for the flow of the same clips."""
    batch = torch.randint(len(rgb), (32,))
    s, t = student(rgb[batch]), teacher(motion[batch])
    return kd.functional.feature_mse(s.features["pooled"], t.features["pooled"])


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
        flow_net, alone, taught = network(2), network(3), network(3)
        taught.load_state_dict(alone.state_dict())  # the same first weights
        fit(flow_net, partial(label_loss, flow_net, motion, labels), STEPS)
        fit(alone, partial(label_loss, alone, rgb, labels[:LABELED]), 2 * STEPS)  # as both stages
        fit(taught, partial(feature_loss, kd.Student(taught, POOLED), kd.Teacher(flow_net, POOLED), rgb, motion), STEPS)
        taught.eval()  # its features stay as they are
        fit(taught[-1], partial(label_loss, taught, rgb, labels[:LABELED]), STEPS)
        for name, net, seen in zip(rows, (flow_net, alone, taught), (test_motion, test_rgb, test_rgb), strict=True):
            rows[name].append(accuracy(net.eval(), seen, test_labels))
    print(f"test accuracy in percent, mean ± standard deviation of {len(SEEDS)} seeds (chance: {100 / CLASSES:.1f}):")
    for name, values in rows.items():
        print(f"  {name:<20} {mean(values):5.1f} ± {stdev(values):.1f}")


if __name__ == "__main__":
    main()
