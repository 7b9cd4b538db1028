"""Shard student and teacher with FSDP2: `fully_shard` on the wrapped modules, then the loop as it is.

The student is sharded as a whole, projectors included, so its parameters, gradients and optimizer states are spread
over the processes; a frozen teacher that is large is sharded just so. What is saved is the bare student, gathered.

    torchrun --nproc_per_node 2 examples/fsdp2.py
    python examples/fsdp2.py                          # one process: the same, with nothing to share

Needs scikit-learn, which brings the images. (Accelerate takes FSDP2 on GPUs: `accelerate launch --use_fsdp
--fsdp_version 2 examples/accelerate_loop.py`; on a CPU it silently runs DDP, which is why this script does without.)
"""

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import os
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist
from sklearn.datasets import load_digits
from torch import Tensor, nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

import kdvideo as kd

STEPS, BATCH = 150, 64  # the batch of all processes together


def network(width: int) -> nn.Sequential:
    """Build a network with two hidden layers."""
    return nn.Sequential(
        *(nn.Flatten(), nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 10))
    )


def train_teacher(images: Tensor, labels: Tensor) -> nn.Module:
    """Train a large network, each process the same one."""
    net = network(128)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    for _ in range(60):
        loss = F.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return net


def start() -> torch.device:
    """Join the processes that torchrun started, or be one alone; return the device."""
    if "RANK" not in os.environ:
        os.environ |= {"RANK": "0", "WORLD_SIZE": "1", "MASTER_ADDR": "localhost", "MASTER_PORT": "0"}
    dist.init_process_group("nccl" if torch.cuda.is_available() else "gloo")
    if not torch.cuda.is_available():
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
    return torch.device("cuda")


def main() -> None:
    """Train sharded, gather the bare student, and test it whole."""
    device = start()
    rank, processes = dist.get_rank(), dist.get_world_size()
    mesh = init_device_mesh(device.type, (processes,))
    torch.manual_seed(0)  # the same first weights everywhere
    digits = load_digits()
    images = torch.tensor(digits.images, dtype=torch.float32)[:, None] / 8 - 1
    labels = torch.tensor(digits.target)

    layers = {"4": "hidden"}  # module path -> role
    teacher = kd.Teacher(train_teacher(images[:1000], labels[:1000]), layers).to(device)
    student = kd.Student(network(32), layers, projectors={"hidden": kd.projectors.linear(32, 128)}).to(device)
    for module in (
        student.model.get_submodule("3"),
        student,
        teacher,
    ):  # inner blocks first; large networks: each block
        fully_shard(module, mesh=mesh)
    criterion = kd.LogitMSE() + 0.5 * kd.FeatureMSE("hidden")
    optimizer = torch.optim.Adam(student.parameters(), lr=1e-2)  # after sharding
    mine = sum(p.to_local().numel() for p in student.parameters() if isinstance(p, DTensor))
    if rank == 0:
        every = sum(parameter.numel() for parameter in student.parameters())
        print(f"{processes} process(es) on {device.type}; this one holds {mine} of {every} numbers of the student")

    for step in range(STEPS):
        batch = torch.randint(1000, (BATCH,))[rank::processes]  # the processes draw the same and take turns
        inputs, target = images[batch].to(device), labels[batch].to(device)
        s, t = student(inputs), teacher(inputs)
        loss = F.cross_entropy(s.logits, target) + criterion(s, t)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if rank == 0 and step % 50 == 0:
            print(f"step {step:3}: loss {loss.item():.3f}")

    whole = get_model_state_dict(student.model, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
    if rank == 0:
        with tempfile.TemporaryDirectory() as folder:
            torch.save(whole, Path(folder) / "student.pt")
            bare = network(32)
            bare.load_state_dict(torch.load(Path(folder) / "student.pt", weights_only=True))
        with torch.no_grad():
            right = (bare(images[1000:]).argmax(1) == labels[1000:]).float().mean().item()
        print(f"the bare student: {100 * right:.1f} % of the test images are right")
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
