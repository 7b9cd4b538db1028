"""Render the speed benchmarks' records for the docs: ``python -m benchmarks.speed_table``."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.record import FOLDER


def _spread(ratio: dict[str, float]) -> str:
    return f"{ratio['median']:.2f}× ({ratio['min']:.2f}–{ratio['max']:.2f})"


def flow_table(result: dict[str, Any]) -> list[str]:
    """TV-L1 against OpenCV, ratio by ratio within a round."""
    comparison = result["comparison"]
    height, width = comparison["size"]
    lines = [
        f"TV-L1 on {comparison['pairs']} real pairs at {height}×{width}, {result['threads']} threads each, "
        f"{result['rounds']} rounds side by side on a CPU; the default against itself: "
        f"{_spread(comparison['a_over_a'])}.",
        "",
        "| method | pairs per second, relative to OpenCV's DualTVL1 | median difference to it, px |",
        "|---|---|---|",
    ]
    for name, row in comparison["methods"].items():
        lines.append(f"| {name} | {_spread(row['times_opencv'])} | {row['median_difference_to_opencv_px']:.3f} |")
    return lines


def core_table(result: dict[str, Any]) -> list[str]:
    """A training step through the wrappers against the same step by hand."""
    ours, control = result["kdvideo_over_by_hand"], result["by_hand_over_by_hand"]
    return [
        "Training step of a micro network through `Student`, `Teacher` and the loss objects, relative to the same step "
        f"written by hand, {result['rounds']} rounds interleaved: {ours['median']:.3f}× "
        f"(quartiles {ours['quartile_low']:.3f}–{ours['quartile_high']:.3f}); by hand against itself "
        f"{control['median']:.3f}× ({control['quartile_low']:.3f}–{control['quartile_high']:.3f}).",
    ]


def main() -> None:
    """Write results/speed.md; a benchmark without a record is "not run"."""
    parts = []
    for name, render in (("speed_flow", flow_table), ("speed_core", core_table)):
        path = FOLDER / f"{name}.json"
        parts.append(render(json.loads(path.read_text())) if path.exists() else [f"{name}: not run"])
    text = "\n".join("\n".join([*part, ""]) for part in parts)
    (FOLDER / "speed.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
