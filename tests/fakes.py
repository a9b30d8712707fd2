"""Small stand-ins for what the road through a worker talks to; each behaves, none records calls."""

from __future__ import annotations

import threading
from collections import defaultdict
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from core.errors import CoordinatorUnavailable
from core.jobs import JobSpec, JobStatus, Question
from core.outcome import Outcome, Spent
from storage.jobs.attempts import Claim, Hold
from storage.limits.single_flight import Entered, Note, Role


class InMemoryJobs:
    """The scripts of `storage.jobs.attempts.Attempts` for jobs that are given, in memory.

    `away` counts the calls that fail before Redis is back; `hold` is what every write answers.
    `faults` are raised by the next writes, one each; `poison` has jobs that no write can take.
    """

    def __init__(self) -> None:
        self.waiting: dict[str, Claim] = {}
        self.logs: dict[str, list[tuple[str, dict[str, Any]]]] = defaultdict(list)
        self.ends: dict[str, tuple[JobStatus, Outcome]] = {}
        self.deferred: dict[str, tuple[float, str, Spent]] = {}
        self.exchanges: list[Any] = []
        self.hold = Hold.HELD
        self.away = self.appends = self.renewals = 0
        self.faults: list[Exception] = []
        self.poison: set[str] = set()
        self.lock = threading.Lock()

    def add(self, spec: JobSpec, message: str, **fields: Any) -> JobSpec:
        claim = Claim(
            spec=spec,
            question=Question(message),
            fence="f",
            attempt=1,
            accepted_ms=spec.created_ms,
            **fields,
        )
        self.waiting[spec.id] = claim
        return spec

    def add_claim(self, spec: JobSpec, message: str) -> Claim:
        return self.waiting.pop(self.add(spec, message).id)

    def claim(self, job_id: str) -> Claim | None:
        return self.waiting.pop(job_id, None)

    def conversation(self, spec: JobSpec) -> list[Any]:
        return self.exchanges

    def renew(self, claims: Any) -> list[Hold]:
        self._fail_while_away()
        self._refuse_poison(claim.job_id for claim in claims)
        self.renewals += 1
        return [self.hold for _ in claims]

    def append(self, batches: Any) -> list[Hold]:
        self._fail_while_away()
        self._refuse_poison(claim.job_id for claim, _ in batches)
        self.appends += 1
        for claim, batch in batches:
            self._append(claim.job_id, batch.events)
        return [self.hold for _ in batches]

    def finish(self, claim: Claim, status: JobStatus, outcome: Outcome, **events: Any) -> bool:
        self._fail_while_away()
        if self.hold is Hold.LOST or claim.job_id in self.ends:
            return False
        self._append(claim.job_id, [*events["unsure"].events, *events["last_events"]])
        self.ends[claim.job_id] = (status, outcome)
        return True

    def defer(
        self, claim: Claim, wait_s: float, *, reason: str, used: Spent, **events: Any
    ) -> bool:
        self._append(claim.job_id, [*events["unsure"].events, *events["last_events"]])
        self.deferred[claim.job_id] = (wait_s, reason, used)
        return True

    def _append(self, job_id: str, events: Any) -> None:
        with self.lock:
            self.logs[job_id] += [(event.type, event.data) for event in events]

    def _fail_while_away(self) -> None:
        with self.lock:
            self.away -= 1
            if self.away >= 0:
                raise CoordinatorUnavailable
            if self.faults:
                raise self.faults.pop(0)

    def _refuse_poison(self, job_ids: Any) -> None:
        if self.poison & set(job_ids):
            raise ValueError("poison")


class ScriptedModel:
    """A `ChatModel` that answers each call with the next list of items.

    An item that is an exception is raised, one that can be called is called.
    """

    def __init__(self, *calls: list[Any]) -> None:
        self.calls = list(calls)
        self.requests: list[Any] = []

    def stream(self, request: Any, *, deadline: float, stop: Any) -> Any:
        self.requests.append(request)
        for item in self.calls.pop(0):
            if isinstance(item, Exception):
                raise item
            if callable(item):
                item()
            else:
                yield item


class Circuits:
    """A circuit breaker whose open models are given."""

    def __init__(self, *open_models: str) -> None:
        self.open_models = open_models
        self.recorded: list[tuple[str, bool]] = []

    def allows(self, model_id: str) -> bool:
        return model_id not in self.open_models

    def record(self, model_id: str, *, is_success: bool) -> None:
        self.recorded.append((model_id, is_success))


class InMemoryFlights:
    """`storage.limits.single_flight.SingleFlight` in memory: one leader, parked jobs, one note."""

    def __init__(self) -> None:
        self.leaders: dict[str, str] = {}
        self.parked: dict[str, list[str]] = defaultdict(list)
        self.notes: dict[str, Note] = {}
        self.kept: dict[str, float] = {}
        self.renewed = 0

    def enter(self, fingerprint: str, claim: Claim) -> Entered:
        if fingerprint in self.notes:
            return Entered(Role.NOTE, self.notes[fingerprint])
        if self.leaders.setdefault(fingerprint, claim.job_id) == claim.job_id:
            return Entered(Role.LEAD)
        self.parked[fingerprint].append(claim.job_id)
        return Entered(Role.PARKED)

    def renew(self, fingerprint: str, job_id: str) -> None:
        self.renewed += 1

    def keep(self, fingerprint: str, job_id: str, wait_s: float) -> None:
        self.kept[fingerprint] = wait_s

    def end(self, fingerprint: str, job_id: str, note: Note | None) -> list[str]:
        if self.leaders.get(fingerprint) != job_id:
            return []
        del self.leaders[fingerprint]
        if note is not None:
            self.notes[fingerprint] = note
        return self.parked.pop(fingerprint, [])


class AbsentRedis:
    """A Redis that no command reaches."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise RedisConnectionError(name)

        return fail


class SentJobs:
    """A queue that remembers what was published."""

    def __init__(self) -> None:
        self.jobs: list[str] = []
        self.slots: list[tuple[str, str]] = []
        self.rounds: list[tuple[str, list[str], str]] = []

    def submit(self, job_id: str, *, is_quick: bool, request_id: str | None = None) -> bool:
        self.jobs.append(job_id)
        return True

    def send_slot(self, job_id: str, slot: Any) -> None:
        self.slots.append((job_id, slot.name))

    def start_round(self, job_id: str, slots: Any, end: Any) -> None:
        self.rounds.append((job_id, [slot.name for slot in slots], end.name))


class CountedUses:
    """Counters that keep what they count."""

    def __init__(self) -> None:
        self.uses: list[str] = []

    def count_cache_use(self, outcome: Outcome) -> None:
        self.uses.append(outcome.cache.status)
