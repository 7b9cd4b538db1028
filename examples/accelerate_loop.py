"""Distill on any hardware with Hugging Face Accelerate: the student is prepared, the teacher is not.

The student, wrapped with its taps and projectors, is one module that DDP synchronizes. The teacher learns
nothing, so it only moves to the device; each process runs its own copy. The loss is that of one process.

    python examples/accelerate_loop.py
    ACCELERATE_USE_CPU=true torchrun --nproc_per_node 2 examples/accelerate_loop.py
    python examples/accelerate_loop.py --mixed-precision bf16
    python examples/accelerate_loop.py --accumulate 2           # the same batch in two parts

Needs scikit-learn, which brings the images.
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description="Distill with Accelerate.")
    parser.add_argument("--mixed-precision", choices=("no", "bf16"), default="no", help="of the forward passes")
    parser.add_argument("--accumulate", type=int, default=1, help="parts in which a batch comes")
    options = parser.parse_args()

import torch
from accelerate import Accelerator
from accelerate.utils import set_seed
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import kdvideo as kd

EPOCHS, BATCH = 10, 64  # the batch of all processes together


def network(width: int) -> nn.Sequential:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train_teacher(images: Tensor, labels: Tensor) -> nn.Module:
    """Train a large network, each process the same one."""
    net = network(256)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def main(options: argparse.Namespace) -> None:
    """Train on all processes and count the right answers of all."""
    accelerator = Accelerator(mixed_precision=options.mixed_precision, gradient_accumulation_steps=options.accumulate)
    set_seed(0)

    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)
    batch_size = BATCH // accelerator.num_processes // options.accumulate
    training = DataLoader(TensorDataset(images[:1000], labels[:1000]), batch_size, shuffle=True)
    test = DataLoader(TensorDataset(images[1000:], labels[1000:]), 100)

    layers = {"2": "hidden"}
    teacher = kd.Teacher(train_teacher(images[:1000], labels[:1000]), layers).to(accelerator.device)
    student = kd.Student(network(32), layers, projectors={"hidden": kd.projectors.linear(32, 256)})
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    student, optimizer, training, test = accelerator.prepare(student, optimizer, training, test)
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("hidden")

    where = f"{accelerator.num_processes} process(es) on {accelerator.device.type}"
    how = f"mixed precision: {accelerator.mixed_precision}, batches in {options.accumulate} part(s)"
    accelerator.print(f"{where}, {how}")
    for epoch in range(EPOCHS):
        for inputs, target in training:
            with accelerator.accumulate(student):
                with accelerator.autocast():
                    s, t = student(inputs), teacher(inputs)
                    loss = F.cross_entropy(s.logits, target) + criterion(s, t)
                accelerator.backward(loss)
                optimizer.step()  # both do nothing before the last part of a batch
                optimizer.zero_grad()
        if epoch % 3 == 0:
            mean_loss = accelerator.reduce(loss.detach(), reduction="mean").item()
            accelerator.print(f"epoch {epoch}: loss of the last batch {mean_loss:.3f}")

    right = []
    for inputs, target in test:
        with torch.no_grad():
            hits = student(inputs).logits.argmax(1) == target
        right.append(accelerator.gather_for_metrics(hits))  # without the padding of the last batch
    hits = torch.cat(right)
    accelerator.print(f"{100 * hits.float().mean().item():.1f} % of {len(hits)} test images are right")
    accelerator.end_training()


if __name__ == "__main__":
    main(options)
