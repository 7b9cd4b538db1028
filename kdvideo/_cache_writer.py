"""Writing a teacher cache: batches of outputs become files of a few hundred items."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Protocol

import torch
from torch import Tensor

from kdvideo._checks import check_mask_values, check_tensor, valid
from kdvideo._encoding import SCALE, alike, broken_row, decode, encode
from kdvideo._hints import kind
from kdvideo._shards import ANY, LENGTH, MAX_VIEW, write_shard
from kdvideo.features import Output
from kdvideo.losses import top_k

LOGITS, FEATURE = "logits", "feature."
TOP, CLASS, REST = "top.value", "top.class", "top.rest"


Place = tuple[dict[str, Tensor], Tensor]  # a batch as it is stored, and its rows that belong to an item


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

    def stored(self, ids: Sequence[str], views: Sequence[int]) -> dict[tuple[str, int], dict[str, Tensor]]:
        """Return the values of those of the pairs that a finished file is known to hold."""

    def take(self, path: Path) -> None:
        """Index a file that was written."""


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
        self._places: dict[tuple[str, int], Place] = {}

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
                of the items before, the mask is not (B, N), a pair was added or stored before with other values (those
                that differ by rounding are the same), or a value is not finite or beyond what the dtype holds (±65504
                for float16).
        """
        ids, views = pairs(ids, views)
        values = self._values(output, len(ids), mask)
        length: tuple[int, ...] = ()
        owners = torch.arange(len(ids))
        parts: dict[str, Tensor] = {}
        if mask is not None:
            kept = valid(mask, mask.shape, mask.device)
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
        new = self._checked(ids, views, parts, owners)
        self._cache.expect_shapes(
            {name: length + tuple(value.shape[1:]) for name, value in values.items()}, "the outputs added"
        )
        self._places |= new
        self._ids, self._views = self._ids + ids, self._views + views
        self._batches.append(parts)
        if len(self._ids) >= self._items:
            self.flush()

    def _values(self, output: Output, items: int, mask: Tensor | None) -> dict[str, Tensor]:
        """Check what is to be added and return it by name."""
        if not isinstance(output, Output):
            raise ValueError(f"output must be an Output, got {kind(output)}: add what Teacher returns")
        absent = [role for role in self._cache.features if role not in output.features]
        if absent:
            raise ValueError(
                f"the output has no features {absent}, only {list(output.features)}: tap layers with these roles in "
                "the Teacher, or leave them out of features="
            )
        leading: tuple[int, ...] = (items,)
        if mask is not None:
            check_tensor(mask, "mask")
            if mask.ndim != 2 or len(mask) != items:
                raise ValueError(f"mask must be (B, N), a row for each of {items} items, got {tuple(mask.shape)}")
            check_mask_values(mask)
            leading = tuple(mask.shape)
        values = {} if output.logits is None else {LOGITS: output.logits}
        values |= {FEATURE + role: output.features[role] for role in self._cache.features}
        for name, value in values.items():
            check_tensor(value, name)
        if not values or any(value.shape[: len(leading)] != leading for value in values.values()):
            sizes = {name: tuple(value.shape) for name, value in values.items()}
            rows = f"{items} items" if mask is None else f"{items} items, (B, N) = {leading} as the mask"
            raise ValueError(f"expected logits or features with a row for each of {rows}, got {sizes}")
        return values

    def _checked(
        self, ids: Sequence[str], views: Sequence[int], parts: dict[str, Tensor], owners: Tensor
    ) -> dict[tuple[str, int], Place]:
        """Return where the values of each pair are; ValueError for one that was added before with other values."""
        stored = self._cache.stored(ids, views)
        new: dict[tuple[str, int], Place] = {}
        for k, pair in enumerate(zip(ids, views, strict=True)):
            here = parts, owners == k
            there = new.get(pair) or self._places.get(pair)
            before = stored.get(pair) if there is None else _item(*there)
            if before is not None and not alike(_item(*here), before):
                raise ValueError(
                    f"(id, view) pairs must be new, got {pair} twice with different values: pass the view number of "
                    "the item, item['view']"
                )
            new[pair] = here
        return new

    def _topped(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        if self._cache.top_k is None or LOGITS not in values:
            return values
        top = top_k(values.pop(LOGITS), self._cache.top_k, temperature=self._cache.temperature)
        return values | {TOP: top.values, CLASS: top.indices.to(torch.int32), REST: top.rest}

    def flush(self) -> None:
        """Write what was added since the last file."""
        if self._ids:
            rows = {name: torch.cat([batch[name] for batch in self._batches]) for name in self._batches[0]}
            path = write_shard(self._cache.folder, rows, self._ids, self._views, self._cache.fingerprint)
            self._cache.take(path)
        self._forget()

    def _forget(self) -> None:
        self._ids, self._views, self._batches, self._places = [], [], [], {}

    def __enter__(self) -> CacheWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.flush()
        finally:
            self._forget()

    def __del__(self) -> None:
        if getattr(self, "_ids", None):
            warnings.warn(
                f"a writer of {self._cache.folder} was dropped with {len(self._ids)} items that are in no file: use "
                "it in a with statement, or call flush() at the end",
                stacklevel=2,
            )


def compared(name: str) -> bool:
    """Tell whether a tensor says what an item is: no scale, and no class number, whose order rounding may change."""
    return name not in (LENGTH, CLASS, REST) and not name.startswith(SCALE)


def _item(parts: Mapping[str, Tensor], rows: Tensor) -> dict[str, Tensor]:
    scales = {name: parts[SCALE + name][rows] if SCALE + name in parts else None for name in parts}
    return {name: decode(values[rows], scales[name]) for name, values in parts.items() if compared(name)}


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
