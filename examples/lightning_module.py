"""Distill inside a LightningModule: checkpoints and the optimizer hold the student, and nothing of the teacher.

Both are attributes of the module, so Lightning moves both to the device. A `kd.Teacher` leaves itself out of the
state_dict of a module that holds it, stays in evaluation mode, and has no parameter that requires a gradient. A second
Trainer resumes from the checkpoint of the first.

    python examples/lightning_module.py      # needs lightning, and scikit-learn, which brings the images
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import logging
import tempfile
import warnings

import lightning
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

import kdvideo as kd


def network(width: int) -> nn.Sequential:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, 10))


def train_teacher(images: Tensor, labels: Tensor) -> nn.Module:
    """Train a large network on labels."""
    net = network(256)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


class Distillation(lightning.LightningModule):  # type: ignore[misc]
    """The student, its teacher and the criterion."""

    def __init__(self, student: kd.Student, teacher: kd.Teacher, criterion: kd.Loss) -> None:
        super().__init__()
        self.student, self.teacher, self.criterion = student, teacher, criterion

    def training_step(self, batch: list[Tensor], batch_idx: int) -> Tensor:
        """Compute the loss of a batch and log its terms."""
        images, labels = batch
        s, t = self.student(images), self.teacher(images)
        terms = {"cross_entropy": F.cross_entropy(s.logits, labels)} | self.criterion.terms(s, t)
        self.log_dict(terms)
        return torch.stack(list(terms.values())).sum()

    def test_step(self, batch: list[Tensor], batch_idx: int) -> None:
        """Count the right answers; the teacher does not run."""
        images, labels = batch
        self.log("accuracy", (self.student(images).logits.argmax(1) == labels).float().mean())

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Optimize the student with its projectors, and the criterion where it has parameters."""
        return torch.optim.Adam([p for p in self.parameters() if p.requires_grad], lr=1e-2)


def main() -> None:
    """Train in two sittings, test, and look into the checkpoint."""
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # advice on workers and intervals
    torch.manual_seed(0)
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)
    training = DataLoader(TensorDataset(images[:1000], labels[:1000]), 64, shuffle=True)
    test = DataLoader(TensorDataset(images[1000:], labels[1000:]), 797)

    layers = {"2": "hidden"}  # module path -> role
    teacher = kd.Teacher(train_teacher(images[:1000], labels[:1000]), layers)
    student = kd.Student(network(32), layers, projectors={"hidden": kd.projectors.linear(32, 256)})
    module = Distillation(student, teacher, kd.LogitMSE() + 0.5 * kd.FeatureMSE("hidden"))

    quiet = {"enable_progress_bar": False, "enable_model_summary": False, "logger": False, "accelerator": "cpu"}
    with tempfile.TemporaryDirectory() as folder:
        for epochs, resumed_from in ((3, None), (10, f"{folder}/last.ckpt")):
            trainer = lightning.Trainer(max_epochs=epochs, enable_checkpointing=False, **quiet)
            trainer.fit(module, training, ckpt_path=resumed_from)
            trainer.save_checkpoint(f"{folder}/last.ckpt")
            print(f"epoch {trainer.current_epoch}, step {trainer.global_step}: {trainer.callback_metrics}")
        checkpoint = torch.load(f"{folder}/last.ckpt", weights_only=True)
    print("in the checkpoint:", *checkpoint["state_dict"])
    bare = {key.removeprefix("student.model."): value for key, value in checkpoint["state_dict"].items()}
    network(32).load_state_dict({key: value for key, value in bare.items() if not key.startswith("student.")})
    accuracy = trainer.test(module, test, verbose=False)[0]["accuracy"]
    print(f"{100 * accuracy:.1f} % of the test images are right")


if __name__ == "__main__":
    main()
