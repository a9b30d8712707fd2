"""A job as MongoDB keeps it, and back."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, TypeVar

import msgspec
import structlog

from core.job_filter import tags_of
from core.jobs import Job, JobSpec, JobStatus, Question
from core.outcome import Outcome
from core.words import words_of

logger = structlog.get_logger(__name__)

Read = TypeVar("Read")


def to_document(job: Job) -> dict[str, Any]:
    # Restoring an unfinished job needs the secret; after the end it would only outlive its use.
    spec = msgspec.structs.replace(job.spec, cache_secret="") if job.is_terminal else job.spec
    return {
        "_id": job.id,
        "user_id": job.spec.user_id,
        "status": job.status.value,
        "created_at": to_time(job.spec.created_ms),
        "finished_at": None if job.finished_ms is None else to_time(job.finished_ms),
        "attempt": job.attempt,
        "cursor": job.cursor,
        "started_ms": job.started_ms,
        "finished_ms": job.finished_ms,
        "spec": msgspec.to_builtins(spec),
        "question": msgspec.to_builtins(job.question),
        "outcome": None if job.outcome is None else msgspec.to_builtins(job.outcome),
        "tags": tags_of(job),
        # Of an unfinished job its question is looked at.
        "words": list(words_of(job.question.message)) if job.is_terminal and job.question else [],
    }


def from_document(document: dict[str, Any]) -> Job:
    return Job(
        spec=to_spec(document),
        status=JobStatus(document["status"]),
        attempt=document["attempt"],
        cursor=document["cursor"],
        started_ms=document["started_ms"],
        finished_ms=document["finished_ms"],
        outcome=None
        if document["outcome"] is None
        else msgspec.convert(document["outcome"], Outcome),
        question=to_question(document),
        content_removed_ms=_optional(document.get("content_removed_ms")),
    )


def _optional(number: int | None) -> int | None:
    """Return a whole number without the driver's own type for those of 64 bits."""
    return None if number is None else int(number)


def to_unfinished(document: dict[str, Any]) -> tuple[JobSpec, Question]:
    return to_spec(document), to_question(document)


def to_spec(document: dict[str, Any]) -> JobSpec:
    """Read the spec of a job's document."""
    return msgspec.convert(document["spec"], JobSpec)


def to_question(document: dict[str, Any]) -> Question:
    """Read the question of a job's document; the version before wrote it into the spec."""
    return msgspec.convert(document.get("question") or document["spec"], Question)


def to_time(unix_ms: int) -> datetime:
    return datetime.fromtimestamp(unix_ms / 1000, UTC)


def to_ms(at: datetime) -> int:
    return round(at.astimezone(UTC).timestamp() * 1000)


def readable(
    documents: Iterable[dict[str, Any]], read: Callable[[dict[str, Any]], Read]
) -> Iterator[Read]:
    """Yield what can be read; of the rest a log line each names the job, never its content."""
    for document in documents:
        try:
            yield read(document)
        except (ValueError, TypeError, KeyError) as error:
            logger.warning(
                "record left to the version that wrote it",
                job_id=document["_id"],
                error=type(error).__name__,
            )
