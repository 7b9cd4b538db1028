"""Fixtures of the tests of the recipe and of AVA, which the tables build on."""

from tests.examples.conftest import clips
from tests.examples_ava.conftest import videos, weights
from tests.threads import one_thread

__all__ = ["clips", "one_thread", "videos", "weights"]
