"""A network that sees whole clips teaches one that sees the past only, which then runs on a stream of frames.

`models.causal` gives the form that sees the past, with the original's weights: another function, so it is trained,
here on the teacher's logits alone. `models.streaming` runs it frame by frame with a state that does not grow.

    python examples/streaming.py
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import kdvideo as kd
from kdvideo import models

FRAMES, SIZE, CLASSES = 16, 32, 4  # a square that moves right, left, down or up


def clips(count: int, frames: int = FRAMES) -> tuple[Tensor, Tensor]:
    """Draw clips (B, 3, T, H, W) of a moving square, and labels (B)."""
    labels = torch.randint(CLASSES, (count,))
    velocity = torch.tensor([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -1.0]])[labels]
    time = torch.arange(frames) - frames / 2
    place = (torch.rand(count, 1, 2) * 12 + 10 + velocity[:, None] * time[:, None] * 1.5) % SIZE  # (B, T, 2)
    axis = torch.arange(SIZE)
    inside = [((axis - place[..., i, None]) % SIZE < 8).float() for i in (0, 1)]
    square = inside[1][..., :, None] * inside[0][..., None, :]
    return (2 * square - 1 + 0.2 * torch.randn(count, frames, SIZE, SIZE))[:, None].repeat(1, 3, 1, 1, 1), labels


def train(student: kd.Student, steps: int, teacher: kd.Teacher | None = None) -> None:
    """Train on labels or, with a teacher, on its logits."""
    criterion = kd.SoftTarget(temperature=2.0)
    optimizer = torch.optim.AdamW(student.parameters(), lr=2e-3)
    rate = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps)
    student.train()
    for _ in range(steps):
        batch, labels = clips(16)
        s = student(batch)
        loss = F.cross_entropy(s.logits, labels) if teacher is None else criterion(s, teacher(batch))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        rate.step()
    student.eval()


@torch.no_grad()
def accuracy(network: models.Inception3D) -> float:
    """Return the share of right classes of 128 new clips, in percent."""
    torch.manual_seed(1)
    batch, labels = clips(128)
    right = network.eval()(batch).argmax(1) == labels
    return 100 * float(right.float().mean())


def main() -> None:
    """Train the teacher, distill the causal student, and run it on a stream."""
    torch.manual_seed(0)
    offline = models.s3dg(CLASSES, depth_multiplier=0.125, min_depth=8, dropout=0.0)
    for module in offline.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.momentum = 0.1  # few steps: the running statistics must keep up
    train(kd.Student(offline), 80)
    print(f"offline teacher: {accuracy(offline):.1f} %")
    network = models.causal(offline, window=FRAMES)
    print(f"causal, the same weights: {accuracy(network):.1f} %")
    train(kd.Student(network), 60, kd.Teacher(offline))
    print(f"causal, taught by the teacher: {accuracy(network):.1f} %")

    stream = models.streaming(network)
    state: dict[str, Tensor] = {}
    video, _ = clips(1, frames=48)
    with torch.no_grad():
        for number, frame in enumerate(torch.split(video, 1, dim=2), start=1):
            logits, state = stream(frame, state)
            if logits.shape[1]:
                whole = network(video[:, :, :number])
                size = sum(value.numel() for value in state.values())
                print(
                    f"frame {number}: class {int(logits[0, -1].argmax())}, "
                    f"off the whole clip by {float((logits[:, -1] - whole).abs().max()):.0e}, state of {size} numbers"
                )


if __name__ == "__main__":
    main()
