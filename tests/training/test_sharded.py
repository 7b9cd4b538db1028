"""Sharded checkpoints: all or nothing over processes, read by another number of them (A11)."""

import multiprocessing
import os
from pathlib import Path

import pytest
import torch
from torch import distributed, nn
from torch.distributed.checkpoint.state_dict import get_model_state_dict, set_model_state_dict
from torch.distributed.fsdp import fully_shard

from kdvideo.training import CheckpointError, Checkpoints, ShardedCheckpoints
from kdvideo.training import checkpoint_folders as folders

pytestmark = pytest.mark.faults


def network(value: float) -> nn.Module:
    made = nn.Sequential(nn.Linear(6, 5), nn.Linear(5, 3))
    for parameter in made.parameters():
        nn.init.constant_(parameter, value)
    return fully_shard(made)


def process(rank: int, world: int, port: int, folder: str, task: str) -> None:
    os.environ |= {"RANK": str(rank), "WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    torch.set_num_threads(1)
    distributed.init_process_group("gloo")
    torch.distributed.device_mesh.init_device_mesh("cpu", (world,))
    TASKS[task](rank, Path(folder))
    distributed.destroy_process_group()


def save(rank: int, folder: Path) -> None:
    checkpoints = ShardedCheckpoints(folder, keep=1)
    for step in (1, 2, 3):
        checkpoints.save(step, {"model": get_model_state_dict(network(step)), "step": step}, wait=step != 2)
    if rank == 0:
        assert [one.name for one in sorted(folder.iterdir())] == [".lock", "step_000000003"]
    with pytest.raises(ValueError, match="got a DTensor: save it with ShardedCheckpoints"):
        Checkpoints(folder / "whole").save(1, {"model": get_model_state_dict(network(1))})


def load(rank: int, folder: Path) -> None:
    state = {"model": get_model_state_dict(made := network(0)), "step": 0}
    assert ShardedCheckpoints(folder).load(state) == 3
    set_model_state_dict(made, state["model"])
    assert state["step"] == 3
    assert all((one.full_tensor() == 3).all() for one in made.parameters())


def one_fails(rank: int, folder: Path) -> None:
    checkpoints = ShardedCheckpoints(folder)
    state = {"model": get_model_state_dict(network(4))}
    if rank == 1:
        from torch.distributed.checkpoint import FileSystemWriter

        def refuse(*arguments: object, **options: object) -> None:
            raise OSError(28, "No space left on device")

        FileSystemWriter.write_data = refuse
    with pytest.raises(CheckpointError, match=r"cannot write the checkpoint of step 4[\s\S]*No space left"):
        checkpoints.save(4, state)
    made = network(4)
    if rank == 1:
        next(made.parameters()).data.to_local().fill_(float("nan"))
    with pytest.raises(CheckpointError, match="must be finite, got NaN or inf in state"):
        checkpoints.save(4, {"model": get_model_state_dict(made)})
    assert [one.step for one in folders.found_in(folder)] == [3]
    if rank == 0:
        assert not list(folder.glob(f"{folders.TEMPORARY}*"))


TASKS = {"save": save, "load": load, "one fails": one_fails}


def run(world: int, folder: Path, task: str) -> None:
    context = multiprocessing.get_context("spawn")
    port = 29700 + os.getpid() % 200 + 7 * list(TASKS).index(task) + world
    started = [context.Process(target=process, args=(rank, world, port, str(folder), task)) for rank in range(world)]
    for one in started:
        one.start()
    for one in started:
        one.join(120)
    assert [one.exitcode for one in started] == [0] * world


@pytest.mark.slow
@pytest.mark.reliability("A11")
def test_shards_of_two_processes_are_read_by_one_and_by_two_and_one_that_fails_stops_all(tmp_path: Path) -> None:
    """Fails when the first process commits without asking the others, or an error is not passed on."""
    run(2, tmp_path, "save")
    run(1, tmp_path, "load")
    run(2, tmp_path, "load")
    run(2, tmp_path, "one fails")
    run(2, tmp_path, "load")
