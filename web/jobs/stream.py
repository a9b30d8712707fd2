"""A job's events as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from flask import Response

from core.errors import CoordinatorUnavailable, StoreUnavailable
from core.events import JOB_POSITION, JOB_SNAPSHOT, Event
from core.jobs import NO_PLACE, Job, Place
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
_ALIVE: Final = b": alive\n\n"
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

    Of an ended job that Redis has let go, the events come from its record. Where neither holds the
    event after `after`, the stream begins with one `job.snapshot` and goes on from its number.
    """
    if job.is_terminal and after == job.cursor:
        return Response(status=204)
    leave = leave or services.open_requests.enter(job.spec.user_id)
    stream = JobStream(
        *(services.feed, services.event_log, services.job_store, job, types),
        is_session_over=session_check(),
        place_of=services.queue.place_of,
        recorded=services.job_logs.after,
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
        place_of: says where a job stands; asked as often.
        recorded: reads the events of an ended job above a number from its record.
    """

    def __init__(
        self,
        feed: EventFeed,
        log: EventLog,
        store: JobStore,
        job: Job,
        types: frozenset[str] | None = None,
        is_session_over: Callable[[], bool] = lambda: False,
        place_of: Callable[[Job], Place] = lambda _: NO_PLACE,
        recorded: Callable[[Job, int], Sequence[Event]] = lambda _, __: (),
    ) -> None:
        self._is_session_over = is_session_over
        self._place_of = place_of
        self._recorded = recorded
        self._place = NO_PLACE
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
                if self._job.is_terminal:
                    yield from self._frames_on_record(after)
                    return
                yield _snapshot_frame(self._job)
                after = self._job.cursor
            for said in self._until_late(after):
                if isinstance(said, bytes):
                    yield said
                    continue
                if is_wanted(said, self._types):
                    yield to_frame(said)
                if said.is_terminal:
                    return
        except (CoordinatorUnavailable, StoreUnavailable) as error:
            away = type(error).__name__
            logger.warning("stream ends, client will resume", job_id=self._job.id, error=away)
        # The server stops, time or session is over, or a store is away; the status line is sent.
        yield _RESUME

    def _frames_on_record(self, after: int) -> Iterator[bytes]:
        """Yield the events of an ended job as its record has them, else a snapshot."""
        events = self._recorded(self._job, after)
        if not events:
            yield _snapshot_frame(self._job)
        for event in events:
            if is_wanted(event, self._types):
                yield to_frame(event)

    def _until_late(self, after: int) -> Iterator[Event | bytes]:
        """Yield events, and frames in between, until the job's end, the session's, or a new log."""
        now, last = time.monotonic(), after
        give_up_at, look_at, beat_at = now + _LONGEST_S, now + _LOOK_S, now + HEARTBEAT_S
        for event in self._feed.follow(self._job.id, after=after, heartbeat_s=_LOOK_S):
            now = time.monotonic()
            if now >= give_up_at or (now >= look_at and self._is_session_over()):
                return
            look_at = now + _LOOK_S if now >= look_at else look_at
            said = event or self._look(last)
            if said is None:
                return
            if said or now >= beat_at:
                yield said or _ALIVE
                beat_at = now + HEARTBEAT_S
            last = last if event is None else event.sequence

    def _is_out_of_reach(self, after: int) -> bool:
        next_kept = next(iter(self._log.read(self._job.id, after=after, limit=1)), None)
        if next_kept is None:
            return self._job.is_terminal or after > self._job.cursor
        return next_kept.sequence > after + 1

    def _look(self, last: int) -> bytes | None:
        """Return a frame where the job waits and its place has changed, else nothing.

        None when Redis lost the job; its log begins at 1 when it is brought back.
        """
        job = self._store.get(self._job.id)
        if job is None or job.cursor < last:
            return None
        place = self._place_of(job)
        if place in (self._place, NO_PLACE) or self._types is not None:
            return b""
        self._place = place
        return _position_frame(job, place)


def to_frame(event: Event) -> bytes:
    """Encode an event; its body is one line of JSON already."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (
        event.sequence,
        event.type.encode(),
        event.body,
    )


def _position_frame(job: Job, place: Place) -> bytes:
    """Encode where the job stands; without a number, for it is no entry of the log."""
    said = {"type": JOB_POSITION, "job_id": job.id, "at": iso_time(now_ms()), "data": place}
    return b"event: %s\ndata: %s\n\n" % (JOB_POSITION.encode(), msgspec.json.encode(said))


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
