"""Render the tables of `benchmarks.speed.models` from its record."""

from __future__ import annotations

from typing import Any

from benchmarks.markdown import Part, document, spread, table

Result = dict[str, Any]


def markdown(record: Result) -> str:
    """Render all parts of the record; one that it lacks is "Not run"."""
    return document(record, PARTS)


def _torchvision(result: Result) -> list[str]:
    speeds = "speed, torchvision's defaults = 1", "speed, torchvision, same settings = 1"
    rows = []
    for name, row in result["methods"].items():
        rate, peak = row["clips_per_s"], row["peak_gib"]
        over = spread(row["over_torchvision_plain"]), spread(row["over_torchvision_same_settings"])
        rows.append((name, *over, spread(rate, "", 0) if rate else "", f"{peak:.2f}" if peak is not None else ""))
    about = f"{_batch(result['batch'])}, {result['rounds']} rounds, median (range); above 1 is faster."
    return [*table(("S3D", *speeds, "clips/s", "peak GiB"), rows), "", about]


def _batch(shape: list[int]) -> str:
    count, channels, frames, height, width = shape
    return f"{count} clips of {channels} × {frames} × {height} × {width}"


def _growth(result: Result) -> list[str]:
    rows = [(key, spread(cost)) for name in ("frames", "size") for key, cost in result[name]["cost"].items()]
    lines = table(("S3D-G, one forward pass", "time relative to the first row"), rows)
    frames, size = result["frames"]["fixed"], result["size"]["fixed"]
    return [*lines, "", f"Frames at {frames[1]} × {frames[2]}, sizes at {size[0]} frames; each block starts at 1."]


def _two_stream(result: Result) -> list[str]:
    known = result["milliseconds"]
    rows = [(name, spread(cost), str(known[name]) if known else "") for name, cost in result["over_d3d"].items()]
    lines = table(("one clip", "time relative to D3D", "ms"), rows)
    _, frames, height, width = result["clip"]
    return [*lines, "", f"S3D-G, {frames} frames of {height} × {width}; two streams: both networks and TV-L1 flow."]


def _roofline(result: Result) -> list[str]:
    headings = ("forward pass", "arithmetic, ms", "memory traffic, ms", "eager, ms (share)", "compiled, ms (share)")
    rows = []
    for name, row in result["networks"].items():
        took = [f"{row['ms'][arm]:.2f} ({100 * row['share'][arm]:.0f} %)" for arm in ("eager", "compiled")]
        rows.append((name, f"{row['arithmetic_ms']:.2f}", f"{row['traffic_ms']:.2f}", *took))
    limits = result["ceilings"]
    return [
        *table(headings, rows),
        "",
        f"{_batch(result['batch'])}, bfloat16, channels last. Ceilings measured in the same run: "
        f"{limits['flops_per_s'] / 1e12:.0f} TFLOP/s, {limits['bytes_per_s'] / 1e12:.1f} TB/s. The first two columns "
        "are the least that arithmetic and memory traffic can take; traffic is what convolutions, pools and linear "
        "layers read and write, each tensor once. The share is the larger of the two over the time.",
    ]


def _backbones(result: Result) -> list[str]:
    failed = {name: row["error"] for name, row in result.items() if row["clips_per_s"] is None}
    lines = [f"{len(result) - len(failed)} networks measured; the figures stand in the table of networks."]
    return lines + [f"- {name} did not run: {error}" for name, error in failed.items()]


PARTS: dict[str, Part] = {
    "inference_gpu": ("S3D beside torchvision's on a GPU: inference", _torchvision),
    "training_gpu": ("S3D beside torchvision's on a GPU: training", _torchvision),
    "inference_cpu": ("S3D beside torchvision's on a CPU: inference", _torchvision),
    "training_cpu": ("S3D beside torchvision's on a CPU: training", _torchvision),
    "roofline_gpu": ("Share of the roofline", _roofline),
    "growth_gpu": ("Growth with frames and size on a GPU", _growth),
    "growth_cpu": ("Growth with frames and size on a CPU", _growth),
    "two_stream_gpu": ("D3D beside two streams on a GPU", _two_stream),
    "two_stream_cpu": ("D3D beside two streams on a CPU", _two_stream),
    "backbones_gpu": ("All backbones on a GPU", _backbones),
}
