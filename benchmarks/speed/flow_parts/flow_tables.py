"""Render the tables of `benchmarks.speed.flow` from its record."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import Part, document, spread, table


def markdown(record: dict[str, Any]) -> str:
    """Render all parts of the record; one that it lacks is "Not run"."""
    return document(record, PARTS)


def _speed(result: dict[str, Any]) -> list[str]:
    sizes = list(result)
    rows = [
        (name, *(spread(result[size]["methods"][name]["times_opencv"]) for size in sizes))
        for name in result[sizes[0]]["methods"]
    ]
    control = ", ".join(f"{size} {spread(result[size]['a_over_a'])}" for size in sizes)
    pairs = result[sizes[0]]["pairs"]
    return [
        *table(("pairs per second relative to OpenCV's DualTVL1", *sizes), rows),
        "",
        f"{pairs} real pairs, median (range) over the rounds. The C++ backend against itself: {control}.",
    ]


def _gpu_speed(result: dict[str, Any]) -> list[str]:
    headings = ("backend", "size", "pairs per second", "share of the two-kernel bound", "hours for Kinetics-400")
    rows = []
    for size, one in result.items():
        for name, row in one["methods"].items():
            share, hours = row["share_of_bound"], row["kinetics_400_hours"]
            rows.append((name, size, spread(row["pairs_per_s"], "", 0), f"{share:.2f}", f"{hours:.1f}"))
    return table(headings, rows)


def _accuracy(result: dict[str, Any]) -> list[str]:
    large = result["large_motion"]["methods"]
    columns = [name for name in next(iter(large.values())) if name != "mean"]
    rows = []
    for name, errors in large.items():
        known = result["rubberwhale"].get(name)
        cells = [f"{errors[column]:.2f}" for column in (*columns, "mean")]
        rows.append((name, f"{known:.4f}" if known is not None else "", *cells))
    headings = ("endpoint error, px", "RubberWhale", *(f"up to {name}" for name in columns), "mean of these")
    frames = result["large_motion"]["frames"]
    lines = [*table(headings, rows), "", f"Large motion: {frames} real frames warped by known smooth fields.", ""]
    backends = [
        (name, f"{row['mean']:.4f}", f"{row['largest']:.3f}", f"{row['median']:.5f}")
        for name, row in result["backends"].items()
    ]
    about = "mean distance of two backends on 16 real pairs, px"
    return [*lines, *table((about, "mean", "worst pair", "median pixel"), backends)]


def _steps(result: dict[str, Any]) -> list[str]:
    rows = [(name, spread(row)) for name, row in result["over_plain_rgb"].items()]
    setting = result["setting"]
    clips = f"{setting['batch']} clips of {setting['frames']} frames of {setting['side']}×{setting['side']}"
    about = f"{clips}, depth multiplier {setting['depth_multiplier']:g}, {result['rounds']} rounds."
    return [*table(("training step", "time relative to a plain RGB step"), rows), "", about]


def _stores(result: dict[str, Any]) -> list[str]:
    headings = ("store", "kB per pair at 256×340 (range over clips)", "endpoint error, px", "Kinetics-400")
    rows = []
    for name, row in result["stores"].items():
        kilobytes = f"{row['kilobytes_per_pair_at_256x340']:.1f} ({row['smallest']:.1f}–{row['largest']:.1f})"
        terabytes = f"{row['kinetics_400_terabytes']:.2f} TB"
        rows.append((name, kilobytes, f"{row['endpoint_error_px']:.3f}", terabytes))
    count, bound = len(result["clips"]), result["bound_px"]
    about = f"{count} real clips, short side 256, truncated to ±{bound:g} px; scaled by pixels."
    return [*table(headings, rows), "", about]


def _estimators(result: dict[str, Any]) -> list[str]:
    rows = []
    for name, row in result["estimators"].items():
        why = row.get("not_run")
        cost = f"not run: {why}" if why else spread(row["processor_time"])
        error = f"{row['error_px']:.4f}" if "error_px" in row else ""
        rows.append((name, error if error or "again" in name else "not run", cost))
    size = "×".join(map(str, result["size"]))
    about = f"One thread; {size} pixels, a real pair, for the time. RAFT and SEA-RAFT have random weights there."
    return [*table(("estimator", "endpoint error, RubberWhale, px", "processor time, TV-L1 = 1"), rows), "", about]


PARTS: dict[str, Part] = {
    "speed": ("TV-L1 on a CPU", _speed),
    "gpu_speed": ("TV-L1 on a GPU", _gpu_speed),
    "accuracy": ("Errors", _accuracy),
    "estimators": ("Estimators on a CPU", _estimators),
    "steps": ("A step of D3D on a CPU", _steps),
    "gpu_steps": ("A step of D3D on a GPU", _steps),
    "stores": ("Flow on disk", _stores),
}
