"""Cursors of pages: the time and the id of the last entry of the page before."""

from __future__ import annotations

import re
from typing import Final

from core.errors import InvalidRequest

#: 31 December 9999, the last day that MongoDB's drivers can express.
LATEST_MS: Final = 253_402_300_799_999
_ID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")


def to_cursor(at_ms: int, entry_id: str) -> str:
    """Return the cursor that goes on behind an entry."""
    return f"{at_ms}.{entry_id}"


def read_cursor(cursor: str | None) -> tuple[int, str] | None:
    """Return the time (ms) and id behind which a page goes on; None for the first page.

    Raises:
        InvalidRequest: no page of a list gave this cursor.
    """
    if cursor is None:
        return None
    at_ms, _, entry_id = cursor.partition(".")
    is_time = at_ms.isascii() and at_ms.isdigit() and len(at_ms) <= 15
    if not (is_time and int(at_ms) <= LATEST_MS and _ID.fullmatch(entry_id)):
        raise InvalidRequest(
            "`cursor` must be the `next_cursor` of another page of this list.", field="cursor"
        )
    return int(at_ms), entry_id
