"""The command `kdvideo doctor`: what works on this machine, and what is missing."""

from __future__ import annotations

import argparse
import os
import platform
import re
import shutil
from importlib import import_module, metadata
from importlib.util import find_spec
from typing import NamedTuple

from kdvideo.cli.parsing import FAILED, SUCCESS, Commands, new_command

CORE = ("torch", "einops", "safetensors")
MODULES = {"opencv-contrib-python-headless": "cv2", "scikit-image": "skimage"}
DECODERS = ("h264", "hevc", "mpeg4", "vp8", "vp9", "libdav1d", "ffv1", "mjpeg")
COMPILERS = ("c++", "g++", "clang++")


class Finding(NamedTuple):
    """A line of the report; `broken` where something is installed but does not work."""

    topic: str
    text: str
    broken: bool = False


def add_to(commands: Commands) -> None:
    """Add the command to the command line."""
    new_command(
        commands,
        "doctor",
        run,
        summary="print what works on this machine, and what is missing",
        details="Print the versions of the packages, CPU, GPU, C++ compiler, video decoder, and which extras are "
        "missing. Exit status: 0, or 1 where something is installed but broken.",
        example="kdvideo doctor",
    )


def run(options: argparse.Namespace) -> int:
    """Print the report."""
    findings = examine()
    width = max(len(finding.topic) for finding in findings)
    for topic, text, broken in findings:
        print(f"{topic:<{width}}  {'BROKEN: ' if broken else ''}{text}")
    return FAILED if any(finding.broken for finding in findings) else SUCCESS


def examine() -> list[Finding]:
    """Return what works here, what is missing and what is broken."""
    extras = _extras()
    packages = dict.fromkeys([*CORE, *extras.get("video", ()), *extras.get("d3d", ())])
    return [
        Finding("system", f"Python {platform.python_version()}, {platform.platform()}"),
        *map(_package, ["kdvideo", *packages]),
        *_hardware(),
        _compiler(),
        _decoder(),
        *(_extra(name, needed) for name, needed in extras.items()),
    ]


def _package(distribution: str) -> Finding:
    version, module = _version(distribution), MODULES.get(distribution, distribution.replace("-", "_"))
    if version is None:
        return Finding(distribution, "not installed", broken=distribution in CORE)
    try:
        if find_spec(module) is not None:
            import_module(module)
    except Exception as error:  # a library that does not fit raises nearly anything
        text = f"{version} cannot be imported: {type(error).__name__}: {error}{_fits(distribution)}"
        return Finding(distribution, text, broken=True)
    advice = _fits(distribution)
    return Finding(distribution, f"{version}{advice}", broken=bool(advice))


def _fits(distribution: str) -> str:
    """Return what to do where a package was built for another torch, as torchvision is for one; else nothing."""
    wanted = re.search(r"^torch\s*\(?==([\w.]+)\)?$", "\n".join(metadata.requires(distribution) or []), flags=re.M)
    torch = _version("torch")
    if wanted is None or torch is None or wanted[1] == torch.partition("+")[0]:
        return ""
    return f"; it is built for torch {wanted[1]}, and {torch} is here: run pip install --upgrade torch {distribution}"


def _version(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None


def _hardware() -> list[Finding]:
    import torch

    from kdvideo.training.environment import processor_name

    cpu = f"{processor_name()}, {len(os.sched_getaffinity(0))} of {os.cpu_count()} cores usable"
    cpu += f", {torch.backends.cpu.get_cpu_capability()}, {torch.get_num_threads()} threads"
    found = [Finding("CPU", cpu)]
    if not torch.cuda.is_available():
        driver = "; a driver is here: install torch's build for CUDA" if shutil.which("nvidia-smi") else ""
        return [*found, Finding("GPU", f"none: torch sees no GPU{driver}")]
    for number in range(torch.cuda.device_count()):
        try:
            name = torch.cuda.get_device_name(number)
            torch.ones(1, device=f"cuda:{number}").add(1).item()
            found.append(Finding("GPU", f"{number}: {name}"))
        except RuntimeError as error:
            found.append(Finding("GPU", f"{number}: {error}", broken=True))
    return found


def _compiler() -> Finding:
    import torch

    from kdvideo import flow

    compiler = os.environ.get("CXX") or next(filter(shutil.which, COMPILERS), None)
    if compiler is None:
        return Finding("C++ compiler", "none: TV-L1 runs in plain torch, several times slower; install g++ or clang++")
    try:
        flow.tvl1(torch.zeros(2, 3, 32, 32, dtype=torch.uint8), backend="cpp")
    except (ValueError, OSError) as error:
        return Finding("C++ compiler", f"{compiler}: {error}", broken=True)
    return Finding("C++ compiler", f"{compiler} builds TV-L1")


def _decoder() -> Finding:
    if find_spec("av") is None:
        return Finding("decoder", "none: no video can be read without PyAV")
    try:
        av = import_module("av")
    except Exception as error:
        return Finding("decoder", f"PyAV cannot be imported: {error}", broken=True)
    known = [name for name in DECODERS if name in av.codecs_available]
    lacking = [name for name in DECODERS if name not in known]
    text = f"PyAV {av.__version__} reads {', '.join(known)}" + (f", not {', '.join(lacking)}" if lacking else "")
    return Finding("decoder", text, broken=not known)


def _extras() -> dict[str, list[str]]:
    """Return the distributions that each extra of the installed kdvideo asks for, by the name of the extra."""
    try:
        requirements = metadata.requires("kdvideo") or []
    except metadata.PackageNotFoundError:
        return {}
    extras: dict[str, list[str]] = {}
    for requirement in requirements:
        name, extra = re.match(r"[\w.-]+", requirement), re.search(r"extra == ['\"]([\w-]+)['\"]", requirement)
        if name and extra and extra[1] != "all" and name[0] != "kdvideo":
            extras.setdefault(extra[1], []).append(name[0])
    return extras


def _extra(name: str, needed: list[str]) -> Finding:
    missing = [distribution for distribution in needed if _version(distribution) is None]
    if not missing:
        return Finding(f"[{name}]", "complete")
    return Finding(f"[{name}]", f'lacks {", ".join(missing)}: run pip install "kdvideo[{name}]"')
