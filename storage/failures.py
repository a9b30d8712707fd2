"""Where the drivers' errors become ours, so that no caller above storage knows a driver."""

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
    """Turn "Redis cannot serve us now" into CoordinatorUnavailable; a wrong command stays a bug."""
    try:
        yield
    except (ConnectionError, TimeoutError, OutOfMemoryError, ReadOnlyError) as error:
        raise CoordinatorUnavailable from error


@contextmanager
def store_errors(*, within_s: float | None = None) -> Iterator[None]:
    """Turn any failure of the MongoDB driver into StoreUnavailable.

    Args:
        within_s: how long the block's calls may take together, also where the server took them
            and does not answer; None for as long as the client's own limits allow.
    """
    try:
        with pymongo.timeout(within_s) if within_s else nullcontext():
            yield
    except PyMongoError as error:
        raise StoreUnavailable from error
