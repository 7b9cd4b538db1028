"""Calls in a child process with a limit on memory and time, and what came of them."""

import os
import resource
import select
import signal
import time
from collections.abc import Callable
from typing import NamedTuple

GIB = 2**30


class Outcome(NamedTuple):
    """What a call did: "loaded", the name of an error, or "hung" or "died"; its words, peak memory and seconds."""

    kind: str
    words: str
    megabytes: float = 0.0
    seconds: float = 0.0


def guarded(call: Callable[[], object], *, memory: int = 2 * GIB, seconds: float = 60.0) -> Outcome:
    """Run a call in a fork that may take `memory` more bytes of address space; kill it after some seconds."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, "\0".join(map(str, _measured(call, memory))).encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writer)
    data = b""
    end = time.monotonic() + seconds
    while select.select([reader], [], [], max(0.0, end - time.monotonic()))[0]:
        if not (piece := os.read(reader, 2**16)):
            break
        data += piece
    else:
        os.kill(child, signal.SIGKILL)
        data = b"hung\0after a while"
    os.close(reader)
    _, status = os.waitpid(child, 0)
    kind, words, *numbers = data.decode().split("\0") if data else ("died", str(status))
    return Outcome(kind, words, *map(float, numbers))


def _measured(call: Callable[[], object], memory: int) -> Outcome:
    with open("/proc/self/statm") as file:
        now = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + memory, now + memory))
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")  # the peak starts anew
    before, start = _peak(), time.process_time()  # of this process: others may keep the machine busy
    try:
        kind, words = "loaded", str(call())[:200]
    except BaseException as error:
        kind, words = type(error).__name__, str(error).replace("\0", "?")[:2000]
    return Outcome(kind, words, (_peak() - before) / 1024, time.process_time() - start)


def _peak() -> int:
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmHWM"))
