"""How a worker process ends: with its parent, or by the kernel's alarm, and by nothing else."""

from __future__ import annotations

import ctypes
import faulthandler
import multiprocessing
import os
import signal
import sys

_SET_PARENT_DEATH_SIGNAL = 1  # PR_SET_PDEATHSIG


def start_worker(worker: int = 0) -> None:
    """Let a worker ignore SIGINT and SIGTERM and die with its parent: also a `worker_init_fn` of a loader.

    It outlives the signal, so that the main process can finish its step and write a checkpoint; and no decoder that
    hangs outlives the main process. A deadline is the kernel's alarm, whose own action ends a process whatever it is
    doing; faulthandler's timer, which a forked process inherits in an unknown state, can wait for ever.

    Args:
        worker: its number, which a loader passes; it is not used.

    Examples:
        >>> from torch.utils.data import DataLoader
        >>> [batch.item() for batch in DataLoader([10, 20], num_workers=1, worker_init_fn=start_worker)]
        [10, 20]
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    die_with_parent()
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.register(signal.SIGALRM, file=2, chain=True)


def die_with_parent() -> None:
    """Let the kernel kill this process as soon as its parent ends, whatever it is doing then; on Linux only.

    The parent is the thread that started this process. That of a process that a fork server starts is the server: use
    the start method "fork" or "spawn".

    Examples:
        >>> process = multiprocessing.get_context("spawn").Process(target=die_with_parent)
        >>> process.start()
        >>> process.join()
        >>> process.exitcode
        0
    """
    if not sys.platform.startswith("linux"):
        return
    before, parent = os.getppid(), multiprocessing.parent_process()
    ctypes.CDLL(None, use_errno=True).prctl(_SET_PARENT_DEATH_SIGNAL, signal.SIGKILL)
    if os.getppid() != before or (parent is not None and not parent.is_alive()):  # it has ended already
        os.kill(os.getpid(), signal.SIGKILL)
