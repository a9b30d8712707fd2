"""A job's events as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from flask import Response

from core.errors import CoordinatorUnavailable
from core.events import JOB_SNAPSHOT, Event
from core.jobs import Job
from core.public import to_public
from core.timing import iso_time, now_ms
from web.accounts.auth import session_check

if TYPE_CHECKING:
    from storage.events.feed import EventFeed
    from storage.events.log import EventLog
    from storage.jobs.store import JobStore
    from web.services import WebServices

logger = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "text/event-stream"
HEARTBEAT_S: Final = 10.0
#: How often a stream asks whether its session goes on: it ends within 5 s of a logout.
_LOOK_S: Final = 2.5
#: A stream ends after this long; its client connects again and resumes by its last number.
_LONGEST_S: Final = 600.0
#: Tells the client to connect again at once; it resumes by its last number.
_RESUME: Final = b"retry: 200\n: the server ends this connection, resume elsewhere\n\n"
_HEADERS: Final = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "Connection": "keep-alive",
}


def event_stream(
    services: WebServices,
    job: Job,
    *,
    after: int,
    types: frozenset[str] | None = None,
    leave: Callable[[], None] | None = None,
) -> Response:
    """Return a stream of the events above `after` up to the terminal one; 204 if none can follow.

    Args:
        leave: of a stream that was counted as open before the job was submitted.

    Raises:
        TooManyStreams, TooManyWaiting: too much is open already.

    Where the log does not hold the event after `after` (any more), the stream begins with one
    `job.snapshot` and goes on from its number.
    """
    if job.is_terminal and after == job.cursor:
        return Response(status=204)
    leave = leave or services.open_requests.enter(job.spec.user_id)
    stream = JobStream(
        services.feed, services.event_log, services.job_store, job, types, session_check()
    )
    response = Response(stream.frames(after), mimetype=MEDIA_TYPE, headers=_HEADERS)
    # Also for a client that goes before the first frame.
    response.call_on_close(leave)
    return response


def is_wanted(event: Event, types: frozenset[str] | None) -> bool:
    """Say whether a reader who asked for these types gets the event."""
    return types is None or event.type in types


class JobStream:
    """One reader's stream of a job's events.

    Args:
        job: as it was when the reader came.
        types: those that the reader wants; None for all.
        is_session_over: says whether the reader has logged out; asked every few seconds.
    """

    def __init__(
        self,
        feed: EventFeed,
        log: EventLog,
        store: JobStore,
        job: Job,
        types: frozenset[str] | None = None,
        is_session_over: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_session_over = is_session_over
        self._feed = feed
        self._log = log
        self._store = store
        self._job = job
        self._types = types

    def frames(self, after: int) -> Iterator[bytes]:
        """Yield the events above `after` as frames, and a comment whenever nothing happens."""
        yield b"retry: 1000\n\n"
        try:
            if self._is_out_of_reach(after):
                yield _snapshot_frame(self._job)
                if self._job.is_terminal:
                    return
                after = self._job.cursor
            for event in self._until_late(after):
                if event is None:
                    yield b": alive\n\n"
                elif is_wanted(event, self._types):
                    yield to_frame(event)
                if event is not None and event.is_terminal:
                    return
        except CoordinatorUnavailable:
            logger.warning("stream ends without Redis, client will resume", job_id=self._job.id)
        # The server stops, time or session is over, or Redis is away; the status line is sent.
        yield _RESUME

    def _until_late(self, after: int) -> Iterator[Event | None]:
        """Yield events until the job's end, the session's, the time limit, or a new log."""
        now, last = time.monotonic(), after
        give_up_at, look_at, beat_at = now + _LONGEST_S, now + _LOOK_S, now + HEARTBEAT_S
        for event in self._feed.follow(self._job.id, after=after, heartbeat_s=_LOOK_S):
            now = time.monotonic()
            if now >= look_at:
                if self._is_session_over():
                    return
                look_at = now + _LOOK_S
            if event is not None or now >= beat_at:
                yield event
                beat_at = now + HEARTBEAT_S
            if event is not None:
                last = event.sequence
            elif self._began_anew(last):
                return
            if now >= give_up_at:
                return

    def _is_out_of_reach(self, after: int) -> bool:
        next_kept = next(iter(self._log.read(self._job.id, after=after, limit=1)), None)
        if next_kept is None:
            return self._job.is_terminal or after > self._job.cursor
        return next_kept.sequence > after + 1

    def _began_anew(self, last: int) -> bool:
        """Say whether Redis lost the job; its log begins at 1 when it is brought back."""
        job = self._store.get(self._job.id)
        return job is None or job.cursor < last


def to_frame(event: Event) -> bytes:
    """Encode an event; its body is one line of JSON already."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.sequence,
        event.type.encode(),
        event.body,
    )


def _snapshot_frame(job: Job) -> bytes:
    body = msgspec.json.encode(
        {
            "sequence": job.cursor,
            "type": JOB_SNAPSHOT,
            "job_id": job.id,
            "at": iso_time(now_ms()),
            "data": to_public(job),
        }
    )
    return to_frame(Event(sequence=job.cursor, type=JOB_SNAPSHOT, body=body))
