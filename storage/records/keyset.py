"""Pages of a list by the time and the id of the last entry before, in either direction.

The embedded server takes an index for a plain range only, and leaves out of some what is equal to
its bound. So a page begins a millisecond early, and what is not behind the entry is passed over.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, TypeVar

from storage.records.documents import to_time

Entry = TypeVar("Entry")
#: When an entry was made (Unix ms), and its id.
Key = tuple[int, str]
_STEP = timedelta(milliseconds=1)


def newest_behind(key: Key | None) -> dict[str, datetime]:
    """Return what a time has to meet to be that of an entry behind `key`, newest first."""
    return {} if key is None else {"$lt": to_time(key[0]) + _STEP}


def oldest_behind(key: Key | None) -> dict[str, datetime]:
    """The same, oldest first."""
    return {} if key is None else {"$gt": to_time(key[0]) - _STEP}


def page(
    entries: Iterable[Entry],
    key_of: Callable[[Entry], Key],
    behind: Key | None,
    *,
    newest_first: bool,
    limit: int,
) -> list[Entry]:
    """Return the first entries that are behind the key; all are where it is None."""
    return list(islice(_behind(entries, key_of, behind, newest_first=newest_first), limit))


def _behind(
    entries: Iterable[Entry],
    key_of: Callable[[Entry], Key],
    behind: Key | None,
    *,
    newest_first: bool,
) -> Iterator[Entry]:
    for entry in entries:
        key = key_of(entry)
        if behind is None or (key < behind if newest_first else key > behind):
            yield entry


def with_time(chosen: dict[str, Any], field: str, span: dict[str, datetime]) -> dict[str, Any]:
    """Return the filter with a bound on a time, if there is one."""
    return chosen | {field: span} if span else chosen
