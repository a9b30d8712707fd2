"""The Celery tasks: thin shells that bind the log context and call what does the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog
from celery import Celery
from celery.exceptions import Ignore
from celery.signals import celeryd_after_setup, worker_ready

from core.errors import ServiceUnavailable, SlotUnavailable
from core.settings import Role, read_settings
from workers import names
from workers.app import celery_app
from workers.worker import worker

logger = structlog.get_logger(__name__)


@celeryd_after_setup.connect
def _refuse_to_start(instance: Any, **_: Any) -> None:
    """End a worker that has no secrets to answer with, or whose stores are of another version."""
    role: Role = "worker" if _is_for_chat(instance.app) else "upkeep"
    try:
        read_settings().check_secrets(role)
        worker().format_watch.start()
    except ValueError as problem:
        logger.critical("the worker ends", why=str(problem))
        # Celery logs any other error of a signal's handler and goes on.
        raise SystemExit(1) from problem


@worker_ready.connect
def _warm_up(sender: Any, **_: Any) -> None:
    """Build the worker before its first job, have it report, and check the provider's models."""
    own = worker()
    if _is_for_chat(sender.app):
        own.check_models_in_background()
    else:
        own.watch.take_up(own.upkeep)
    own.watch.start(sender.hostname)


def _is_for_chat(app: Celery) -> bool:
    """Say whether this process takes chat jobs; upkeep's worker never calls a model."""
    return not app.amqp.queues.consume_from.keys().isdisjoint(names.CHAT_QUEUES)


@celery_app.task(name=names.RUN_CHAT, bind=True)
def run_chat(self: Any, job_id: str) -> None:
    """Answer one job; a redelivery, an ended or a cancelled job is done at once."""
    request_id = getattr(self.request, names.REQUEST_ID_HEADER, None)
    queued_ms = getattr(self.request, names.QUEUED_MS_HEADER, None)
    with (
        structlog.contextvars.bound_contextvars(job_id=job_id, request_id=request_id),
        _left_to_the_sweeper(),
    ):
        worker().jobs.run(job_id, queued_ms=queued_ms)


@celery_app.task(name=names.RUN_AGENT)
def run_agent(job_id: str, slot: str) -> str:
    """Take one agent's turn in a team's round; see `workers.team.turn`.

    A turn that does not end here is ignored, so that the chord does not count it.
    """
    with structlog.contextvars.bound_contextvars(job_id=job_id, slot=slot):
        try:
            return worker().turns.run(job_id, slot)
        except (SlotUnavailable, ServiceUnavailable) as error:
            logger.info("turn left to another task", code=error.code, cause=repr(error.__cause__))
            raise Ignore from error


@celery_app.task(name=names.FINISH_ROUND)
def finish_round(_: list[str], job_id: str, slot: str) -> None:
    """Go on from a team's round; its replies are kept with the job, not in the results."""
    with (
        structlog.contextvars.bound_contextvars(job_id=job_id, slot=slot),
        _left_to_the_sweeper(),
    ):
        worker().round_ends.run(job_id, slot)


@celery_app.task(name=names.SWEEP)
def sweep() -> None:
    """Look after jobs that nobody works on; see `workers.upkeep.sweeper`."""
    with _left_to_the_sweeper():
        worker().sweeper.run()


@contextmanager
def _left_to_the_sweeper() -> Iterator[None]:
    """Let a task end when Redis or MongoDB is away: what it was to do becomes due again."""
    try:
        yield
    except ServiceUnavailable as error:
        logger.warning(
            "task given up; its work becomes due again",
            code=error.code,
            cause=repr(error.__cause__),
        )
