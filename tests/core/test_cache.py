"""Teacher outputs on disk: what was written comes back, whatever is killed; anything else is refused."""

import copy
import hashlib
import json
import os
import pickle
import signal
import subprocess
import sys
import tempfile
import threading
import warnings
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

import kdvideo as kd
from kdvideo.cache import weights_fingerprint

PRINT = {"teacher": "weights 1", "flow": "TVL1", "views": "seed 0"}
CLASSES = 5


def said(clip: str, view: int, *shape: int) -> Tensor:
    """What a made-up teacher says of a view."""
    generator = torch.Generator().manual_seed(hash((clip, view)) % 2**31)
    return torch.randn(shape or (CLASSES,), generator=generator)


def outputs(pairs: list[tuple[str, int]], roles: tuple[str, ...] = ()) -> kd.Output:
    features = {role: torch.stack([said(role + c, v, 4, 2, 3) for c, v in pairs]) for role in roles}
    return kd.Output(torch.stack([said(c, v) for c, v in pairs]), features)


def fill(cache: kd.TeacherCache, pairs: list[tuple[str, int]], *, batch: int = 4, items: int = 8) -> None:
    with cache.writer(items=items) as writer:
        for k in range(0, len(pairs), batch):
            part = pairs[k : k + batch]
            writer.add(*map(list, zip(*part, strict=True)), outputs(part, cache.features))


def read(cache: kd.TeacherCache, pairs: list[tuple[str, int]], **options) -> kd.Output:
    return cache.read([c for c, _ in pairs], [v for _, v in pairs], **options)


PAIRS = [(f"class {c}/clip {c}.mp4", v) for v in range(3) for c in range(7)]


def open_cache(folder: Path, **options) -> kd.TeacherCache:
    return kd.TeacherCache(folder, **({"fingerprint": PRINT} | options))


@pytest.fixture
def cache(tmp_path: Path) -> kd.TeacherCache:
    cache = open_cache(tmp_path / "cache", features=["4c", "mixed.5c"])
    fill(cache, PAIRS)
    return cache


def test_what_was_written_comes_back_in_the_order_asked_for(cache: kd.TeacherCache) -> None:
    again = open_cache(cache.folder, features=["4c", "mixed.5c"])
    assert len(again) == len(PAIRS)
    assert len(list(cache.folder.iterdir())) == 3  # 8 + 8 + 5 items
    for pairs in (PAIRS[::-1], PAIRS[3:5] * 2, PAIRS[20:], PAIRS[:0]):
        output = read(again, pairs)
        expected = outputs(pairs or PAIRS, ("4c", "mixed.5c"))
        for got, wanted in (
            (output.logits, expected.logits),
            *zip(output.features.values(), expected.features.values(), strict=True),
        ):
            assert got.dtype == torch.float32
            assert got.shape == (len(pairs), *wanted.shape[1:])
            assert torch.equal(got, wanted.half().float()[: len(pairs)])
        assert list(output.features) == ["4c", "mixed.5c"]
    assert read(again, PAIRS, dtype=torch.float16).logits.dtype == torch.float16


def test_it_stands_where_the_teacher_stood(tmp_path: Path) -> None:
    net, rgb = nn.Linear(3, CLASSES), torch.randn(4, 3)
    teacher, student = kd.Teacher(net), nn.Linear(3, CLASSES)
    flow, batch = torch.randn(4, 3), {"clip": ["a", "b", "c", "d"], "view": torch.tensor([0, 0, 5, 1])}
    cache = open_cache(tmp_path)
    with cache.writer() as writer:
        writer.add(batch["clip"], batch["view"], teacher(flow))
    live, cached = teacher(flow).logits, cache.read(batch["clip"], batch["view"].tolist()).logits
    losses = [kd.functional.logit_mse(student(rgb), target).item() for target in (cached, live)]
    assert losses[0] == pytest.approx(losses[1], abs=1e-3)
    assert not cached.requires_grad


@settings(deadline=None, max_examples=60)
@given(st.sets(st.tuples(st.text(), st.integers(0, 2**31 - 1)), min_size=1, max_size=20), st.integers(1, 30))
def test_any_ids_and_views_come_back(pairs: set[tuple[str, int]], items: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        listed = list(pairs)
        fill(open_cache(Path(folder)), listed, batch=3, items=items)
        cache = open_cache(Path(folder))
        assert torch.equal(read(cache, listed).logits, outputs(listed).logits.half().float())
        others = [(c + "x", v) for c, v in listed] + [(c, v ^ 1) for c, v in listed]
        expected = [pair for pair in others if pair not in pairs]
        assert cache.missing(*map(list, zip(*others, strict=True))) == expected


def test_features_alone_without_logits(tmp_path: Path) -> None:
    cache = open_cache(tmp_path, features=["4c"])
    with cache.writer() as writer:
        writer.add(["a"], [0], kd.Output(None, {"4c": torch.ones(1, 2), "5c": torch.ones(1, 9)}))
    output = open_cache(tmp_path, features=["4c"]).read(["a"], [0])
    assert output.logits is None
    assert {role: value.tolist() for role, value in output.features.items()} == {"4c": [[1.0, 1.0]]}


def test_one_of_several_features_can_be_read(cache: kd.TeacherCache) -> None:
    assert list(read(open_cache(cache.folder, features=["4c"]), PAIRS[:2]).features) == ["4c"]
    assert read(open_cache(cache.folder), PAIRS[:2]).features == {}


def test_autocast_changes_nothing_of_what_is_read(cache: kd.TeacherCache) -> None:
    plain = read(cache, PAIRS[:3])
    with torch.autocast("cpu", torch.bfloat16):
        again = read(cache, PAIRS[:3])
    assert torch.equal(again.logits, plain.logits)


def test_missing_items_are_named_and_so_is_what_is_there(cache: kd.TeacherCache) -> None:
    clip = PAIRS[0][0]
    with pytest.raises(KeyError, match=r"lacks 2 of 4 items, .*clip 0.*, 3.*gone.*holds 21 items.* views \[0, 1, 2\]"):
        cache.read([clip, clip, "gone", clip], [0, 3, 1, 1])
    with pytest.raises(KeyError, match="holds 0 items"):
        open_cache(cache.folder / "none").read(["a"], [0])
    assert cache.missing([clip, clip, "gone"], [2, 3, 0]) == [(clip, 3), ("gone", 0)]


def test_another_fingerprint_is_refused_and_each_difference_named(cache: kd.TeacherCache) -> None:
    with pytest.raises(ValueError) as error:
        open_cache(cache.folder, fingerprint=PRINT | {"teacher": "weights 2"})
    assert "teacher is 'weights 1' there and 'weights 2' here" in str(error.value)
    assert "TVL1" not in str(error.value)
    other = {"teacher": "weights 1", "flow": "DIS", "more": "x"}
    with pytest.raises(
        ValueError, match=r"flow is 'TVL1' there and 'DIS'.*more is None.*views is 'seed 0' there and None"
    ):
        open_cache(cache.folder, fingerprint=other)


def test_a_file_of_another_teacher_that_comes_later_is_refused(cache: kd.TeacherCache, tmp_path: Path) -> None:
    fill(open_cache(tmp_path / "other", fingerprint={"teacher": "?"}), [("new", 0)])
    (foreign,) = (tmp_path / "other").iterdir()
    foreign.rename(cache.folder / foreign.name)
    with pytest.raises(ValueError, match="something else"):
        cache.missing(["new"], [0])


def test_a_feature_that_is_not_stored_is_refused(cache: kd.TeacherCache) -> None:
    with pytest.raises(ValueError, match=r"no features \['3b'\].*4c"):
        open_cache(cache.folder, features=["4c", "3b"])


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (kd.Output(torch.zeros(2, CLASSES), {}), r"no features \['4c'\], only \[\]: tap layers with these roles"),
        (torch.zeros(2, CLASSES), "output must be an Output, got a Tensor: add what Teacher returns"),
        (kd.Output(torch.zeros(3, CLASSES), {"4c": torch.zeros(2, 4)}), "row for each of 2"),
        (kd.Output(torch.tensor(0.0), {"4c": torch.zeros(2, 4)}), "row for each of 2"),
        (kd.Output(torch.tensor([[0.0], [7e4]]), {"4c": torch.zeros(2, 4)}), "'b', view 9, go beyond ±65504.*bfloat16"),
        (kd.Output(torch.zeros(2, 1), {"4c": torch.tensor([[0.0], [float("nan")]])}), "'b', view 9, hold NaN"),
        (kd.Output(torch.tensor([[-float("inf")], [0.0]]), {"4c": torch.zeros(2, 4)}), r"Where -inf excludes a class"),
        (kd.Output(torch.tensor([[float("inf")], [0.0]]), {"4c": torch.zeros(2, 4)}), "'a', view 0, hold NaN or inf"),
    ],
)
def test_outputs_that_cannot_be_kept_are_refused(tmp_path: Path, output: kd.Output, message: str) -> None:
    with open_cache(tmp_path, features=["4c"]).writer() as writer, pytest.raises(ValueError, match=message):
        writer.add(["a", "b"], [0, 9], output)
    assert not list(tmp_path.iterdir())


def test_shapes_that_differ_are_refused_while_writing_and_while_reading(tmp_path: Path) -> None:
    cache = open_cache(tmp_path / "a")
    with cache.writer() as writer:
        writer.add(["a"], [0], kd.Output(torch.zeros(1, 5), {}))
        with pytest.raises(ValueError, match=r"\(6,\).*before them.*\(5,\)"):
            writer.add(["b"], [0], kd.Output(torch.zeros(1, 6), {}))
    with open_cache(tmp_path / "b").writer() as writer:
        writer.add(["b"], [0], kd.Output(torch.zeros(1, 6), {}))
    for path in (tmp_path / "b").iterdir():
        path.rename(cache.folder / path.name)
    with pytest.raises(ValueError, match="shapes"):
        open_cache(cache.folder)


@pytest.mark.parametrize(
    ("ids", "views"),
    [("a", [0]), (["a"], [0, 1]), (["a"], [-1]), (["a"], [2**31]), ([1], [0]), (["a"], [0.5]), (["a"], torch.ones(1))],
)
def test_ids_are_texts_and_views_whole_numbers(cache: kd.TeacherCache, ids, views) -> None:
    for call in (cache.read, cache.missing):
        with pytest.raises(ValueError, match=r"clip id|whole numbers"):
            call(ids, views)


@pytest.mark.parametrize("bad", [{}, {"teacher": 1}, "teacher", None])
def test_a_fingerprint_is_needed(tmp_path: Path, bad: dict) -> None:
    with pytest.raises(ValueError, match="fingerprint must map names to texts, and hold at least one, got"):
        kd.TeacherCache(tmp_path, fingerprint=bad)
    with pytest.raises(ValueError, match="top_k must be at least 1, got 0: leave it out"):
        open_cache(tmp_path, top_k=0)
    with pytest.raises(ValueError, match="temperature must be positive"):
        open_cache(tmp_path, top_k=2, temperature=0.0)
    with pytest.raises(ValueError, match="features"):
        open_cache(tmp_path, features="4c")
    with pytest.raises(ValueError, match="items"):
        open_cache(tmp_path).writer(items=0)


def one_file(cache: kd.TeacherCache) -> Path:
    return sorted(cache.folder.iterdir())[0]


def test_a_file_cut_short_is_named(cache: kd.TeacherCache) -> None:
    whole = one_file(cache).read_bytes()
    for size in (0, 5, 100, len(whole) - 1):
        one_file(cache).write_bytes(whole[:size])
        with pytest.raises(ValueError, match=f"{one_file(cache).name} is damaged.*delete it"):
            open_cache(cache.folder)


def test_a_flipped_bit_is_found_by_verifying(cache: kd.TeacherCache) -> None:
    cache.verify()
    data = bytearray(one_file(cache).read_bytes())
    data[-3] ^= 1
    one_file(cache).write_bytes(data)
    with pytest.raises(ValueError, match=f"{one_file(cache).name} is damaged"):
        open_cache(cache.folder).verify()


@pytest.mark.parametrize(
    "change",
    [
        {"clip": torch.frombuffer(bytearray(b"[" * 100_000), dtype=torch.uint8)},
        {"clip": torch.frombuffer(bytearray(json.dumps(dict.fromkeys("abcdefgh")).encode()), dtype=torch.uint8)},
        {"clip": torch.frombuffer(bytearray(json.dumps([1] * 8).encode()), dtype=torch.uint8)},
        {"view": torch.zeros(3, dtype=torch.int64)},
        {"view": torch.zeros(8)},
        {"view": torch.full((8,), -1)},
        {"view": torch.full((8,), 2**31)},
        {"logits": torch.zeros(3, CLASSES).half()},
        {"length": torch.ones(8)},
        {"length": torch.ones(7, dtype=torch.int64)},
        {"length": torch.tensor([-1, 2, 1, 1, 1, 1, 1, 2])},
        {"length": torch.tensor([2, 2, 1, 1, 1, 1, 1, 1])},
        {"logits": torch.tensor(1).half()},
        {"clip": None},
        {"view": None},
        {"logits": None, "feature.4c": None, "feature.mixed.5c": None},
    ],
)
def test_a_hostile_file_is_refused(tmp_path: Path, change: dict[str, Tensor | None]) -> None:
    cache = open_cache(tmp_path, features=["4c", "mixed.5c"])
    fill(cache, PAIRS[:8])
    tensors = {name: value for name, value in (load_file(one_file(cache)) | change).items() if value is not None}
    save_file(tensors, one_file(cache), {"fingerprint": json.dumps(PRINT)})
    with pytest.raises(ValueError, match=f"{one_file(cache).name} is damaged"):
        open_cache(cache.folder)


@pytest.mark.parametrize("metadata", [None, {"fingerprint": "{"}, {"fingerprint": "3"}, {"other": "{}"}])
def test_a_file_that_is_no_cache_is_refused(cache: kd.TeacherCache, metadata: dict[str, str] | None) -> None:
    save_file(load_file(one_file(cache)), one_file(cache), metadata)
    with pytest.raises(ValueError, match="is damaged"):
        open_cache(cache.folder)


def test_a_failing_disk_leaves_no_file(tmp_path: Path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        fill(open_cache(tmp_path / "cache"), PAIRS)
    assert not list((tmp_path / "cache").iterdir())


def test_a_file_appears_by_one_rename(tmp_path: Path, monkeypatch) -> None:
    cache, seen = open_cache(tmp_path), []

    def rename(source: Path, goal: Path) -> None:
        seen.append(([path.name for path in tmp_path.iterdir()], hashlib.sha256(Path(source).read_bytes()).hexdigest()))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "replace", rename)
    with pytest.raises(KeyboardInterrupt):
        fill(cache, PAIRS[:1])
    ((names, digest),) = seen
    assert names[0].startswith(".writing-")
    assert len(names) == 1
    assert not list(tmp_path.iterdir())
    monkeypatch.undo()
    fill(cache, PAIRS[:1])
    assert one_file(cache).stem == digest[:32]


def test_what_was_added_before_an_error_is_kept(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    with pytest.raises(ZeroDivisionError), cache.writer() as writer:
        _ = writer.add(["a"], [0], outputs([("a", 0)])), 1 / 0
    assert cache.missing(["a", "b"], [0, 0]) == [("b", 0)]


KILLED = """
import sys, torch
import kdvideo as kd
cache = kd.TeacherCache(sys.argv[1], fingerprint={"teacher": "t"})
k = 0
while True:
    with cache.writer(items=2) as writer:
        for _ in range(4):
            writer.add([f"clip {k}"], [0], kd.Output(torch.full((1, 3), float(k % 1000)), {}))
            k += 1
            print(k, flush=True)
"""


def test_a_killed_writer_goes_on_where_it_was(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    for line in process.stdout:
        if int(line) > 51:
            break
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    cache = kd.TeacherCache(tmp_path, fingerprint={"teacher": "t"})
    cache.verify()
    ids = [f"clip {k}" for k in range(60)]
    missing = cache.missing(ids, [0] * 60)
    assert missing == [(clip, 0) for clip in ids[len(ids) - len(missing) :]]  # files count in their order
    assert len(missing) <= 10
    with cache.writer() as writer:
        writer.add(*zip(*missing, strict=True), kd.Output(torch.tensor([[float(c[5:])] * 3 for c, _ in missing]), {}))
    assert cache.read(ids, [0] * 60).logits[:, 0].tolist() == [float(k) for k in range(60)]


def test_several_writers_share_a_folder(tmp_path: Path) -> None:
    reader = open_cache(tmp_path)
    threads = [threading.Thread(target=fill, args=(open_cache(tmp_path), PAIRS[k::3])) for k in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert torch.equal(read(reader, PAIRS).logits, outputs(PAIRS).logits.half().float())


def test_an_item_written_twice_counts_once(tmp_path: Path) -> None:
    fill(open_cache(tmp_path), PAIRS)
    fill(open_cache(tmp_path), PAIRS[::-1])
    cache = open_cache(tmp_path)
    assert len(cache) == len(PAIRS)
    assert torch.equal(read(cache, PAIRS).logits, outputs(PAIRS).logits.half().float())


def test_it_can_be_copied_and_pickled(cache: kd.TeacherCache) -> None:
    for other in (copy.deepcopy(cache), pickle.loads(pickle.dumps(cache))):
        assert torch.equal(read(other, PAIRS).features["4c"], read(cache, PAIRS).features["4c"])


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_reading_a_row_touches_little_of_the_file(tmp_path: Path) -> None:
    cache = open_cache(tmp_path)
    with cache.writer() as writer:
        writer.add([f"{k}" for k in range(64)], [0] * 64, kd.Output(torch.zeros(64, 2**18), {}))
    cache.read(["60"], [0])
    mapped = Path("/proc/self/smaps").read_text().split(one_file(cache).name)[1]
    touched = int(mapped.split("Rss:")[1].split()[0]) * 1024
    assert 0 < touched < one_file(cache).stat().st_size / 2


def test_the_fingerprint_of_weights_changes_with_any_of_them() -> None:
    net = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3))
    first = weights_fingerprint(net)
    assert weights_fingerprint(copy.deepcopy(net).eval()) == first
    changed = [copy.deepcopy(net) for _ in range(4)]
    changed[0][0].weight.data[0, 0] += 1e-3
    changed[1][1].running_mean[2] = 1
    changed[2][1].num_batches_tracked += 1
    changed[3] = changed[3].double()
    renamed, transposed = nn.ModuleDict({"a": net[0], "b": net[1]}), copy.deepcopy(net)
    transposed[0].weight = nn.Parameter(net[0].weight.data.reshape(2, 3))
    assert len({first, *map(weights_fingerprint, [*changed, renamed, transposed])}) == 7


def one(value: float, *, dtype: torch.dtype = torch.float32) -> kd.Output:
    return kd.Output(torch.tensor([[value, 1.0]], dtype=dtype), {})


def test_another_value_for_a_pair_is_refused_while_writing(tmp_path: Path) -> None:
    """Fails when `add` does not look at the batch, at what it will write, or at finished files."""
    twice = r"pairs must be new, got \('a', 0\) twice with different values: pass the view number"
    with open_cache(tmp_path).writer() as writer:
        with pytest.raises(ValueError, match=twice):
            writer.add(["a", "a"], [0, 0], kd.Output(torch.tensor([[1.0, 2.0], [2.0, 1.0]]), {}))
        writer.add(["a", "b"], [0, 0], kd.Output(torch.ones(2, 2), {}))
        with pytest.raises(ValueError, match=twice):
            writer.add(["a"], [0], one(5.0))
        writer.flush()
        with pytest.raises(ValueError, match=twice):
            writer.add(["a"], [0], one(5.0))
    with open_cache(tmp_path).writer() as writer:
        with pytest.raises(ValueError, match=twice):
            writer.add(["a"], [0], one(5.0))
        writer.add(["a", "b", "a"], [0, 0, 1], kd.Output(torch.full((3, 2), 1.001), {}))  # rounding, and a new view
    assert open_cache(tmp_path).missing(["a", "b", "a"], [0, 0, 1]) == []


def test_files_that_do_not_agree_on_a_pair_are_refused(tmp_path: Path) -> None:
    """Fails when opening keeps the value of the file whose name sorts first; other dtypes only round."""
    for name, value, dtype in (("1", 1.0, torch.float16), ("2", 1.0, torch.int8), ("3", 5.0, torch.float16)):
        with open_cache(tmp_path / name, dtype=dtype).writer() as writer:
            writer.add(["b", "a"], [0, 7], kd.Output(torch.tensor([[1.0, 1.0], [value, 1.0]]), {}))
    files = {name: one_file(open_cache(tmp_path / name)) for name in "123"}
    files["2"].rename(files["1"].parent / files["2"].name)
    cache = open_cache(tmp_path / "1")
    assert len(cache) == 2
    files["3"].rename(files["1"].parent / files["3"].name)
    for look in (lambda: cache.missing(["a"], [7]), lambda: open_cache(tmp_path / "1")):
        with pytest.raises(ValueError, match=r"must have one value, got two of \('a', 7\), in .*delete the wrong file"):
            look()


def test_a_writer_that_wrote_nothing_says_so(tmp_path: Path) -> None:
    """Fails when items that were added outside of a `with` statement are lost in silence."""
    writer = open_cache(tmp_path).writer()
    writer.add(["a"], [0], one(1.0))
    with pytest.warns(UserWarning, match=r"dropped with 1 items that are in no file: use it in a with statement"):
        del writer
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        writer = open_cache(tmp_path).writer()
        writer.add(["a"], [0], one(1.0))
        writer.flush()
        del writer


CACHE_MISUSES = {
    "a mask as list": ({"mask": [[True]]}, r"mask must be a tensor, got a list"),
    "a mask of one axis": ({"mask": torch.ones(1)}, r"mask must be \(B, N\), a row for each of 1 items, got \(1,\)"),
    "a wide mask": ({"mask": torch.ones(1, 9).bool()}, r"\(B, N\) = \(1, 9\) as the mask, got \{'logits'"),
    "a feature as list": ({"output": kd.Output(torch.ones(1, 2), {"4c": [1]})}, r"feature\.4c must be a tensor"),
}


@pytest.mark.parametrize("name", CACHE_MISUSES)
def test_what_is_added_is_tensors(tmp_path: Path, name: str) -> None:
    """Fails when the mask is looked at after the values, or the type of neither."""
    options, words = CACHE_MISUSES[name]
    output = kd.Output(torch.ones(1, 2), {"4c": torch.ones(1, 2)})
    with open_cache(tmp_path, features=["4c"]).writer() as writer, pytest.raises(ValueError, match=words):
        writer.add(["a"], [0], **({"output": output} | options))


def test_options_of_a_cache_are_checked(tmp_path: Path, cache: kd.TeacherCache) -> None:
    """Fails when an option is compared, hashed or handed to torch unseen."""
    for wrong in (2.5, True, "5"):
        with pytest.raises(ValueError, match=r"top_k must be at least 1, got .*: leave it out.*pass an int"):
            open_cache(tmp_path / "k", top_k=wrong)
    with pytest.raises(ValueError, match=r"module must be a torch module, got an OrderedDict"):
        weights_fingerprint(nn.Linear(2, 3).state_dict())
    with pytest.raises(ValueError, match=r"must be the bare network, got a Teacher around it"):
        weights_fingerprint(kd.Teacher(nn.Linear(2, 3)))
    with pytest.raises(ValueError, match=r"device must be one of this machine, got 'gpu'"):
        read(cache, PAIRS[:1], device="gpu")
    with pytest.raises(ValueError, match=r"must be a torch\.dtype, got 'float32'"):
        read(cache, PAIRS[:1], dtype="float32")
