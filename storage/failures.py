"""Map the drivers' errors to ours, so that no caller above storage knows a driver."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

import pymongo
from pymongo.errors import PyMongoError
from redis.exceptions import (
    ConnectionError,
    OutOfMemoryError,
    ReadOnlyError,
    TimeoutError,
)

from core.errors import CoordinatorUnavailable, StoreUnavailable


@contextmanager
def coordinator_errors() -> Iterator[None]:
    """Raise CoordinatorUnavailable when Redis cannot serve now; a wrong command stays a bug."""
    try:
        yield
    except (ConnectionError, TimeoutError, OutOfMemoryError, ReadOnlyError) as error:
        raise CoordinatorUnavailable from error


@contextmanager
def store_errors(*, within_s: float | None = None) -> Iterator[None]:
    """Raise StoreUnavailable for any failure of the MongoDB driver.

    Args:
        within_s: limit for all of the block's calls together, which also holds for a server that
            took a call and does not answer; None leaves it to the client's own limits.
    """
    try:
        with pymongo.timeout(within_s) if within_s else nullcontext():
            yield
    except PyMongoError as error:
        raise StoreUnavailable from error
