"""The Celery tasks: thin shells that bind the log context and call what does the work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import structlog
from celery import Celery
from celery.signals import celeryd_after_setup, worker_ready, worker_shutting_down

from core.errors import ServiceUnavailable
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
    own.task_events.start(sender.hostname, partial(_sends_task_events, sender))


def _sends_task_events(consumer: Any) -> bool:
    """Say whether somebody asks for the events of this worker's tasks."""
    dispatcher = consumer.event_dispatcher
    if not dispatcher or not dispatcher.enabled:
        return False
    return not dispatcher.groups or "task" in dispatcher.groups


def _is_for_chat(app: Celery) -> bool:
    """Say whether this process takes chat jobs; upkeep's worker never calls a model."""
    return not app.amqp.queues.consume_from.keys().isdisjoint(names.CHAT_QUEUES)


@worker_shutting_down.connect
def _begin_nothing_more(**_: Any) -> None:
    worker().intake.stop()


@celery_app.task(name=names.RUN_CHAT, send_events=False)
def run_chat(*_: Any) -> None:
    """Serve whatever is next; the message only says that something may be."""
    _serve_next()


@celery_app.task(name=names.RUN_AGENT, send_events=False)
def run_agent(*_: Any) -> None:
    """Serve whatever is next: most likely an agent's turn, for which a team's start sent this."""
    _serve_next()


@celery_app.task(name=names.FINISH_ROUND, send_events=False)
def finish_round(*_: Any) -> None:
    """Serve whatever is next: most likely a round's end, as the body of its chord."""
    _serve_next()


def _serve_next() -> None:
    with _left_to_upkeep():
        worker().intake.run()


@celery_app.task(name=names.SWEEP, send_events=False)
def sweep() -> None:
    """Look after jobs that nobody works on; see `workers.upkeep.sweeper`."""
    with _left_to_upkeep():
        worker().sweeper.run()


@contextmanager
def _left_to_upkeep() -> Iterator[None]:
    """Let a task end when Redis or MongoDB is away: upkeep has what it was to do done later."""
    try:
        yield
    except ServiceUnavailable as error:
        logger.warning(
            "task given up; upkeep has its work done later",
            code=error.code,
            cause=repr(error.__cause__),
        )
