"""The command line of the ranking. Nothing here imports torch: `--help` and wrong flags end first."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

DEVELOPMENT_SEEDS = (100, 101)
PAIRS = ("images", "video", "cnn_to_vit", "vit_to_cnn")


def arguments(given: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description="Tune, train and time every method; write the records of the ranking.")
    parser.add_argument("--pairs", nargs="+", choices=PAIRS, default=PAIRS, help="of networks and data")
    parser.add_argument("--methods", nargs="+", metavar="NAME", help="of benchmarks/methods/methods.py (default: all)")
    parser.add_argument("--seeds", nargs="+", type=int, default=list(range(5)), help="at least two")
    parser.add_argument("--rounds", type=int, default=15, help="of the timing of steps")
    parser.add_argument("--folder", type=Path, default=Path("runs/ranking"), help="of the single runs")
    options = parser.parse_args(given)
    if set(options.seeds) & set(DEVELOPMENT_SEEDS) or len(set(options.seeds)) < 2:
        parser.error(f"--seeds must be at least two, none of {DEVELOPMENT_SEEDS}, on which weights are tuned")
    return options
