"""A worker process's composition root: every object gets exactly what it uses."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable
from functools import partial
from typing import Any

from msgspec import Struct
from redis import Redis

from agents.answer import AnswerRunner
from agents.groq.model import GroqModel, Timeouts
from agents.plan import Planner
from agents.rate_limited_model import RateLimitedModel
from cache.fingerprint import fingerprints_of
from cache.response_cache import ResponseCache
from core.loops import Loop
from core.models import Catalogue, read_catalogue
from core.personas import load_personas, load_synthesis, load_title
from core.policy_version import policy_version
from core.routing_rules import read_rules
from core.settings import Settings, read_settings
from monitoring.job_metrics import cache_counter
from monitoring.metrics import Metrics
from storage.connections import cache_redis_client, mongo_database, redis_client
from storage.events.hub import listen_for_cancels
from storage.events.log import EventLog
from storage.jobs.acceptance import Acceptance
from storage.jobs.ancestors import Ancestors
from storage.jobs.attempts import Attempts
from storage.jobs.cancellation import Cancellation
from storage.jobs.claims import Claim
from storage.jobs.epoch import Epoch
from storage.jobs.lines import Lines
from storage.jobs.recovery import Recovery
from storage.jobs.store import JobStore
from storage.jobs.sweep import Sweep
from storage.jobs.teams import SlotClaim, Teams
from storage.jobs.user_keys import UserKeys
from storage.limits.breaker import SharedBreaker
from storage.limits.lessons import Lessons
from storage.limits.single_flight import SingleFlight as SharedSingleFlight
from storage.limits.upstream_budget import UpstreamBudget
from storage.loop_reports import LoopReports
from storage.records.conversations import Conversations
from storage.records.format_watch import FormatWatch
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs
from workers.answer_cache import AnswerCache
from workers.app import celery_app
from workers.attempt_factory import AttemptFactory
from workers.event_writer import EventWriter
from workers.history import Histories
from workers.intake import Intake, serve
from workers.leases import CancelListener, LeaseKeeper
from workers.loop_watch import LoopWatch, end_this_process
from workers.measured_model import MeasuredModel
from workers.model_check import warn_of_missing_models
from workers.queue import JobQueue, WakeUps
from workers.run_job import JobRunner
from workers.single_flight import SingleFlight
from workers.task_events import TaskEvents
from workers.team.finish import RoundEnds
from workers.team.start import TeamStarter
from workers.team.turn import AgentTurns
from workers.upkeep.loops import upkeep_loops
from workers.upkeep.restoration import Restoration
from workers.upkeep.sweeper import Sweeper
from workers.upkeep.teams import TeamSweeper
from workers.upkeep.waker import Waker


class Worker(Struct, frozen=True, kw_only=True):
    """What the tasks of one process call; safe to share between its threads.

    Attributes:
        upkeep: loops that the process of upkeep runs besides its own.
    """

    intake: Intake
    sweeper: Sweeper
    upkeep: tuple[Loop, ...]
    provider: GroqModel
    catalogue: Catalogue
    watch: LoopWatch
    format_watch: FormatWatch
    task_events: TaskEvents

    def check_models_in_background(self) -> None:
        """Log a warning if the provider lacks models of the catalogue."""
        check = partial(warn_of_missing_models, self.provider, self.catalogue)
        threading.Thread(target=check, name="model-check", daemon=True).start()


_lock = threading.Lock()
_worker: Worker | None = None


def worker() -> Worker:
    """Return the process's worker, built and started by the first task that needs it."""
    global _worker
    with _lock:
        if _worker is None:
            _worker = _build(read_settings())
        return _worker


def _build(settings: Settings) -> Worker:
    metrics = Metrics(redis_client(settings, name="aether-metrics", answer_timeout_s=5.0))
    redis = redis_client(settings, observe=metrics.observe_command)
    database = mongo_database(settings, observe=metrics.observe_command)
    catalogue = read_catalogue(settings.llm_provider, settings.models_file)
    planner, provider = _planner(settings, catalogue), _provider(settings)
    answers = _answers(settings, redis, catalogue, provider, metrics)
    store, wake_ups, lease_s = JobStore(redis), WakeUps(celery_app), settings.lease_s
    claims, slots = Attempts(redis, lease_s=lease_s), Teams(redis, lease_s=lease_s)
    sweep, lines = Sweep(redis, lease_s=lease_s), Lines(redis, lease_s=lease_s)
    keeper, writer = LeaseKeeper(claims, renew_every_s=lease_s / 3), EventWriter(claims)
    task_events, queue = TaskEvents(celery_app), JobQueue(lines, wake_ups)
    cache, lessons = _cache(settings, metrics), Lessons(redis, catalogue.models)
    attempts = AttemptFactory(
        *(claims, keeper, writer, catalogue, task_events, lessons),
        _histories(redis, database),
    )
    single_flight = SingleFlight(SharedSingleFlight(redis, lease_s=lease_s), wake_ups)
    starter = TeamStarter(slots, wake_ups, store, Cancellation(store, sweep, claims, slots))
    turns = AgentTurns(slots, attempts, planner, answers, wake_ups, starter)
    ends = RoundEnds(slots, attempts, planner, answers, cache, starter)
    jobs = JobRunner(attempts, planner, answers, cache, single_flight, starter)
    records, teams = JobRecords(database), TeamSweeper(slots, attempts, turns, ends)
    sweeper = Sweeper(
        *(sweep, Acceptance(redis), claims, EventLog(redis), records, queue),
        *(wake_ups, _restoration(redis, store, records, Ledger(database)), teams, catalogue),
        interval_s=settings.sweep_interval_s,
    )
    return Worker(
        intake=_intake(settings, lines, partial(serve, jobs=jobs, turns=turns, ends=ends)),
        sweeper=sweeper,
        upkeep=upkeep_loops(
            *(settings, redis, database, sweeper, Waker(lines, wake_ups)),
            *(queue, catalogue, lessons, metrics),
        ),
        provider=provider,
        catalogue=catalogue,
        watch=_watch(redis, keeper, writer.loop, task_events.loop, lessons.loop, metrics.loop),
        format_watch=FormatWatch(redis, database, end_this_process),
        task_events=task_events,
    )


def _restoration(redis: Redis, store: JobStore, records: JobRecords, ledger: Ledger) -> Restoration:
    lost_jobs = LostJobs(store, Recovery(redis), records, ledger)
    return Restoration(Epoch(redis), lost_jobs, records)


def _watch(redis: Redis, keeper: LeaseKeeper, *loops: Loop) -> LoopWatch:
    listener = CancelListener(partial(listen_for_cancels, redis), keeper)
    watch = LoopWatch(LoopReports(redis), (*keeper.loops, listener.loop, *loops))
    watch.start_loops()
    return watch


def _intake(
    settings: Settings, lines: Lines, serve_one: Callable[[Claim | SlotClaim], None]
) -> Intake:
    name = f"{socket.gethostname()}:{os.getpid()}"
    return Intake(lines, serve_one, name=name, threads=settings.worker_threads)


def _histories(redis: Redis, database: Any) -> Histories:
    return Histories(Ancestors(redis), Conversations(database), UserKeys(redis))


def _planner(settings: Settings, catalogue: Catalogue) -> Planner:
    rules = read_rules(settings.routing_file)
    return Planner(catalogue, rules, load_personas(), load_synthesis(), load_title())


def _answers(
    settings: Settings,
    redis: Redis,
    catalogue: Catalogue,
    provider: GroqModel,
    metrics: Metrics,
) -> AnswerRunner:
    measured = MeasuredModel(provider, metrics, catalogue)
    budgeted = RateLimitedModel(measured, _budget(settings, redis))
    return AnswerRunner(budgeted, catalogue, SharedBreaker(redis))


def _provider(settings: Settings) -> GroqModel:
    return GroqModel(
        settings.groq_api_key.get_secret_value(),
        settings.llm_url,
        max_connections=settings.worker_threads,
        # The embedded server says keep-alive and closes the connection after each streamed answer.
        keeps_connections=settings.llm_provider != "embedded",
        timeouts=Timeouts(
            settings.llm_connect_s, settings.llm_first_byte_s, settings.llm_silence_s
        ),
    )


def _budget(settings: Settings, redis: Redis) -> UpstreamBudget:
    return UpstreamBudget(
        redis,
        requests_per_minute=settings.llm_requests_per_minute,
        tokens_per_minute=settings.llm_tokens_per_minute,
    )


def _cache(settings: Settings, metrics: Metrics) -> AnswerCache:
    redis = cache_redis_client(settings)
    return AnswerCache(
        ResponseCache(redis, ttl_s=settings.cache_ttl_s, count=cache_counter(metrics)),
        fingerprints_of(settings),
        policy_version(settings.routing_file),
    )
