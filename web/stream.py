"""A job's events as server-sent events."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

import msgspec
import structlog
from flask import Response

from core.errors import CoordinatorUnavailable
from core.events import JOB_SNAPSHOT, Event
from core.job import Job, iso_time, to_public

if TYPE_CHECKING:
    from web.services import WebServices

logger = structlog.get_logger(__name__)

HEARTBEAT_S: Final = 10.0
#: The client is told to come back after this long; it resumes by its last number.
_LONGEST_S: Final = 600.0
#: Tells the client to come back; it resumes by its last number.
_RESUME: Final = b"retry: 200\n: the server ends this connection, resume elsewhere\n\n"
_HEADERS: Final = {
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
    "Connection": "keep-alive",
}


def event_stream(services: WebServices, job: Job, *, after: int) -> Response:
    """Answer with the events above `after` up to the terminal one; 204 when none can follow.

    A cursor that the log no longer reaches is answered with one `job.snapshot` first.
    """
    if job.is_terminal and after >= job.cursor:
        return Response(status=204)
    frames = _live_frames(services, job, after)
    return Response(frames, mimetype="text/event-stream", headers=_HEADERS)


def _live_frames(services: WebServices, job: Job, after: int) -> Iterator[bytes]:
    yield b"retry: 1000\n\n"
    first_kept = next(iter(services.event_log.read(job.id, after=after, limit=1)), None)
    if first_kept is None and job.is_terminal:
        yield _snapshot_frame(job)
        return
    if first_kept is not None and first_kept.sequence > after + 1:
        yield _snapshot_frame(job)
        after = job.cursor
    give_up_at = time.monotonic() + _LONGEST_S
    try:
        for event in services.feed.follow(job.id, after=after, heartbeat_s=HEARTBEAT_S):
            yield b": alive\n\n" if event is None else to_frame(event)
            if event is not None and event.is_terminal:
                return
            if time.monotonic() >= give_up_at:
                break
    except CoordinatorUnavailable:
        logger.warning("stream broke off", job_id=job.id)
    # Told to end, out of time or without Redis; the status line is long gone.
    yield _RESUME


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
            "at": iso_time(int(time.time() * 1000)),
            "data": to_public(job),
        }
    )
    return to_frame(Event(sequence=job.cursor, type=JOB_SNAPSHOT, body=body))
