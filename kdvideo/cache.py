"""Outputs of a teacher on disk, by clip and view: the teacher need not run while the student learns."""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from kdvideo._cache_writer import CLASS, FEATURE, LOGITS, REST, TOP, CacheWriter, compared, pairs
from kdvideo._checks import check_device, check_dtype, check_temperature
from kdvideo._encoding import DTYPES, SCALE, alike, decode, padded
from kdvideo._hints import check_module, kind, represented
from kdvideo._shards import ANY, BITS, SUFFIX, Index, Shard, open_shard, tensor_bytes
from kdvideo.features import FeatureExtractor, Output
from kdvideo.losses import TopK


def weights_fingerprint(module: nn.Module) -> str:
    """Compute the SHA-256 over the names, types, shapes and bytes of a state_dict; the device does not matter.

    Args:
        module: the bare network: a `Teacher` around it has other names and another fingerprint.

    Returns:
        64 hexadecimal digits.

    Raises:
        ValueError: no module, or a `Teacher` or `Student`, whose names differ from those of the network in it.

    Examples:
        >>> weights_fingerprint(nn.Linear(2, 3)) == weights_fingerprint(nn.Linear(2, 3))  # other random weights
        False
    """
    check_module(module, "module")
    if isinstance(module, FeatureExtractor):
        raise ValueError(f"module must be the bare network, got {kind(module)} around it: weights_fingerprint(net)")
    digest = hashlib.sha256()
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor_bytes(tensor))
    return digest.hexdigest()


class TeacherCache:
    """A teacher's outputs on disk, keyed by sample id and view number, to be read instead of running the teacher.

    A sample is a video clip, an image or a text. Values are stored in files of a few hundred items that appear whole
    or not at all, so that a killed pass continues where it was and several processes write into one folder. Every file
    holds the fingerprint; opening a folder with another one raises. Reading takes single items out of memory-mapped
    files and compares each with its checksum; files from before there were any are read as they are. Opening one took
    0.6 µs and 75 bytes of memory per item, measured on 400 thousand items at 8 views a clip, and 8 bytes for each
    checksum.

    Args:
        folder: made when the first file is written.
        fingerprint: what decides the outputs, name -> text, such as {"teacher": `weights_fingerprint(net)`,
            "flow": `estimator.fingerprint`, "views": `clips.view_fingerprint`}.
        features: roles to write and to read, besides the logits.
        dtype: in which floating-point values are written: float16 (up to 65504), bfloat16, float32, int8 (a scale for
            each item, or token, beside it), or None: as they are. Integers are always as they are. Files of
            different dtypes may share a folder.
        top_k: keep the K most probable classes of the last axis and the probability of all others instead of the
            logits: `read` gives a `TopK` as `raw`, for `SoftTargetTopK`.
        temperature: at which `top_k` takes probabilities; it cannot be changed later.

    Attributes:
        folder: as given.
        fingerprint: as given; with `top_k` it also names that.
        features: as given.
        dtype: as given.
        top_k: as given.
        temperature: as given.

    Raises:
        ValueError: files of the folder have another fingerprint or `top_k` (each difference is named), lack a feature,
            differ in shape, are damaged, or hold two values of one pair; an empty fingerprint or one that holds other
            than texts; `features` as one text; a `top_k` that is no whole number of at least 1, or its temperature not
            positive; or a dtype that is not among those above.

    Examples:
        >>> import tempfile
        >>> teacher, folder = nn.Linear(3, 5), tempfile.TemporaryDirectory()
        >>> cache = TeacherCache(folder.name, fingerprint={"teacher": weights_fingerprint(teacher)})
        >>> with cache.writer() as writer:
        ...     writer.add(["run/1.mp4", "run/2.mp4"], [0, 0], Output(teacher(torch.rand(2, 3)), {}))
        >>> cache.read(["run/2.mp4"], [0]).logits.shape, cache.missing(["run/1.mp4"] * 2, [0, 1])
        (torch.Size([1, 5]), [('run/1.mp4', 1)])
        >>> folder.cleanup()

        Tokens of texts of different lengths, the 2 most probable of 9 at each:

        >>> folder = tempfile.TemporaryDirectory()
        >>> cache = TeacherCache(folder.name, fingerprint={"teacher": "example"}, top_k=2)
        >>> mask = torch.tensor([[1, 1, 1], [1, 0, 0]])  # the tokenizer's attention mask
        >>> with cache.writer() as writer:
        ...     writer.add(["text 1", "text 2"], [0, 0], Output(torch.rand(2, 3, 9), {}), mask=mask)
        >>> cache.read(["text 2", "text 1"], [0, 0], mask=mask.flip(0)).raw.indices.shape
        torch.Size([2, 3, 2])
        >>> folder.cleanup()
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        fingerprint: Mapping[str, str],
        features: Sequence[str] = (),
        dtype: torch.dtype | None = torch.float16,
        top_k: int | None = None,
        temperature: float = 1.0,
    ) -> None:
        if isinstance(features, str):
            raise ValueError(f"features must be a sequence of roles, got the text {features!r}")
        texts = [text for pair in fingerprint.items() for text in pair] if isinstance(fingerprint, Mapping) else []
        if not texts or not all(isinstance(text, str) for text in texts):
            raise ValueError(f"fingerprint must map names to texts, and hold at least one, got {fingerprint!r}")
        if dtype not in DTYPES:
            raise ValueError(f"dtype must be one of {DTYPES}, got {dtype}")
        self.folder, self.fingerprint, self.features = Path(folder), dict(fingerprint), tuple(features)
        self.dtype, self.top_k, self.temperature = dtype, top_k, temperature
        if top_k is not None:
            if not isinstance(top_k, int) or isinstance(top_k, bool) or top_k < 1:
                raise ValueError(
                    f"top_k must be at least 1, got {top_k!r}: leave it out to keep all logits, or pass an int"
                )
            check_temperature(temperature)
            self.fingerprint["top_k"] = f"{top_k} at temperature {temperature:g}"
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._shards: list[Shard] = []
        self._index = Index()
        self._look()

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self._index)

    def __repr__(self) -> str:
        return represented(
            self,
            folder=str(self.folder),
            items=len(self),
            features=self.features,
            dtype=self.dtype,
            top_k=self.top_k,
            fingerprint=self.fingerprint,
        )

    def __reduce__(self) -> tuple[Any, ...]:
        names = ("fingerprint", "features", "dtype", "top_k", "temperature")
        return functools.partial(TeacherCache, self.folder, **{name: getattr(self, name) for name in names}), ()

    def writer(self, *, items: int = 512) -> CacheWriter:
        """Open the cache for writing: a context manager whose `add` takes batches.

        Args:
            items: how many to collect for a file; the rest is written at the end of the context.

        Returns:
            A `CacheWriter`.

        Raises:
            ValueError: items is less than 1; the writer's `add`, as it says.
        """
        if items < 1:
            raise ValueError(f"items must be at least 1, got {items}")
        return CacheWriter(self, items)

    def missing(self, ids: Sequence[str], views: Sequence[int] | Tensor) -> list[tuple[str, int]]:
        """Find what has to be written.

        Args:
            ids: of the samples.
            views: their numbers, one for each id.

        Returns:
            The pairs (ids[k], views[k]) that are in no finished file yet, in their order.
        """
        ids, views = pairs(ids, views)
        self._look()
        places = self._index.find(ids, views)
        return [(clip, view) for clip, view, place in zip(ids, views, places, strict=True) if place < 0]

    def read(
        self,
        ids: Sequence[str],
        views: Sequence[int] | Tensor,
        *,
        mask: Tensor | None = None,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str = "cpu",
    ) -> Output:
        """Read the outputs for the pairs (ids[k], views[k]), in their order.

        Args:
            ids: of the samples.
            views: their numbers.
            mask: of items written with one, (B, N): where their tokens go; elsewhere is 0. It may be padded otherwise
                than when they were written. None, where all have one length: no padding.
            dtype: of floating-point values.
            device: of all.

        Returns:
            An `Output` on the device, row k of which belongs to (ids[k], views[k]); with `top_k` its `raw` is a `TopK`
            and its `logits` are None.

        Raises:
            KeyError: the cache does not hold them all; says what is missing and what is there.
            ValueError: items of other lengths than the mask says, or of different lengths and no mask; an item that is
                not the one that was written; a device that this machine lacks, or a dtype that is none.
        """
        check_device(device)
        check_dtype(dtype)
        ids, views = pairs(ids, views)
        places = self._index.find(ids, views)
        if min(places, default=0) < 0:
            self._look()  # another process may have written since
            places = self._index.find(ids, views)
        if min(places, default=0) < 0:
            raise KeyError(self._absence(ids, views, places))

        def values(name: str) -> Tensor:
            rows = self._rows(name, places, ids, mask).to(device)
            return rows.to(dtype) if rows.is_floating_point() else rows

        logits = values(LOGITS) if LOGITS in self._shapes else None
        features = {role: values(FEATURE + role) for role in self.features}
        if TOP not in self._shapes:
            return Output(logits, features)
        return Output(None, features, TopK(values(TOP), values(CLASS).long(), values(REST), self.temperature))

    def _rows(self, name: str, places: Sequence[int], ids: Sequence[str], mask: Tensor | None) -> Tensor:
        """Return one row for each place, or (B, N, ...) for items that have lengths."""
        found = [self._row(name, place) for place in places]
        shape = self._shapes[name]
        if not found:
            return torch.empty(0, *(max(size, 0) for size in shape))
        if shape[:1] == (ANY,):
            return padded(found, ids, mask)
        if mask is not None:
            raise ValueError(f"mask= is for items that were written with one, got it for those of {self.folder}")
        with torch.autocast("cpu", enabled=False):  # in bfloat16 it cannot join rows of float16
            return torch.cat(found)

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
        for pair, one, other in self._index.twice():
            self._check_twice(pair, one, other)

    def take(self, path: Path) -> None:
        """Index a file that a writer of this cache has finished, so that it writes no pair of it again.

        Args:
            path: of the file.
        """
        if all(path != shard.path for shard in self._shards):
            shard, ids, views = open_shard(path)
            self._index.add(len(self._shards), ids, views)
            self._shards.append(shard)

    def stored(self, ids: Sequence[str], views: Sequence[int]) -> dict[tuple[str, int], dict[str, Tensor]]:
        """Return the values of those of the pairs that a finished file is known to hold.

        Args:
            ids: of the items.
            views: their view numbers.

        Returns:
            (id, view) -> name -> values, decoded, of the pairs that are there.
        """
        places = self._index.find(ids, views)
        return {(clip, view): self._item(at) for clip, view, at in zip(ids, views, places, strict=True) if at >= 0}

    def _item(self, place: int) -> dict[str, Tensor]:
        return {name: self._row(name, place) for name in self._shards[place >> BITS].shapes if compared(name)}

    def _row(self, name: str, place: int) -> Tensor:
        """Return (1, ...), or (length, ...) for items that have lengths."""
        shard, number = self._shards[place >> BITS], place % 2**BITS
        scale = shard.rows(SCALE + name, number) if SCALE + name in shard.shapes else None
        return decode(shard.rows(name, number), scale)

    def _check_twice(self, pair: tuple[str, int], one: int, other: int) -> None:
        """Raise ValueError where two files hold one pair and do not agree."""
        first, second = (self._shards[place >> BITS] for place in (one, other))
        sums = first.checks_of(one % 2**BITS)
        if (sums and sums == second.checks_of(other % 2**BITS)) or alike(self._item(one), self._item(other)):
            return
        raise ValueError(
            f"(id, view) pairs must have one value, got two of {pair}, in {first.path} and {second.path.name}: delete "
            "the wrong file, and write again what is then missing"
        )

    def _compare(self, shard: Shard) -> None:
        names = sorted({*self.fingerprint, *shard.fingerprint})
        both = {name: (shard.fingerprint.get(name), self.fingerprint.get(name)) for name in names}
        differ = [
            f"{name} is {there!r} there and {here!r} here" for name, (there, here) in both.items() if there != here
        ]
        if differ:
            raise ValueError(
                f"{self.folder} holds the outputs of something else: {'; '.join(differ)}: use another folder, or "
                "what wrote this one"
            )
        absent = [role for role in self.features if FEATURE + role not in shard.shapes]
        if absent:
            raise ValueError(f"{shard.path} has no features {absent}, only {sorted(shard.shapes)}: write another cache")
        shapes = {name: shape for name, shape in shard.shapes.items() if not name.startswith(SCALE)}
        self.expect_shapes(shapes, f"items of {shard.path}")

    def expect_shapes(self, shapes: Mapping[str, tuple[int, ...]], what: str) -> None:
        """Raise ValueError unless items have the shapes of those before them.

        Args:
            shapes: name -> shape of one item.
            what: which items they are, for the error.
        """
        if self._shapes and shapes != self._shapes:
            raise ValueError(f"{what} have the shapes {dict(shapes)}, but those before them {self._shapes}")
        self._shapes = dict(shapes)

    def _absence(self, ids: Sequence[str], views: Sequence[int], places: Sequence[int]) -> str:
        lost = [(clip, view) for clip, view, place in zip(ids, views, places, strict=True) if place < 0]
        clip = lost[0][0]
        return (
            f"{self.folder} lacks {len(lost)} of {len(ids)} items, such as {lost[:3]}. It holds {len(self)} items; "
            f"of clip {clip!r} the views {self._index.views(clip)}: write what `missing` names first"
        )
