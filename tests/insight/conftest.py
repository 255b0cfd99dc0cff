"""Caches over every layering, whose clock the test alone moves."""

from rigged import cache, clock, layering, rig

__all__ = ["cache", "clock", "layering", "rig"]
