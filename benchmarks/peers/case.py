"""One input that is small enough to compute by hand, and what a peer, kdvideo and the equation make of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Case:
    """One input, and what theirs, ours and the equation make of it.

    Attributes:
        peer: whose.
        name: of the class or function.
        given: the input, in words.
        equation: of the paper, in words.
        theirs: what the peer returns; an exception is recorded by its name.
        ours: what kdvideo returns.
        expected: what the equation gives, computed with Python numbers; None where there is no equation.
    """

    peer: str
    name: str
    given: str
    equation: str
    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    expected: Callable[[], float] | None = None


def shown(compute: Callable[[], Any]) -> str:
    """Compute a result as text: a number with 4 digits, a word, or the name of an exception."""
    try:
        value = compute()
    except (AttributeError, ValueError, TypeError) as error:
        return type(error).__name__
    return value if isinstance(value, str) else f"{float(value):.4g}"


def kl(teacher: list[float], student: list[float], temperature: float = 1.0) -> float:
    """Compute KL(softmax(t / T) ‖ softmax(s / T)) with Python numbers."""
    log_p, log_q = ([x / temperature for x in logits] for logits in (teacher, student))
    log_p, log_q = ([x - math.log(sum(map(math.exp, logits))) for x in logits] for logits in (log_p, log_q))
    return sum(math.exp(p) * (p - q) for p, q in zip(log_p, log_q, strict=True))
