"""Clips per second that one core reads for a training, by what they carry and in what form, beside other readers.

    python -m benchmarks.speed.reading
    LD_LIBRARY_PATH=… python -m benchmarks.speed.reading       # with the FFmpeg that torchcodec needs

An item is a random window of 64 frames at 25 fps, short side 256, crop 224, collated. "floats": as float32 from the
reader; "bytes": uint8, converted on the device by `data.to_float`. Flow of the first form is read from FFV1 video, of
the second from Zstandard frames. Real clips as they are (H.264 of Kinetics), and the same prepared: short side 256,
25 fps, a key frame every 16, coded for fast decoding. One process of one thread; seconds are those of the processor.
Every arm runs once a round, in an order drawn anew; one of ours runs twice (A/A). Files are in the page cache, but
nothing else of them is remembered from one reading to the next.
"""

from __future__ import annotations

import argparse
from pathlib import Path

if __name__ == "__main__":  # before the imports, which take seconds
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clips", type=Path, default=Path("../shared/data/clips"), help="folder of real videos")
    names = ["abseiling.mp4", "R6llTwEh07w.mp4", "SOX5yA1l24A.mp4", "WUzgd7C1pWA.mp4"]
    parser.add_argument("--names", nargs="+", default=names, help="of the videos used: clips of Kinetics")
    parts = ["originals", "prepared"]
    parser.add_argument("--only", nargs="+", choices=parts, default=parts, help="one kind of files")
    parser.add_argument("--rounds", type=int, default=15, help="that alternate between what is compared")
    options = parser.parse_args()

import json
import os
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch.utils.data import default_collate

import kdvideo as kd
from benchmarks import record
from benchmarks.markdown import document, spread, table
from benchmarks.speed import reading_peers
from benchmarks.speed.flow_parts.real_frames import videos
from kdvideo import data
from kdvideo import flow as kf
from kdvideo.training.timing import Timings, spread_of

CLASSES = 400
FORMS = {"floats": torch.float32, "bytes": torch.uint8}
CODECS: dict[str, kf.FlowCodec] = {"floats": kf.GrayFFV1(), "bytes": kf.LOSSLESS}
AGAIN = "RGB, bytes, again"
Item = Callable[[int, int], dict[str, Any]]  # (round, clip) -> item


def main(options: argparse.Namespace) -> None:
    """Measure both kinds of files; the record keeps the latest of each."""
    torch.set_num_threads(1)
    for part in options.only:
        with tempfile.TemporaryDirectory() as folder:
            root = gather(options.clips, Path(folder), options.names, prepare=part == "prepared")
            result = measure(root, Path(folder), options.rounds)
        command = f"python -m benchmarks.speed.reading --only {part} --rounds {options.rounds}"
        environment = record.environment(command, 1)
        record.update("speed_reading", part, {"result": result, "environment": environment}, markdown)


def gather(clips: Path, folder: Path, names: list[str], *, prepare: bool) -> Path:
    """Copy the clips, or write them as a data set is prepared for training."""
    root = folder / "videos"
    (root / "kinetics").mkdir(parents=True)
    for path in videos(clips):
        if path.name in names and prepare:
            reading_peers.write_prepared(path, root / "kinetics" / path.name)
        elif path.name in names:
            (root / "kinetics" / path.name).write_bytes(path.read_bytes())
    return root


def measure(root: Path, folder: Path, rounds: int) -> dict[str, Any]:
    """Time every arm on all clips."""
    manifest = data.from_folder(root)
    count, turn = len(manifest), iter(range(10**9))
    items: dict[str, Item] = {}
    stores = _stores(manifest, folder)
    for form, dtype in FORMS.items():
        plain = data.PairedClips(manifest, train=True, dtype=dtype)
        paired = data.PairedClips(manifest, train=True, dtype=dtype, flow=stores[form])
        cache = _cache(manifest, plain, folder / f"cache {form}", rounds)
        items[f"RGB, {form}"] = _plain(plain)
        items[f"RGB and flow, {form}"] = _plain(paired)
        items[f"RGB and logits from a cache, {form}"] = _cached(plain, cache, rounds)
    items[AGAIN] = items["RGB, bytes"]
    peers, absent = reading_peers.readers([row["path"] for row in manifest])
    items |= peers

    def arm(item: Item) -> Callable[[], None]:
        def read() -> None:
            at = next(turn)
            for clip in range(count):
                os.utime(manifest[clip]["path"])  # a changed file: the reader knows nothing of it
                default_collate([item(at, clip)])

        return read

    times = Timings({name: arm(item) for name, item in items.items()}, rounds, quiet=True, shuffle=True)
    rows = {}
    for name in items:
        mine, reference = times.cpu[name], times.cpu["RGB, floats"]
        faster = spread_of([a / b for a, b in zip(reference, mine, strict=True)])
        rows[name] = {"clips_per_s": spread_of([count / seconds for seconds in mine]), "times_rgb_floats": faster}
    control = spread_of([a / b for a, b in zip(times.cpu["RGB, bytes"], times.cpu[AGAIN], strict=True)])
    paths = [row["path"] for row in manifest]
    colours = None if "torchcodec" in absent else reading_peers.colours(paths)
    known = {"clips": count, "rounds": rounds, "a_over_a": control, "not_run": absent, "torchcodec_colours": colours}
    return {**known, "arms": rows, **_gpu()}


def _plain(clips: data.PairedClips) -> Item:
    return lambda at, clip: clips[at, clip]


def _cached(clips: data.PairedClips, cache: kd.TeacherCache, views: int) -> Item:
    def item(at: int, clip: int) -> dict[str, Any]:
        one = clips[at % views, clip]
        return one | {"logits": cache.read([one["clip"]], [one["view"]]).logits}

    return item


def _stores(manifest: Any, folder: Path) -> dict[str, kf.FlowStore]:
    stores = {form: kf.FlowStore(folder / form, fps=25.0, codec=codec) for form, codec in CODECS.items()}
    for row in manifest:
        flow = kf.tvl1(data.read_frames(row["path"], fps=25.0, short_side=256), preset=kf.FAST)
        for store in stores.values():
            store.write(row["clip"], flow)
    return stores


def _cache(manifest: Any, clips: data.PairedClips, folder: Path, views: int) -> kd.TeacherCache:
    cache = kd.TeacherCache(folder, fingerprint={"views": clips.view_fingerprint})
    with cache.writer() as writer:
        for view in range(views):
            logits = torch.randn(len(manifest), CLASSES)
            writer.add(manifest["clip"][:], [view] * len(manifest), kd.Output(logits, {}))
    return cache


def _gpu() -> dict[str, Any]:
    """Clips per second in a training step of S3D-G on RGB on one GPU, from the record of the ways of teaching."""
    known = json.loads((record.FOLDER / "speed_flow.json").read_text()).get("gpu_steps")
    if not known:
        return {"gpu": None}
    rate = known["result"]["setting"]["batch"] / known["result"]["seconds"]["plain RGB"]
    return {"gpu": {"clips_per_s": round(rate, 1), "hardware": known["environment"]["hardware"]}}


def markdown(found: Mapping[str, Any]) -> str:
    """Render the record."""
    return document(found, {part: (title, _table) for part, title in PARTS.items()})


def _table(result: dict[str, Any]) -> list[str]:
    gpu = result["gpu"]
    headings = ("a clip", "clips a second and core", "speed relative to RGB, floats", "cores for one GPU")
    rows = []
    for name, row in result["arms"].items():
        cores = f"{gpu['clips_per_s'] / row['clips_per_s']['median']:.1f}" if gpu else "not known"
        rows.append((name, spread(row["clips_per_s"], "", 1), spread(row["times_rgb_floats"]), cores))
    about = f"{result['clips']} clips, {result['rounds']} rounds; ours again over ours: {spread(result['a_over_a'])}."
    if gpu:
        about += f" One GPU trains S3D-G on {gpu['clips_per_s']:g} clips a second ({gpu['hardware']}, bfloat16)."
    if apart := result.get("torchcodec_colours"):
        about += (
            f" torchcodec's pixels less ours, on {reading_peers.COMPARED} frames of each clip as they are coded: "
            f"mean {apart['mean']:+.1f} of 255 levels, at most {apart['largest']:.0f}; {apart['equal']:.0%} are equal."
        )
    lines = [*table(headings, rows), "", about]
    return [*lines, *(f"Not run: {name} ({why})." for name, why in result["not_run"].items())]


PARTS = {"originals": "Clips of Kinetics as they are", "prepared": "The same clips, prepared"}

if __name__ == "__main__":
    main(options)
