"""TV-L1 in C++, compiled at its first use with the machine's own compiler and kept for the next process."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor

from kdvideo.flow.tvl1.presets import TVL1
from kdvideo.flow.tvl1.pyramid import pyramid

SOURCE = Path(__file__).with_name("tvl1.cpp")
# Linked in a second step without -ffast-math, which would switch denormal numbers off in the whole process.
COMPILE = ("-std=c++17", "-O3", "-ffast-math", "-fPIC", "-pthread")
NATIVE = ("-march=native", "-mprefer-vector-width=512")
BORDERS = ("mask", "zeros", "border")


class CompilerError(RuntimeError):
    """There is no C++ compiler, or it cannot build the solver."""


class _Preset(ctypes.Structure):
    _fields_ = (
        *((name, ctypes.c_float) for name in ("tau", "lambda_", "theta", "tolerance", "step")),
        *((name, ctypes.c_int) for name in ("warps", "iterations", "rounds", "median", "bilinear", "border")),
    )


def solve(clips: Tensor, preset: TVL1) -> Tensor:
    """Flow (B,T-1,2,H,W) of grey clips (B,T,H,W) on the CPU, on `torch.get_num_threads()` threads over the pairs.

    Raises:
        CompilerError: the solver cannot be built here.
        MemoryError: not enough memory.
    """
    run = load().tvl1_solve
    levels = [level.contiguous() for level in pyramid(clips, preset)]
    sizes = [side for level in levels for side in level.shape[-2:]]
    batch, frames, height, width = clips.shape
    flow = clips.new_empty(batch, frames - 1, 2, height, width)
    failed = run(
        (ctypes.c_void_p * len(levels))(*(level.data_ptr() for level in levels)),
        (ctypes.c_int * len(sizes))(*sizes),
        ctypes.c_int(len(levels)),
        ctypes.c_int64(batch),
        ctypes.c_int(frames),
        ctypes.byref(_settings(preset)),
        ctypes.c_int(torch.get_num_threads()),
        ctypes.c_void_p(flow.data_ptr()),
    )
    if failed:
        raise MemoryError(f"no memory for TV-L1 on frames of {height}x{width}")
    return flow


def _settings(preset: TVL1) -> _Preset:
    return _Preset(
        preset.tau,
        preset.lambda_,
        preset.theta,
        preset.tolerance or 0.0,
        preset.scale_step,
        preset.warps,
        preset.iterations,
        preset.rounds,
        preset.median,
        preset.interpolation == "bilinear",
        BORDERS.index(preset.border),
    )


@functools.cache
def load() -> ctypes.CDLL:
    """The compiled solver, from the cache folder or built now; raises CompilerError."""
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        raise CompilerError("no C++ compiler found (looked for $CXX, c++, g++ and clang++)")
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join((compiler, *COMPILE, *NATIVE, _cpu())).encode()).hexdigest()
    folder = _cache_folder()
    file = folder / f"tvl1-{key[:20]}.so"
    if not file.exists():
        _build(compiler, file)
    return ctypes.CDLL(str(file))


def _cpu() -> str:
    """What -march=native depends on: a home folder may be shared by machines with other processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return " ".join([platform.machine(), platform.processor(), *sorted(set(known))])


def _cache_folder() -> Path:
    """A folder of this user alone; a fresh one where the usual place cannot be written."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = Path(base) / "kdvideo"
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.access(folder, os.W_OK) and folder.stat().st_uid == os.getuid():
            return folder
    except OSError:
        pass
    return Path(tempfile.mkdtemp(prefix="kdvideo-"))


def _build(compiler: str, file: Path) -> None:
    with tempfile.TemporaryDirectory(prefix=".build-", dir=file.parent) as work:
        part, whole = Path(work) / "tvl1.o", Path(work) / file.name
        errors = ""
        for flags in (NATIVE, NATIVE[:1], ()):  # not every compiler knows them
            done = _run([compiler, *COMPILE, *flags, "-c", str(SOURCE), "-o", str(part)])
            if done.returncode == 0:
                break
            errors = errors or done.stderr
        else:
            raise CompilerError(f"{compiler} cannot build {SOURCE.name}: {errors[-1000:]}")
        done = _run([compiler, "-shared", "-pthread", str(part), "-o", str(whole)])
        if done.returncode:
            raise CompilerError(f"{compiler} cannot link {SOURCE.name}: {done.stderr[-1000:]}")
        os.replace(whole, file)  # processes that build at the same time do not see each other's half


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{command[0]} does not run: {error}") from error
