"""Render the records of the ranking: paired differences with intervals, what they show after Holm, and a picture.

python -m benchmarks.methods.render
"""

from __future__ import annotations

import argparse

if __name__ == "__main__":  # before the imports, which take seconds
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import matplotlib

from benchmarks import record
from benchmarks.markdown import spread, table, where
from benchmarks.methods.differences import ALONE, BASE, CONTROL, Found, comparisons, correlation, shown
from benchmarks.methods.pairs import PAIRS
from examples.d3d import comparison
from examples.d3d.comparison import Comparison
from kdvideo.files import write_atomic

matplotlib.use("Agg")
from matplotlib import pyplot as plt

LEFT_END = -12.0
TITLES = {
    "images": "images",
    "video": "flow to RGB",
    "cnn_to_vit": "convolutional network to transformer",
    "vit_to_cnn": "transformer to convolutional network",
}
PICTURE = Path(__file__).parents[2] / "docs" / "img" / "ranking.png"


def markdown(known: Mapping[str, Any]) -> str:
    """Render one pair, the best mean first."""
    found = comparisons(known)
    clear = shown(found)
    rows = {name: row for name, row in known["rows"].items() if "test" in row}
    order = sorted(rows, key=lambda name: -comparison.summarize(rows[name]["test"]).mean)
    base = rows.get(BASE, {}).get("step", {}).get("median")
    lines = [*_caption(known, found), ""]
    lines += table(
        ["method", "setting", "test top-1, %", f"− {ALONE}", f"− {BASE}", f"step / {ALONE}", f"step / {BASE}"],
        (
            [
                name,
                _setting(rows[name]),
                f"{comparison.summarize(rows[name]['test']).mean:.1f}",
                *(_difference(found.get((name, other)), (name, other) in clear) for other in (ALONE, BASE)),
                spread(_ends(rows[name]["step"])),
                f"{rows[name]['step']['median'] / base:.2f}×" if base else "",
            ]
            for name in order
        ),
    )
    lines += ["", *(_verdict(found, clear, other) for other in (ALONE, BASE)), ""]
    lines += [f"Not applicable: {_reasons(known['not_applicable'])}.", "", where(known), ""]
    return "\n".join(lines)


def _caption(known: Mapping[str, Any], found: Found) -> list[str]:
    teacher = comparison.summarize(known["teacher_validation"])
    control, number = known["rows"][CONTROL]["step"], correlation(found)
    alike = "" if number is None else f"; median correlation of two methods {number:.2f}"
    return [
        f"{known['text']} {known['steps']} steps of the student. Seeds {_list(known['seeds'])}; settings chosen at the "
        f"seeds {_list(known['development_seeds'])} on validation data, where the teachers of the test seeds have "
        f"{teacher.mean:.1f} %. Differences in points, paired by seed (a seed draws "
        f"data, teacher and first weights{alike}), with 95 % t intervals; **bold**: a difference "
        f"after Holm's correction over all comparisons of this table. A step of the student alone takes "
        f"{known['milliseconds_alone']:.2f} ms of CPU time; that of a method includes its teacher (medians and "
        f"quartiles of ratios within {known['rounds']} interleaved rounds; the student alone against itself: "
        f"{spread(_ends(control))})."
    ]


def _setting(row: Mapping[str, Any]) -> str:
    if row["factor"] is None:
        return f"rate {row['rate']:g}"
    return f"weight {row['weight']:g} ({row['factor']:g})"


def _difference(one: Comparison | None, clear: bool) -> str:
    if one is None or one.low is None or one.high is None:
        return ""
    mean = f"{one.mean:+.1f}"
    return f"{f'**{mean}**' if clear else mean} [{one.low:+.1f}, {one.high:+.1f}]"


def _verdict(found: Found, clear: set[tuple[str, str]], other: str) -> str:
    means = {name: one.mean for (name, base), one in found.items() if base == other}
    better = [name for name in means if (name, other) in clear and means[name] > 0]
    worse = [name for name in means if (name, other) in clear and means[name] < 0]
    ties = len(means) - len(better) - len(worse)
    against = [one for (_, base), one in found.items() if base == other]
    above, below = sum((one.low or 0) > 0 for one in against), sum((one.high or 0) < 0 for one in against)
    return (
        f"Against {other}: better {len(better)}{_names(better)}, worse {len(worse)}{_names(worse)}, no difference "
        f"shown {ties}. Without the correction, {above} intervals lie above 0 and {below} below.  "
    )


def _names(names: Iterable[str]) -> str:
    text = ", ".join(names)
    return f" ({text})" if text else ""


def _reasons(reasons: Mapping[str, str]) -> str:
    by_reason: dict[str, list[str]] = {}
    for name, reason in reasons.items():
        by_reason.setdefault(reason, []).append(name)
    return "; ".join(f"{', '.join(names)} ({reason})" for reason, names in by_reason.items())


def _ends(step: Mapping[str, float]) -> dict[str, float]:
    return {"median": step["median"], "min": step["low"], "max": step["high"]}


def _list(seeds: Iterable[int]) -> str:
    return ", ".join(map(str, seeds))


def draw(records: Mapping[str, Mapping[str, Any]], path: Path) -> None:
    """Draw the gain of every method over the student alone, with its interval, two pairs a line."""
    lines = -(-len(records) // 2)
    figure, axes = plt.subplots(lines, 2, figsize=(9, 8 * lines), squeeze=False)
    for axis, (pair, known) in zip(axes.flat, records.items(), strict=False):
        found = comparisons(known)
        gains = sorted((one for (_, other), one in found.items() if other == ALONE), key=lambda one: one.mean)
        errors = [[one.mean - (one.low or 0.0) for one in gains], [(one.high or 0.0) - one.mean for one in gains]]
        clear = shown(found)
        colors = ["tab:blue" if (one.first, ALONE) in clear else "tab:gray" for one in gains]
        means = [one.mean for one in gains]
        axis.barh([one.first for one in gains], means, color=colors, alpha=0.6)
        axis.errorbar(means, range(len(gains)), xerr=errors, fmt="none", ecolor="black", elinewidth=0.8, capsize=2)
        axis.axvline(0, color="black", linewidth=0.8)
        axis.set(title=TITLES[pair], xlabel="points over the student alone", ylim=(-0.7, len(gains) - 0.3))
        axis.set_xlim(left=max(LEFT_END, axis.get_xlim()[0]))  # a collapse would leave no room for the others
        axis.tick_params(axis="y", labelsize=8)
        axis.grid(axis="x", alpha=0.3)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.tight_layout()
    figure.savefig(path, dpi=90, metadata={"Software": None})
    plt.close(figure)


def main() -> None:
    """Render the record of every pair, or that there is none, and their picture."""
    records = {}
    for pair in PAIRS:
        path = record.FOLDER / f"methods_{pair}.json"
        if path.exists():
            records[pair] = json.loads(path.read_text())
        text = markdown(records[pair]) if pair in records else "Not run.\n"
        write_atomic(path.with_suffix(".md"), text.encode())
    if records:
        draw(records, PICTURE)


if __name__ == "__main__":
    main()
