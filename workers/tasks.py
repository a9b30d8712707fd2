"""The Celery tasks: thin shells that bind the log context and call what does the work."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog
from celery.exceptions import Ignore
from celery.signals import worker_ready

from core.errors import ServiceUnavailable, SlotUnavailable
from workers import names
from workers.app import celery_app
from workers.model_check import warn_of_missing_models
from workers.run_job import run_job
from workers.team import finish, turn
from workers.upkeep import sweeper
from workers.worker import runtime

logger = structlog.get_logger(__name__)


@worker_ready.connect
def _warm_up(**_: Any) -> None:
    """Build the runtime before the first job needs it, and look at the provider meanwhile."""
    parts = runtime()
    check = partial(warn_of_missing_models, parts.provider, parts.catalogue)
    threading.Thread(target=check, name="model-check", daemon=True).start()


@celery_app.task(name=names.RUN_CHAT, bind=True)
def run_chat(self: Any, job_id: str) -> None:
    """Answer one job; a redelivery, an ended or a cancelled job is done at once."""
    request_id = getattr(self.request, names.REQUEST_ID_HEADER, None)
    queued_ms = getattr(self.request, names.QUEUED_MS_HEADER, None)
    with (
        structlog.contextvars.bound_contextvars(job_id=job_id, request_id=request_id),
        _put_off_when_unavailable(),
    ):
        run_job(runtime(), job_id, queued_ms=queued_ms)


@celery_app.task(name=names.RUN_AGENT)
def run_agent(job_id: str, slot: str) -> str:
    """Take one agent's turn in a team's round; see `workers.team.turn`.

    What is not ended here is ignored, so that the chord does not take it for done.
    """
    with structlog.contextvars.bound_contextvars(job_id=job_id, slot=slot):
        try:
            return turn.run_agent(runtime(), job_id, slot)
        except (SlotUnavailable, ServiceUnavailable) as error:
            logger.info("left to another", code=error.code, cause=repr(error.__cause__))
            raise Ignore from error


@celery_app.task(name=names.FINISH_ROUND)
def finish_round(_: list[str], job_id: str, slot: str) -> None:
    """Go on from a team's round; its replies are read where they are kept."""
    with (
        structlog.contextvars.bound_contextvars(job_id=job_id, slot=slot),
        _put_off_when_unavailable(),
    ):
        finish.finish_round(runtime(), job_id, slot)


@celery_app.task(name=names.SWEEP)
def sweep() -> None:
    """Look after jobs that nobody works on; see `workers.upkeep.sweeper`."""
    with _put_off_when_unavailable():
        sweeper.sweep(runtime())


@celery_app.task(name=names.WRITE_RECORDS)
def write_records() -> None:
    """Write ended jobs to MongoDB; see `workers.upkeep.sweeper`."""
    with _put_off_when_unavailable():
        sweeper.write_records(runtime())


@contextmanager
def _put_off_when_unavailable() -> Iterator[None]:
    """Let a task end when Redis or MongoDB is away: what it was to do is due again by itself."""
    try:
        yield
    except ServiceUnavailable as error:
        logger.warning("put off", code=error.code, cause=repr(error.__cause__))
