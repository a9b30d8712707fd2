"""All that is held about an account, one JSON object a line, in bounded memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from msgspec import structs

from core.errors import ServiceUnavailable
from core.money import to_usd
from core.public import public_conversation, to_public
from core.timing import iso_time

if TYPE_CHECKING:
    from core.jobs import Job
    from web.services import WebServices

logger = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/x-ndjson"
_JOBS_AT_ONCE: Final = 50
_EVENTS_AT_ONCE: Final = 500
_CONVERSATIONS_AT_ONCE: Final = 200

Row = tuple[str, Any]


def export_of(services: WebServices, user_id: str) -> Iterator[bytes]:
    """Return the lines of the account's export.

    The last one has the type `end`; an export without it was cut off by an outage.

    Raises:
        StoreUnavailable: MongoDB did not answer the first question.
    """
    rows = _rows(services, user_id)
    # What fails before the first line is still an answer of its own.
    first = next(rows)
    return _lines(user_id, chain([first], rows))


def _lines(user_id: str, rows: Iterator[Row]) -> Iterator[bytes]:
    count = 0
    try:
        for kind, data in rows:
            yield _line(kind, data)
            count += 1
    except ServiceUnavailable as error:
        logger.warning("export cut off; its reader asks again", user_id=user_id, code=error.code)
        return
    yield _line("end", {"lines": count})


def _line(kind: str, data: Any) -> bytes:
    return msgspec.json.encode({"type": kind, "data": data}) + b"\n"


def _rows(services: WebServices, user_id: str) -> Iterator[Row]:
    for kind, document in services.personal_data.rows(user_id):
        yield kind, _to_public_document(document)
    yield from _conversations(services, user_id)
    seen: set[str] = set()
    for page in _pages(services, user_id):
        for job in page:
            yield "job", to_public(job)
            yield from _events(services, job)
            conversation_id = job.spec.conversation_id
            if conversation_id is not None and conversation_id not in seen:
                seen.add(conversation_id)
                yield from _exchanges(services, user_id, conversation_id)


def _pages(services: WebServices, user_id: str) -> Iterator[list[Job]]:
    """Yield the user's jobs, newest first, as they stand now."""
    before: tuple[int, str] | None = None
    while page := services.job_records.list_of_user(user_id, limit=_JOBS_AT_ONCE, before=before):
        before = page[-1].spec.created_ms, page[-1].id
        live = services.job_store.get_many([job.id for job in page])
        yield [
            # A record says `queued` until the job's end is written.
            job if now is None or job.is_terminal else structs.replace(now, question=job.question)
            for job, now in zip(page, live, strict=True)
        ]


def _events(services: WebServices, job: Job) -> Iterator[Row]:
    """Yield the events of the job's log while Redis keeps it."""
    after = 0
    while events := services.event_log.read(job.id, after=after, limit=_EVENTS_AT_ONCE):
        yield from (("event", msgspec.Raw(event.body)) for event in events)
        after = events[-1].sequence


def _conversations(services: WebServices, user_id: str) -> Iterator[Row]:
    before = None
    while page := services.conversations.latest(
        user_id, limit=_CONVERSATIONS_AT_ONCE, before=before
    ):
        yield from (("conversation", public_conversation(one)) for one in page)
        before = page[-1].updated_ms, page[-1].id


def _exchanges(services: WebServices, user_id: str, conversation_id: str) -> Iterator[Row]:
    """Yield what the version before branches left of a conversation."""
    exchanges = services.user_keys.conversation(user_id, conversation_id)
    if exchanges:
        yield "exchanges", {"id": conversation_id, "exchanges": exchanges}


def _to_public_document(document: dict[str, Any]) -> dict[str, Any]:
    """Write times, money and the id as every other response does."""
    return dict(_to_public_field(name, value) for name, value in document.items())


def _to_public_field(name: str, value: Any) -> tuple[str, Any]:
    if isinstance(value, dict):
        return name, _to_public_document(value)
    if isinstance(value, datetime):
        return name, iso_time(round(value.timestamp() * 1000))
    if name.endswith("_micros") and isinstance(value, int):
        return name.removesuffix("_micros") + "_usd", to_usd(value)
    return ("id" if name == "_id" else name), value
