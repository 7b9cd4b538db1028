"""Fixtures of the networks' tests."""

from tests.threads import one_thread

__all__ = ["one_thread"]
