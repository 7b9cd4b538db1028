"""Export the bare student: the network alone, without teacher, taps and projectors.

`student.model` is the network as it was given, so its weights go into any file format under its own names.
A fresh process then loads them without kdvideo, and a program made by torch.export needs not even the class.

    python examples/export_student.py      # writes student.safetensors and student.pt2
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import inspect
import subprocess
import sys

import torch
from safetensors.torch import save_file
from torch import nn
from torch.nn import functional as F

import kdvideo as kd


def network(width: int) -> nn.Module:
    """Build a network with one hidden layer."""
    return nn.Sequential(nn.Linear(16, width), nn.ReLU(), nn.Linear(width, 5))


# What somebody else runs: torch, safetensors and the network's definition, nothing of kdvideo.
ELSEWHERE = f"""
import sys
import torch
from safetensors.torch import load_file
from torch import nn

{inspect.getsource(network)}

net = network(32).eval()
net.load_state_dict(load_file("student.safetensors"))
program = torch.export.load("student.pt2").module()
inputs = torch.linspace(-1, 1, 3 * 16).reshape(3, 16)
torch.save([net(inputs), program(inputs)], "answers.pt")
assert not any(name.split(".")[0] == "kdvideo" for name in sys.modules)
"""


def train(student: kd.Student, teacher: kd.Teacher) -> None:
    """Train the student on random inputs."""
    criterion = kd.LogitMSE() + kd.FeatureMSE("hidden")
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)
    for _ in range(100):
        inputs, labels = torch.randn(64, 16), torch.randint(5, (64,))
        s = student(inputs)
        loss = F.cross_entropy(s.logits, labels) + criterion(s, teacher(inputs))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    """Train, export, and compare with what a fresh process computes."""
    torch.manual_seed(0)
    layers = {"1": "hidden"}
    teacher = kd.Teacher(network(128), layers)
    student = kd.Student(network(32), layers, projectors={"hidden": kd.projectors.linear(32, 128)})
    train(student, teacher)
    print(f"in training: {len(student.state_dict())} tensors, with the projector")

    bare = student.remove().eval()  # the hooks are taken off; the network is yours again
    weights = bare.state_dict()
    save_file(weights, "student.safetensors")
    print(f"student.safetensors: {len(weights)} tensors: {', '.join(weights)}")

    inputs = torch.linspace(-1, 1, 3 * 16).reshape(3, 16)
    program = torch.export.export(bare, (inputs,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    torch.export.save(program, "student.pt2")
    print("student.pt2: a program for batches of any size")

    subprocess.run([sys.executable, "-c", ELSEWHERE], check=True)
    with torch.no_grad():
        expected = bare(inputs)
    for what, answer in zip(("weights", "program"), torch.load("answers.pt"), strict=True):
        print(f"{what} in a process without kdvideo: same logits: {torch.allclose(answer, expected, atol=1e-6)}")


if __name__ == "__main__":
    main()
