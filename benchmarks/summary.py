"""What was measured, on one table, read from the records: the head of the page of results.

python -m benchmarks.summary
"""

from __future__ import annotations

import argparse
import json
from typing import Any

from benchmarks import markdown, record
from benchmarks.reliability.rows import ROWS

HEAD = ["question", "measured", "on what", "all of it"]
SCALES = {
    "pocket": ("embedded synthetic videos", "is-the-papers-shape-seen"),
    "shortcut": (MISLEADING := "videos whose look misleads", "does-distillation-cure-a-shortcut"),
}
OPENCV = "TV-L1 beside OpenCV's DualTVL1, pairs a second"
CACHE = "a step with a teacher's cache beside one without a teacher"
TORCHVISION = "S3D beside torchvision's, forward passes"
BY_HAND = "a step through the wrappers beside one by hand"


def table() -> list[str]:
    """Render the summary; a record that is not there is "not run"."""
    return markdown.table(HEAD, [*_accuracy(), *_ways(), *_speed(), _faults()])


def _accuracy() -> list[list[str]]:
    rows = []
    for scale, (data, section) in SCALES.items():
        for claim in (_read(f"claims_{scale}") or {"claims": []})["claims"][:2]:
            measured = claim["links"][0]["measured"]
            interval = f"95 % interval {measured['low']:+.1f} to {measured['high']:+.1f}" if measured else ""
            words = claim["links"][0]["words"].partition(": ")[2]
            rows.append(
                [claim["claim"], f"{words}; {interval}: {claim['verdict']}", data, f"[tables](tables.md#{section})"]
            )
    known = _read("ut_interaction")
    measured, data = "not run", "UT-Interaction"
    if known:
        found = known["imagenet"]["differences"]["D3D - RGB"]
        data += f", {found['folds']} folds"
        low, mean, high = (f"{100 * found[name]:+.1f}" for name in ("low", "mean", "high"))
        measured = f"{mean} points; 95 % interval {low} to {high}"
    place = "[UT-Interaction](#d3d-on-real-video-ut-interaction)"
    return [*rows, ["D3D − RGB on real video", measured, data, place]]


def _ways() -> list[list[str]]:
    known, rows = _read("flow_ways"), []
    for row in (known or {"rows": []})["rows"]:
        if row["method"] in ("D3D, on the fly", "D3D, teacher cache"):
            mean, error = (100 * value for value in row["minus_stored"])
            words = f"{mean:+.1f} ± {error:.1f} points, paired, {len(row['top1'])} seeds"
            rows.append([f"{row['method']} − stored flow", words, MISLEADING, "[below](#d3d-without-flow-on-disk)"])
    return rows


def _speed() -> list[list[str]]:
    flow, networks, core = _read("speed_flow"), _read("speed_models"), _read("speed_core")
    rows = []
    if flow:
        found = flow["speed"]["result"]["256x340"]["methods"]["kdvideo cpp"]["times_opencv"]
        rows.append([OPENCV, markdown.spread(found), "CPU, 256 × 340", "[flow](#flow)"])
        found = flow["steps"]["result"]["over_plain_rgb"]["teacher cache"]
        rows.append([CACHE, markdown.spread(found), "CPU", "[flow](#flow)"])
    if networks:
        fastest = networks["inference_gpu"]["result"]["methods"]["kdvideo, bf16, channels last, compiled"]
        found = fastest["over_torchvision_same_settings"]
        rows.append([TORCHVISION, markdown.spread(found), "GPU, bfloat16, compiled", "[networks](#networks)"])
    for name, network in {"micro": "micro network", "s3dg": "S3D-G, a quarter of the width"}.items():
        if core and name in core["networks"]:
            found = core["networks"][name]["over_by_hand"]["kdvideo"]
            words = f"{found['median']:.3f}× (quartiles {found['quartile_low']:.3f}–{found['quartile_high']:.3f})"
            rows.append([BY_HAND, words, f"CPU, {network}", "[wrappers](#the-wrappers)"])
    return rows


def _faults() -> list[str]:
    known = _read("reliability") or {}
    failures = sum(row["failures"] for row in known.values())
    words = f"failures: {failures} in {len(known)} rows; not run: {len(ROWS) - len(known)} rows"
    return ["fault tests", words, "one machine", "[promises](promises.md#the-tests)"]


def _read(name: str) -> dict[str, Any] | None:
    path = record.FOLDER / f"{name}.json"
    return json.loads(path.read_text()) if path.exists() else None


if __name__ == "__main__":
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    print(*table(), sep="\n")
