"""What one process finds out for all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from torch import distributed

T = TypeVar("T")


def once(make: Callable[[], T]) -> T:
    """Call a function in the first process only; return its value, or raise its error, in all of them.

    A list of 226 thousand clips is read, and the disk asked for their sizes, once instead of by every process.
    """
    if not distributed.is_initialized():
        return make()
    box: list[Any] = [None, None]
    if distributed.get_rank() == 0:
        try:
            box[0] = make()
        except (ValueError, OSError) as error:
            box[1] = error
    distributed.broadcast_object_list(box, src=0)
    if box[1] is not None:
        raise box[1]
    found: T = box[0]
    return found
