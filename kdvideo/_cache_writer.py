"""Writing a teacher cache: batches of outputs become files of a few hundred items."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from torch import Tensor

from kdvideo._encoding import broken_row, encode
from kdvideo._hints import kind
from kdvideo._shards import ANY, LENGTH, MAX_VIEW, write_shard
from kdvideo._tensors import valid
from kdvideo.features import Output
from kdvideo.losses import top_k

LOGITS, FEATURE = "logits", "feature."
TOP, CLASS, REST = "top.value", "top.class", "top.rest"


class Target(Protocol):
    """What a writer knows of the `TeacherCache` that it fills."""

    folder: Path
    fingerprint: dict[str, str]
    features: tuple[str, ...]
    dtype: torch.dtype | None
    top_k: int | None
    temperature: float

    def expect_shapes(self, shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
        """Raise ValueError for shapes that are not those of the items before."""


class CacheWriter:
    """A writer of a `TeacherCache`; made by `TeacherCache.writer`.

    Use it in a `with`, which writes what is left at its end.

    Args:
        cache: what it fills.
        items: how many to collect for a file.

    Examples:
        >>> import tempfile
        >>> from kdvideo import TeacherCache
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = TeacherCache(folder, fingerprint={"teacher": "example"})
        ...     with cache.writer(items=256) as writer:
        ...         writer.add(["run.mp4"], [0], Output(torch.zeros(1, 5), {}))
        ...     cache.missing(["run.mp4", "sit.mp4"], [0, 0])
        [('sit.mp4', 0)]
    """

    def __init__(self, cache: Target, items: int) -> None:
        self._cache, self._items = cache, items
        self._ids: list[str] = []
        self._views: list[int] = []
        self._batches: list[dict[str, Tensor]] = []

    def add(
        self, ids: Sequence[str], views: Sequence[int] | Tensor, output: Output, *, mask: Tensor | None = None
    ) -> None:
        """Add the outputs of a batch; row k belongs to (ids[k], views[k]).

        Args:
            ids: of the samples.
            views: their numbers.
            output: logits and features with a row for each of them.
            mask: bool or 0 and 1, (B, N): which tokens of each sample are kept, so that padding takes no room. All
                values are then (B, N, ...); a feature of the whole sample needs a cache of its own.

        Raises:
            ValueError: there is not one row for each pair, a feature is not in `output`, shapes are not those
                of the items before, or a value is not finite or beyond what the dtype holds (±65504 for float16).
        """
        ids, views = pairs(ids, views)
        if not isinstance(output, Output):
            raise ValueError(f"output must be an Output, got {kind(output)}: add what Teacher returns")
        absent = [role for role in self._cache.features if role not in output.features]
        if absent:
            raise ValueError(
                f"the output has no features {absent}, only {list(output.features)}: tap layers with these roles in "
                "the Teacher, or leave them out of features="
            )
        values = {} if output.logits is None else {LOGITS: output.logits}
        values |= {FEATURE + role: output.features[role] for role in self._cache.features}
        leading = (len(ids),) if mask is None else (len(ids), *mask.shape[1:2])
        if not values or any(value.shape[: len(leading)] != leading for value in values.values()):
            sizes = {name: tuple(value.shape) for name, value in values.items()}
            raise ValueError(f"expected logits or features with a row for each of {len(ids)} items, got {sizes}")
        length: tuple[int, ...] = ()
        owners = torch.arange(len(ids))
        parts: dict[str, Tensor] = {}
        if mask is not None:
            kept = valid(mask, torch.Size(leading))
            values = {name: value[kept.to(value.device)] for name, value in values.items()}
            length, parts[LENGTH] = (ANY,), kept.sum(1).cpu()
            owners = owners.repeat_interleave(parts[LENGTH])
        values = self._topped(values)
        for name, value in values.items():
            encoded = encode(name, value, self._cache.dtype)
            row = broken_row(encoded)
            if row is not None:
                k = int(owners[row])
                raise ValueError(_broken(f"{name} of clip {ids[k]!r}, view {views[k]}", value[row], encoded[name]))
            parts |= encoded
        self._cache.expect_shapes(
            {name: length + tuple(value.shape[1:]) for name, value in values.items()}, "the outputs added"
        )
        self._ids, self._views = self._ids + ids, self._views + views
        self._batches.append(parts)
        if len(self._ids) >= self._items:
            self.flush()

    def _topped(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._cache.top_k is None or LOGITS not in values:
            return values
        top = top_k(values.pop(LOGITS), self._cache.top_k, temperature=self._cache.temperature)
        return values | {TOP: top.values, CLASS: top.indices.to(torch.int32), REST: top.rest}

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


def pairs(ids: Sequence[str], views: Sequence[int] | Tensor) -> tuple[list[str], list[int]]:
    try:
        numbers = views.tolist() if isinstance(views, Tensor) else [operator.index(view) for view in views]
    except TypeError as error:
        raise ValueError(f"views must be whole numbers, got {views!r}") from error
    if isinstance(ids, str) or len(ids) != len(numbers) or not all(isinstance(clip, str) for clip in ids):
        raise ValueError(f"expected a clip id (text) for each of {len(numbers)} views, got {ids!r:.200}")
    if not all(isinstance(view, int) and 0 <= view < MAX_VIEW for view in numbers):
        raise ValueError(f"views must be whole numbers in 0..2^31-1, got {numbers!r:.200}")
    return list(ids), numbers


def _broken(what: str, value: Tensor, encoded: Tensor) -> str:
    beyond = bool(value.isfinite().all())
    name = str(encoded.dtype).removeprefix("torch.")
    if beyond:
        return f"{what}, go beyond ±{torch.finfo(encoded.dtype).max:g}, what {name} holds: use dtype=torch.bfloat16"
    return (
        f"{what}, hold NaN or infinity: is the teacher broken? Where -inf excludes a class, "
        "use Teacher(logits=...) to cut it out or set it to -1e4"
    )
