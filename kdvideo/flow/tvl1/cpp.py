"""TV-L1 in C++ for CPUs, compiled at its first use with the machine's own compiler and kept for later processes."""

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

from kdvideo.flow.tvl1.presets import TVL1Settings
from kdvideo.flow.tvl1.pyramid import pyramid

SOURCE = Path(__file__).with_name("tvl1.cpp")
# -ffast-math gives the vector units' approximate reciprocals and roots; tvl1.cpp keeps denormal numbers from them.
# Linked in a second step without -ffast-math, which would switch denormal numbers off in the whole process.
COMPILE = ("-std=c++17", "-O3", "-ffast-math", "-fPIC", "-pthread")
NATIVE = ("-march=native", "-mprefer-vector-width=512")
BORDERS = ("mask", "zeros", "border")  # in the order of `Border` in tvl1.cpp


class CompilerError(RuntimeError):
    """Error of a machine without a C++ compiler, or with one that cannot build the solver."""


class _Preset(ctypes.Structure):
    """`Preset` of tvl1.cpp, field by field."""

    _fields_ = (
        *((name, ctypes.c_float) for name in ("tau", "lambda_", "theta", "tolerance", "step")),
        *((name, ctypes.c_int) for name in ("warps", "iterations", "rounds", "median", "bilinear", "border")),
    )


def solve(clips: Tensor, preset: TVL1Settings) -> Tensor:
    """Compute the flow (B,T-1,2,H,W) of gray clips (B,T,H,W) on the CPU.

    `torch.get_num_threads()` threads each work on pairs of their own; their number does not change the flow.

    Raises:
        CompilerError: the solver cannot be built here.
        MemoryError: there is not enough memory.
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
        raise MemoryError(f"TV-L1 on frames of {height}x{width} needs more memory than there is: use fewer threads")
    return flow


def _settings(preset: TVL1Settings) -> _Preset:
    return _Preset(
        preset.tau,
        preset.lambda_,
        preset.theta,
        preset.tolerance or 0.0,  # the C++ code reads 0 as none
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
    """Return the compiled solver, from the cache folder or built now.

    Raises:
        CompilerError: there is no compiler, or it fails.
        OSError: the cache folder or the library in it cannot be read or written.
    """
    compiler = os.environ.get("CXX") or next(filter(shutil.which, ("c++", "g++", "clang++")), None)
    if compiler is None:
        raise CompilerError("no C++ compiler found (looked for $CXX, c++, g++ and clang++)")
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join((compiler, *COMPILE, *NATIVE, _cpu())).encode()).hexdigest()
    folder = _cache_folder()
    file = folder / f"tvl1-{key[:20]}.so"
    if not file.exists():
        _build(compiler, file)
    return ctypes.CDLL(str(file))


def build_error() -> str:
    """Return why the solver cannot be built or loaded here, or an empty string."""
    try:
        load()
    except (CompilerError, OSError) as error:
        return str(error)
    return ""


def _cpu() -> str:
    """Describe what -march=native depends on: a home folder may be shared by machines with other processors."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    known = [line for line in lines if line.startswith(("model name", "flags", "Features"))]
    return " ".join([platform.machine(), platform.processor(), *sorted(set(known))])


def _cache_folder() -> Path:
    """Return a folder that only this user can write, since code is loaded from it; a new one if ~/.cache cannot be."""
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
        for flags in (NATIVE, NATIVE[:1], ()):  # not every compiler knows all of them
            done = _run([compiler, *COMPILE, *flags, "-c", str(SOURCE), "-o", str(part)])
            if done.returncode == 0:
                break
            errors = errors or done.stderr
        else:
            raise CompilerError(f"{compiler} cannot build {SOURCE.name}: {errors[-1000:]}")
        done = _run([compiler, "-shared", "-pthread", str(part), "-o", str(whole)])
        if done.returncode:
            raise CompilerError(f"{compiler} cannot link {SOURCE.name}: {done.stderr[-1000:]}")
        os.replace(whole, file)  # atomic: another process sees no file or a whole one


def _run(command: list[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CompilerError(f"{command[0]} does not run: {error}") from error
