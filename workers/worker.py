"""What a worker process is made of: its composition root."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from agents.answer import TurnRunner
from agents.cascade import CascadeRunner
from agents.groq.model import GroqModel
from agents.rate_limited_model import RateLimitedModel
from cache.fingerprint import Fingerprints, fingerprints_of
from cache.response_cache import ResponseCache
from core.models import read_catalogue
from core.personas import load_personas, load_synthesis
from core.routing_rules import Rules, read_rules
from core.settings import Settings, read_settings
from monitoring.counters import Counters
from storage.connections import cache_redis_client, mongo_database, redis_client
from storage.events.hub import listen_for_cancels
from storage.events.log import EventLog
from storage.jobs.attempts import Attempts
from storage.jobs.cancellation import Cancellation
from storage.jobs.store import JobStore
from storage.jobs.sweep import Sweep
from storage.jobs.teams import Teams
from storage.limits.breaker import SharedBreaker
from storage.limits.single_flight import Flights
from storage.limits.upstream_budget import UpstreamBudget
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from workers.app import celery_app
from workers.event_writer import EventWriter
from workers.leases import CancelListener, LeaseKeeper
from workers.queue import JobQueue
from workers.single_flight import Coalescer
from workers.team_queue import TeamQueue

if TYPE_CHECKING:
    from collections.abc import Mapping

    from redis import Redis

    from core.chat import ChatModel
    from core.models import Catalogue
    from core.personas import Persona


@dataclass(frozen=True, slots=True, kw_only=True)
class Runtime:
    """The parts of one worker process; safe to share between its threads."""

    settings: Settings
    attempts: Attempts
    store: JobStore
    log: EventLog
    records: JobRecords
    record_stream: RecordStream
    sweep: Sweep
    teams: Teams
    cancellation: Cancellation
    queue: JobQueue
    team_queue: TeamQueue
    cache: ResponseCache
    counters: Counters
    fingerprints: Fingerprints
    coalescer: Coalescer
    keeper: LeaseKeeper
    writer: EventWriter
    provider: GroqModel
    turns: TurnRunner
    catalogue: Catalogue
    rules: Rules = field(default_factory=read_rules)
    personas: Mapping[str, Persona]
    synthesis: Persona

    @property
    def cascades(self) -> CascadeRunner:
        return CascadeRunner(self.turns)


_lock = threading.Lock()
_runtime: Runtime | None = None


def runtime() -> Runtime:
    """Return the process's runtime, built and started by the first task that needs it."""
    global _runtime
    with _lock:
        if _runtime is None:
            _runtime = _build(read_settings())
        return _runtime


def _build(settings: Settings) -> Runtime:
    redis = redis_client(settings)
    database = mongo_database(settings)
    counters = Counters(redis)
    attempts, store = Attempts(redis, lease_s=settings.lease_s), JobStore(redis)
    sweep = Sweep(redis, lease_s=settings.lease_s)
    teams = Teams(redis, lease_s=settings.lease_s)
    provider = _provider(settings)
    catalogue = read_catalogue(settings.llm_provider, settings.models_file)
    keeper = LeaseKeeper(attempts, renew_every_s=settings.lease_s / 3)
    writer = EventWriter(attempts)
    queue = JobQueue(celery_app)
    flights = Flights(redis, silence_s=settings.lease_s / 3)
    coalescer = Coalescer(flights, attempts, keeper, queue, counters)
    _start(redis, keeper, writer, coalescer)
    return Runtime(
        settings=settings,
        attempts=attempts,
        store=store,
        log=EventLog(redis),
        records=JobRecords(database),
        record_stream=RecordStream(redis, store),
        sweep=sweep,
        teams=teams,
        cancellation=Cancellation(store, sweep, attempts, teams),
        queue=queue,
        team_queue=TeamQueue(celery_app),
        cache=_cache(settings, counters),
        counters=counters,
        fingerprints=fingerprints_of(settings),
        coalescer=coalescer,
        keeper=keeper,
        writer=writer,
        provider=provider,
        turns=TurnRunner(_paced(provider, settings, redis), catalogue, SharedBreaker(redis)),
        catalogue=catalogue,
        personas=load_personas(),
        synthesis=load_synthesis(),
    )


def _start(redis: Redis, keeper: LeaseKeeper, writer: EventWriter, coalescer: Coalescer) -> None:
    keeper.start()
    writer.start()
    coalescer.start()
    CancelListener(partial(listen_for_cancels, redis), keeper).start()


def _cache(settings: Settings, counters: Counters) -> ResponseCache:
    redis = cache_redis_client(settings)
    return ResponseCache(redis, ttl_s=settings.cache_ttl_s, count=counters.count)


def _provider(settings: Settings) -> GroqModel:
    return GroqModel(
        settings.groq_api_key.get_secret_value(),
        settings.llm_url,
        max_connections=settings.worker_threads,
    )


def _paced(provider: GroqModel, settings: Settings, redis: Redis) -> ChatModel:
    return RateLimitedModel(
        provider,
        UpstreamBudget(
            redis,
            requests_per_minute=settings.llm_requests_per_minute,
            tokens_per_minute=settings.llm_tokens_per_minute,
        ),
    )
