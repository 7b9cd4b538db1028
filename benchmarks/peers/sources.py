"""Import the losses of other libraries: from installed packages, or single files of a checkout."""

from __future__ import annotations

import importlib
import importlib.util
import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

PACKAGES = {"torchdistill": "torchdistill", "ModelOpt": "nvidia-modelopt", "timm": "timm", "TRL": "trl"}
REPOSITORIES = {
    "RepDistiller": "HobbitLong/RepDistiller",
    "mdistiller": "megvii-research/mdistiller",
    "mmrazor": "open-mmlab/mmrazor",
}


class Sources:
    """Where the peers are found.

    Args:
        folder: holds a checkout of each of `REPOSITORIES`, under its name.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def installed(self, name: str) -> Any:
        """Import a module of an installed package."""
        return importlib.import_module(name)

    def package(self, peer: str, name: str) -> Any:
        """Import a package of a checkout."""
        root = str(self.folder / peer)
        sys.path.insert(0, root)
        try:
            return importlib.import_module(name)
        finally:
            sys.path.remove(root)

    def mmrazor(self, name: str) -> Any:
        """Import one loss file of mmrazor without its registry, which needs all of mmengine and mmcv."""
        registry: Any = ModuleType("mmrazor.registry")
        registry.MODELS = _NoRegistry()
        path = self.folder / "mmrazor" / "mmrazor" / "models" / "losses" / f"{name}.py"
        spec = importlib.util.spec_from_file_location(f"mmrazor_{name}", path)
        if spec is None or spec.loader is None:
            raise ValueError(f"mmrazor must have the loss {name!r}, got no file {path.name}: check the checkout")
        module = importlib.util.module_from_spec(spec)
        sys.modules["mmrazor.registry"] = registry
        try:
            spec.loader.exec_module(module)
        finally:
            del sys.modules["mmrazor.registry"]
        return module

    def version(self, peer: str) -> str:
        """Return the version of an installed package, or the commit of a checkout."""
        if peer in PACKAGES:
            return version(PACKAGES[peer])
        command = ["git", "-C", str(self.folder / peer), "rev-parse", "--short=7", "HEAD"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


class _NoRegistry:
    def register_module(self) -> Callable[[type], type]:
        return lambda loss: loss
