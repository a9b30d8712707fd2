"""The log of an ended job in its record: every event as it was, packed.

An event is one line, `<sequence> <type> <body>`, as it is published; the lines are compressed. So
what is read back is what was written, byte for byte, in a tenth of the room.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from bson import Binary

from core.events import Event
from core.jobs import Job
from storage.event_rows import from_lines
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

#: A document of MongoDB may have 16 MiB; of a log that would take more than this nothing is kept.
MOST_BYTES: Final = 8 << 20
#: A projection: lists of jobs read no logs.
WITHOUT_LOG: Final = {"log": 0}
NO_LOGS: Final[Mapping[str, Sequence[Event]]] = {}
#: The fastest: logs repeat themselves so much that more effort gains little.
_LEVEL: Final = 1


class JobLogs:
    """Reads logs; raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._jobs = database["jobs"]

    def after(self, job: Job, after: int) -> list[Event]:
        """Return the events of an ended job above `after`; none where the record has no such log.

        Those between `after` and the first one that is kept are never left out unsaid: then none
        are returned.
        """
        chosen = {"_id": job.id, "user_id": job.spec.user_id}
        with store_errors():
            found = self._jobs.find_one(chosen, {"log": 1})
        log = found.get("log") if found else None
        events = [event for event in unpack(log) if event.sequence > after] if log else []
        return events if events and events[0].sequence == after + 1 else []


def pack(events: Sequence[Event]) -> Binary | None:
    """Return the log as a record keeps it; None where there is none, or where it is too long."""
    if not events:
        return None
    lines = [b"%d %s %s" % (one.sequence, one.type.encode(), one.body) for one in events]
    packed = zlib.compress(b"\n".join(lines), _LEVEL)
    return Binary(packed) if len(packed) <= MOST_BYTES else None


def packed(logs: Mapping[str, Sequence[Event]], job: Job) -> dict[str, Binary]:
    """Return the field that keeps a job's log; none where no log can be kept."""
    log = pack(logs.get(job.id, ()))
    return {} if log is None else {"log": log}


def unpack(packed: bytes) -> list[Event]:
    """Return the events of a kept log."""
    return from_lines(zlib.decompress(packed))
