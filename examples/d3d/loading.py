"""Loaders of clips whose readers may hang or die: nobody waits for them for ever, and what they read is named."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch.utils.data import DataLoader

from kdvideo import data
from kdvideo.training import Watched, start_worker


def loader_of(watched: Watched, *, num_workers: int = 0, **loading: Any) -> DataLoader[Any]:
    """Make a loader whose workers end with this process, and at the deadline of an item."""
    return DataLoader(
        watched,
        num_workers=num_workers,
        worker_init_fn=start_worker,
        # Workers of a fork server would be its children, and outlive this process.
        multiprocessing_context="fork" if num_workers and sys.platform == "linux" else None,
        **loading,
    )


@contextmanager
def named(watched: Watched, lost: Callable[[], None] = lambda: None) -> Iterator[None]:
    """Turn the end of a loader's worker into a `ClipError` that names its clips, after a call of `lost`."""
    try:
        yield
    except (RuntimeError, EOFError, ConnectionError) as error:  # the last two: it died while it handed a batch over
        if "DataLoader worker" not in str(error) and (isinstance(error, RuntimeError) or not watched.at_work()):
            raise
        lost()
        clips = getattr(watched.dataset, "clips", watched.dataset)
        reader, views = getattr(clips, "reader", None), getattr(clips, "views", 1)
        names = [reader.manifest[at // views]["clip"] if reader else f"item {at}" for at in watched.at_work()]
        limit = f"it may take {watched.deadline:g} s" if watched.deadline else "it crashed or was killed"
        raise data.ClipError(", ".join(names) or "a clip", f"the process that read it ended ({limit})") from error
