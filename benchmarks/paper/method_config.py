"""The recipe's settings, and which method is trained with them. Nothing here imports torch: flags are read first."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import tyro

from benchmarks.paper import methods
from examples.d3d.config import PRESETS, Config


@dataclass(frozen=True)
class MethodConfig(Config):
    """The recipe's settings, and which method is trained with them."""

    method: str = "D3D"
    """A name from benchmarks/paper/methods.py, such as D3D_2C."""
    init_from: Path | None = None
    """Trained weights with which the network starts, with a fresh classifier; its teachers start as ever."""

    def __post_init__(self) -> None:
        super().__post_init__()
        methods.named(self.method)


def parse(arguments: list[str] | None = None) -> MethodConfig:
    """Read the settings of a command line such as `pocket --method D3D_4C`."""
    fields = [one.name for one in dataclasses.fields(Config)]
    presets = {
        name: (text, MethodConfig(**{field: getattr(preset, field) for field in fields}))
        for name, (text, preset) in PRESETS.items()
    }
    return tyro.extras.overridable_config_cli(presets, args=arguments)
