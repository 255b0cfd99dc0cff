"""Quiet: what the cache logs of an outage is told by the verb instead."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the cache's log off the terminal for as long as the block takes."""
    logger, nobody = logging.getLogger("toolcache"), logging.NullHandler()
    before, logger.propagate = logger.propagate, False
    logger.addHandler(nobody)
    try:
        yield
    finally:
        logger.removeHandler(nobody)
        logger.propagate = before
