"""Damaged files: frames of the size and number that `probe` told, or a ClipError; never anything else."""

import os
import random
import resource
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path

import pytest

from kdvideo.data import ClipError, probe, read_frames
from tests.data.videos import write_audio, write_video

KINDS = {
    "a.mp4": {},
    "fast.mp4": {"container_options": {"movflags": "faststart"}, "options": {"bf": "2", "g": "5"}},
    "b.avi": {"codec": "mpeg4", "options": {"bf": "2"}},
    "c.mkv": {"codec": "mpeg4"},
    "d.webm": {"codec": "libvpx", "options": {"cpu-used": "8", "deadline": "realtime"}},
    "e.ts": {},
}


def mutate(data, rng):
    data = bytearray(data)
    kind = rng.choice(["truncate", "flip", "zero", "delete", "insert", "integer", "header"])
    at = rng.randrange(len(data))
    if kind == "truncate":
        return data[:at]
    if kind == "flip":
        for _ in range(rng.choice([1, 4, 40])):
            data[rng.randrange(len(data))] ^= 1 << rng.randrange(8)
    elif kind == "zero":
        data[at : at + rng.choice([4, 64, 512])] = bytes(min(rng.choice([4, 64, 512]), len(data) - at))
    elif kind == "delete":
        del data[at : at + rng.choice([1, 16, 300])]
    elif kind == "insert":
        data[at:at] = rng.randbytes(rng.choice([1, 16, 300]))
    else:
        at = rng.randrange(min(len(data), 400)) if kind == "header" else at
        data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4), rng.randbytes(4)])
    return data


def judge(path, rng):
    """How one file was taken: "frames" or "error"; anything else is raised."""
    fps, side = rng.choice([None, 7, 25]), rng.choice([None, 32])
    try:
        info = probe(path, fps=fps, short_side=side)
        assert info.length >= 1
        window = range(rng.randrange(info.length), info.length)[:50]
        frames = read_frames(path, fps=fps, short_side=side, window=window)
        assert frames.shape == (len(window), 3, info.height, info.width)
        return "frames"
    except ClipError as error:
        named = error.path == str(path) and error.reason
        return "error" if named else "error without a name"


def attack(folder, count, seed):
    rng = random.Random(seed)
    for name, options in KINDS.items():
        write_video(Path(folder, name), 24, **options)
    wholes = {name: Path(folder, name).read_bytes() for name in KINDS}
    taken = Counter()
    for number in range(count):
        name = rng.choice(list(KINDS))
        path = Path(folder, f"{number}-{name}")
        path.write_bytes(mutate(wholes[name], rng))
        taken[judge(path, rng)] += 1
        path.unlink()
    return taken


# In a process of its own: a crash of the decoder would end this one, and memory has a limit there.
CHILD = """
import resource, sys
resource.setrlimit(resource.RLIMIT_DATA, (6 << 30, 6 << 30))
from tests.data.test_fuzz import attack
taken = attack(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
print(taken["frames"], taken["error"])
"""


@pytest.mark.faults
@pytest.mark.security
@pytest.mark.reliability("B1")
@pytest.mark.parametrize(("count", "seed"), [(60, 0), pytest.param(500, 1, marks=pytest.mark.slow)])
def test_damaged_files_give_frames_or_a_clip_error(tmp_path, count, seed, record_property):
    """Fails when `open_video` turns `av.FFmpegError` alone into a `ClipError`."""
    record_property("trials", count)
    command = [sys.executable, "-c", CHILD, str(tmp_path), str(count), str(seed)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    frames, errors = map(int, done.stdout.split())
    assert frames + errors == count
    assert min(frames, errors) > count // 10


@pytest.mark.faults
@pytest.mark.reliability("B10")
@pytest.mark.slow
def test_nothing_is_left_open_and_memory_does_not_grow(tmp_path, record_property):
    """Fails when `open_video` does not close its container."""
    write_video(tmp_path / "a.mp4", 10, options={"g": "5"})
    write_video(tmp_path / "b.avi", 10, codec="mpeg4")
    write_audio(tmp_path / "c.mp4")
    (tmp_path / "d.mp4").write_bytes((tmp_path / "a.mp4").read_bytes()[:700])

    def opens(count):
        for number in range(count):
            name = ("a.mp4", "b.avi", "a.mp4", "c.mp4", "d.mp4")[number % 5]
            os.utime(tmp_path / name, ns=(number, number))  # so that nothing is remembered of it
            with suppress(ClipError):
                read_frames(tmp_path / name, window=range(6, 9))
        return len(os.listdir("/proc/self/fd")), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    files, before = opens(300)
    again, after = opens(2000)
    record_property("worst", f"{after - before} KiB more after 2000 clips")
    assert again == files
    assert after - before <= 5 * 1024  # KiB
