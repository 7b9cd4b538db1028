"""The tables of the flow benchmark, rendered from its record."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import Part, document, spread


def markdown(record: dict[str, Any]) -> str:
    """All parts; one that has no record is "not run"."""
    return document(record, PARTS)


def _speed(result: dict[str, Any]) -> list[str]:
    sizes = list(result)
    lines = [
        "| pairs per second relative to OpenCV's DualTVL1 | " + " | ".join(sizes) + " |",
        "|---|" + "---|" * len(sizes),
    ]
    for name in result[sizes[0]]["methods"]:
        cells = [spread(result[size]["methods"][name]["times_opencv"]) for size in sizes]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    control = ", ".join(f"{size} {spread(result[size]['a_over_a'])}" for size in sizes)
    pairs = result[sizes[0]]["pairs"]
    return [
        *lines,
        "",
        f"{pairs} real pairs, median (range) over the rounds. The C++ backend against itself: {control}.",
    ]


def _gpu_speed(result: dict[str, Any]) -> list[str]:
    lines = [
        "| backend | size | pairs per second | share of the two-kernel bound | hours for Kinetics-400 |",
        "|---|---|---|---|---|",
    ]
    for size, one in result.items():
        for name, row in one["methods"].items():
            share, hours = row["share_of_bound"], row["kinetics_400_hours"]
            lines.append(f"| {name} | {size} | {spread(row['pairs_per_s'], '', 0)} | {share:.2f} | {hours:.1f} |")
    return lines


def _accuracy(result: dict[str, Any]) -> list[str]:
    large = result["large_motion"]["methods"]
    columns = [name for name in next(iter(large.values())) if name != "mean"]
    head = ["RubberWhale", *(f"up to {name}" for name in columns), "mean of these"]
    lines = ["| endpoint error, px | " + " | ".join(head) + " |", "|---|" + "---|" * len(head)]
    for name, errors in large.items():
        known = result["rubberwhale"].get(name)
        cells = [f"{known:.4f}" if known is not None else "", *(f"{errors[c]:.2f}" for c in (*columns, "mean"))]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    frames = result["large_motion"]["frames"]
    lines += ["", f"Large motion: {frames} real frames warped by known smooth fields.", ""]
    lines += [
        "| mean distance of two backends on 16 real pairs, px | mean | worst pair | median pixel |",
        "|---|---|---|---|",
    ]
    for name, row in result["backends"].items():
        lines.append(f"| {name} | {row['mean']:.4f} | {row['largest']:.3f} | {row['median']:.5f} |")
    return lines


def _steps(result: dict[str, Any]) -> list[str]:
    lines = ["| training step | time relative to a plain RGB step |", "|---|---|"]
    lines += [f"| {name} | {spread(row)} |" for name, row in result["over_plain_rgb"].items()]
    setting = result["setting"]
    clips = f"{setting['batch']} clips of {setting['frames']} frames of {setting['side']}×{setting['side']}"
    return [*lines, "", f"{clips}, depth multiplier {setting['depth_multiplier']:g}, {result['rounds']} rounds."]


def _stores(result: dict[str, Any]) -> list[str]:
    lines = [
        "| store | kB per pair at 256×340 (range over clips) | endpoint error, px | Kinetics-400 |",
        "|---|---|---|---|",
    ]
    for name, row in result["stores"].items():
        spread = f"{row['kilobytes_per_pair_at_256x340']:.1f} ({row['smallest']:.1f}–{row['largest']:.1f})"
        lines.append(f"| {name} | {spread} | {row['endpoint_error_px']:.3f} | {row['kinetics_400_terabytes']:.2f} TB |")
    count = len(result["clips"])
    return [
        *lines,
        "",
        f"{count} real clips, short side 256, truncated to ±{result['bound_px']:g} px; scaled by pixels.",
    ]


PARTS: dict[str, Part] = {
    "speed": ("TV-L1 on a CPU", _speed),
    "gpu_speed": ("TV-L1 on a GPU", _gpu_speed),
    "accuracy": ("Errors", _accuracy),
    "steps": ("A step of D3D on a CPU", _steps),
    "gpu_steps": ("A step of D3D on a GPU", _steps),
    "stores": ("Flow on disk", _stores),
}
