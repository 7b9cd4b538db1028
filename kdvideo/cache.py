"""Outputs of a teacher on disk, by clip and view: the teacher need not run while the student learns."""

from __future__ import annotations

import functools
import hashlib
import operator
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo._shards import BITS, MAX_VIEW, SUFFIX, Index, Shard, open_shard, tensor_bytes, write_shard
from kdvideo.features import Output

_LOGITS, _FEATURE = "logits", "feature."


def weights_fingerprint(module: nn.Module) -> str:
    """Compute the SHA-256 over the names, types, shapes and bytes of a state_dict; the device does not matter.

    Examples:
        >>> weights_fingerprint(nn.Linear(2, 3)) == weights_fingerprint(nn.Linear(2, 3))  # other random weights
        False
    """
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


class TeacherCache:
    """Outputs of a teacher on disk, keyed by clip id and view number: read them where `teacher(flow)` stood.

    Values are float16, in files of a few hundred items that appear whole or not at all, so that a killed pass
    continues where it was and several processes write into one folder. Every file holds the fingerprint; opening
    a folder with another one raises. Reading takes single rows out of memory-mapped files. Opening one took
    0.6 µs and 75 bytes of memory per item, measured on 400 thousand items at 8 views a clip.

    Args:
        folder: made when the first file is written.
        fingerprint: what decides the outputs, name -> text, such as {"teacher": `weights_fingerprint(net)`,
            "flow": `estimator.fingerprint`, "views": `clips.view_fingerprint`}.
        features: roles to write and to read, besides the logits.

    Raises:
        ValueError: files of the folder have another fingerprint (each difference is named), lack a feature,
            differ in shape, or are damaged.

    Examples:
        >>> import tempfile
        >>> teacher, folder = nn.Linear(3, 5), tempfile.TemporaryDirectory()
        >>> cache = TeacherCache(folder.name, fingerprint={"teacher": weights_fingerprint(teacher)})
        >>> with cache.writer() as writer:
        ...     writer.add(["run/1.mp4", "run/2.mp4"], [0, 0], Output(teacher(torch.rand(2, 3)), {}))
        >>> cache.read(["run/2.mp4"], [0]).logits.shape, cache.missing(["run/1.mp4"] * 2, [0, 1])
        (torch.Size([1, 5]), [('run/1.mp4', 1)])
        >>> folder.cleanup()
    """

    def __init__(
        self, folder: str | os.PathLike[str], *, fingerprint: Mapping[str, str], features: Sequence[str] = ()
    ) -> None:
        if isinstance(features, str):
            raise ValueError(f"features must be a sequence of roles, got the text {features!r}")
        if not fingerprint or not all(isinstance(text, str) for pair in fingerprint.items() for text in pair):
            raise ValueError(f"fingerprint must map names to texts, and hold at least one, got {dict(fingerprint)}")
        self.folder, self.fingerprint, self.features = Path(folder), dict(fingerprint), tuple(features)
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._shards: list[Shard] = []
        self._index = Index()
        self._look()

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._index)

    def __reduce__(self) -> tuple[Any, ...]:
        kwargs: dict[str, Any] = {"fingerprint": self.fingerprint, "features": self.features}
        return functools.partial(TeacherCache, self.folder, **kwargs), ()

    def writer(self, *, items: int = 512) -> CacheWriter:
        """Return a context manager whose `add` takes batches; a file is written every `items` items and at the end."""
        if items < 1:
            raise ValueError(f"items must be at least 1, got {items}")
        return CacheWriter(self, items)

    def missing(self, ids: Sequence[str], views: Sequence[int] | Tensor) -> list[tuple[str, int]]:
        """Return the pairs (ids[k], views[k]) that are in no finished file yet, in their order."""
        ids, views = _pairs(ids, views)
        self._look()
        places = self._index.find(ids, views)
        return [(clip, view) for clip, view, place in zip(ids, views, places, strict=True) if place < 0]

    def read(
        self,
        ids: Sequence[str],
        views: Sequence[int] | Tensor,
        *,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Output:
        """Read the outputs for the pairs (ids[k], views[k]), in their order.

        Raises:
            KeyError: the cache does not hold them all; says what is missing and what is there.
        """
        ids, views = _pairs(ids, views)
        places = self._index.find(ids, views)
        if min(places, default=0) < 0:
            self._look()  # another process may have written since
            places = self._index.find(ids, views)
        if min(places, default=0) < 0:
            raise KeyError(self._absence(ids, views, places))

        def rows(name: str) -> Tensor:
            found = [self._shards[place >> BITS].row(name, place % 2**BITS) for place in places]
            return torch.cat(found or [torch.empty(0, *self._shapes[name])]).to(device, dtype)

        logits = rows(_LOGITS) if _LOGITS in self._shapes else None
        return Output(logits, {role: rows(_FEATURE + role) for role in self.features})

    def verify(self) -> None:
        """Read every file; ValueError names one whose bytes are not those that were written."""
        self._look()
        for shard in self._shards:
            shard.verify()

    def _look(self) -> None:
        """Index the files that are new since the last time."""
        known = {shard.path for shard in self._shards}
        for path in sorted(self.folder.glob("*" + SUFFIX)):
            if path not in known:
                shard, ids, views = open_shard(path)
                self._compare(shard)
                self._index.add(len(self._shards), ids, views)
                self._shards.append(shard)

    def _compare(self, shard: Shard) -> None:
        names = sorted({*self.fingerprint, *shard.fingerprint})
        pairs = {name: (shard.fingerprint.get(name), self.fingerprint.get(name)) for name in names}
        differ = [
            f"{name} is {there!r} there and {here!r} here" for name, (there, here) in pairs.items() if there != here
        ]
        if differ:
            raise ValueError(f"{self.folder} holds the outputs of something else: {'; '.join(differ)}")
        absent = [role for role in self.features if _FEATURE + role not in shard.shapes]
        if absent:
            raise ValueError(f"{shard.path} has no features {absent}, only {sorted(shard.shapes)}: write another cache")
        self._expect(shard.shapes, f"items of {shard.path}")

    def _expect(self, shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
        """Raise ValueError unless items have the shapes of those before them."""
        if self._shapes and shapes != self._shapes:
            raise ValueError(f"{what} have the shapes {dict(shapes)}, but those before them {self._shapes}")
        self._shapes = dict(shapes)

    def _absence(self, ids: Sequence[str], views: Sequence[int], places: Sequence[int]) -> str:
        lost = [(clip, view) for clip, view, place in zip(ids, views, places, strict=True) if place < 0]
        clip = lost[0][0]
        return (
            f"{self.folder} lacks {len(lost)} of {len(ids)} items, such as {lost[:3]}. It holds {len(self)} items; "
            f"of clip {clip!r} the views {self._index.views(clip)}"
        )


class CacheWriter:
    """A writer of a `TeacherCache`; made by `TeacherCache.writer`."""

    def __init__(self, cache: TeacherCache, items: int) -> None:
        self._cache, self._items = cache, items
        self._ids: list[str] = []
        self._views: list[int] = []
        self._batches: list[dict[str, Tensor]] = []

    def add(self, ids: Sequence[str], views: Sequence[int] | Tensor, output: Output) -> None:
        """Add the outputs of a batch; row k belongs to (ids[k], views[k]).

        Raises:
            ValueError: there is not one row for each pair, a feature is not in `output`, shapes are not those
                of the items before, or a value is not finite or beyond ±65504, what float16 holds.
        """
        ids, views = _pairs(ids, views)
        absent = [role for role in self._cache.features if role not in output.features]
        if absent:
            raise ValueError(f"the output has no features {absent}, only {list(output.features)}")
        values = {} if output.logits is None else {_LOGITS: output.logits}
        values |= {_FEATURE + role: output.features[role] for role in self._cache.features}
        if not values or any(value.shape[:1] != (len(ids),) for value in values.values()):
            sizes = {name: tuple(value.shape) for name, value in values.items()}
            raise ValueError(f"expected logits or features with a row for each of {len(ids)} items, got {sizes}")
        halves = {name: _half(value, name, ids, views) for name, value in values.items()}
        self._cache._expect({name: tuple(value.shape[1:]) for name, value in values.items()}, "the outputs added")
        self._ids, self._views = self._ids + ids, self._views + views
        self._batches.append(halves)
        if len(self._ids) >= self._items:
            self.flush()

    def flush(self) -> None:
        """Write what was added since the last file."""
        if self._ids:
            rows = {name: torch.cat([batch[name] for batch in self._batches]) for name in self._batches[0]}
            write_shard(self._cache.folder, rows, self._ids, self._views, self._cache.fingerprint)
        self._ids, self._views, self._batches = [], [], []

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.flush()


def _pairs(ids: Sequence[str], views: Sequence[int] | Tensor) -> tuple[list[str], list[int]]:
    try:
        numbers = views.tolist() if isinstance(views, Tensor) else [operator.index(view) for view in views]
    except TypeError as error:
        raise ValueError(f"views must be whole numbers, got {views!r}") from error
    if isinstance(ids, str) or len(ids) != len(numbers) or not all(isinstance(clip, str) for clip in ids):
        raise ValueError(f"expected a clip id (text) for each of {len(numbers)} views, got {ids!r:.200}")
    if not all(isinstance(view, int) and 0 <= view < MAX_VIEW for view in numbers):
        raise ValueError(f"views must be whole numbers in 0..2^31-1, got {numbers!r:.200}")
    return list(ids), numbers


def _half(values: Tensor, name: str, ids: Sequence[str], views: Sequence[int]) -> Tensor:
    half = values.detach().half().cpu().contiguous()
    wrong = ~half.isfinite().reshape(len(ids), -1).all(1)
    if wrong.any():
        at = int(wrong.nonzero()[0])
        finite = bool(values[at].isfinite().all())
        reason = "go beyond ±65504, what float16 holds" if finite else "hold NaN or infinity"
        raise ValueError(f"{name} of clip {ids[at]!r}, view {views[at]}, {reason}: is the teacher broken?")
    return half
