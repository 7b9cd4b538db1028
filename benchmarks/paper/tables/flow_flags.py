"""How flow reaches the trainings of a table: extracted before, stored, computed on the way, or as a teacher's cache."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from examples.d3d import extracted_flow
from examples.d3d.config import Config


def chosen(config: Config, options: argparse.Namespace) -> Config:
    """Return the settings with what the command line says of flow."""
    return dataclasses.replace(config, **_given(options))


def words(options: argparse.Namespace) -> list[str]:
    """Return what the command line says of flow, as a command's words."""
    return [word for name, value in _given(options).items() for word in (f"--{name.replace('_', '-')}", str(value))]


def _given(options: argparse.Namespace) -> dict[str, Any]:
    names = ("flow_dir", "flow_from", "cache_flow", "distinct_views")
    known = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in known.items() if value is not None}


def extraction(config: Config, options: argparse.Namespace) -> list[str]:
    """Return the lines that extract the flow of the given clips first; none where none is stored."""
    config = dataclasses.replace(chosen(config, options), train=options.train, test=options.test, root=options.root)
    sides = extracted_flow.SIDES if config.stores_flow else ()
    return [extracted_flow.command(config, side, config.flow_dir) for side in sides]


def check(config: Config, options: argparse.Namespace) -> None:
    """Raise `ValueError` unless the command line says where flow comes from: GPUs do not wait for it unasked."""
    if not (options.flow_dir or options.flow_from):
        first = " && ".join(extraction(config, options))
        advice = "or --flow-from online, or --flow-from store, where the GPUs wait for it"
        raise ValueError(f"--flow-dir must name the flow of the clips; it is extracted by `{first}`; {advice}")
