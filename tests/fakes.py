"""Small stand-ins for what the road through a worker talks to; each behaves, none records calls."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from typing import Any

from redis.exceptions import ConnectionError as RedisConnectionError

from agents.spending import Funding, Spending
from core.chat import Message
from core.errors import CoordinatorUnavailable
from core.ids import new_user_id
from core.jobs import NO_PLACE, Job, JobSpec, JobStatus, Place, Question
from core.lessons import NOTHING_LEARNED, CallSample, Lesson
from core.models import Catalogue
from core.outcome import Outcome, Spent
from core.timing import now_ms
from storage.jobs.claims import Claim, Hold
from storage.limits.single_flight import Entered, Note, Released, Role
from workers.history import HistoryNotReady


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
        self.back_in_line: dict[str, tuple[str, float, bool]] = {}
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
            accepted_ms=spec.created_ms,
            queued_ms=spec.created_ms,
            deadline_ms=now_ms() + spec.allowed_ms,
            **({"attempt": 1} | fields),
        )
        self.waiting[spec.id] = claim
        return spec

    def add_claim(self, spec: JobSpec, message: str) -> Claim:
        return self.waiting.pop(self.add(spec, message).id)

    def renew(self, claims: Any) -> list[Hold]:
        self._fail_while_away()
        self._refuse_poison(claim.job_id for claim in claims)
        self.renewals += 1
        return [self.hold for _ in claims]

    def extend(self, claim: Claim, wanted_micros: int) -> str:
        return "held"

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

    def put_back(
        self,
        claim: Claim,
        model: str,
        wait_s: float,
        *,
        is_unbegun: bool,
        used: Spent,
        **events: Any,
    ) -> bool:
        if not is_unbegun:
            self._append(claim.job_id, [*events["unsure"].events, *events["last_events"]])
        self.back_in_line[claim.job_id] = (model, wait_s, is_unbegun)
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

    def end(self, fingerprint: str, job_id: str, note: Note | None) -> Released:
        if self.leaders.get(fingerprint) != job_id:
            return Released(0, 0)
        del self.leaders[fingerprint]
        if note is not None:
            self.notes[fingerprint] = note
        count = len(self.parked.pop(fingerprint, []))
        return Released(count, count)


class AbsentRedis:
    """A Redis that no command reaches."""

    def __getattr__(self, name: str) -> Any:
        def fail(*_: Any, **__: Any) -> None:
            raise RedisConnectionError(name)

        return fail


class SentWakeUps:
    """Wake-ups that are only counted, by kind."""

    def __init__(self) -> None:
        self.sent: Counter[str] = Counter()

    def send(self, kind: str, count: int = 1) -> bool:
        self.sent[kind] += count
        return True

    def start_round(self, agents: int) -> None:
        self.send("agent", agents)


class NoQueue:
    """A queue that lets no job wait for a turn, so that none is ever claimed."""

    def submit(self, spec: JobSpec) -> Place:
        return NO_PLACE

    def place_of(self, job: Job) -> Place:
        return NO_PLACE


class FixedHistory:
    """A conversation of these exchanges, unless it is told to be away."""

    def __init__(self) -> None:
        self.exchanges: list[Message] = []
        self.is_ready = True

    def of(self, spec: JobSpec) -> list[Message]:
        if not self.is_ready:
            raise HistoryNotReady("not yet")
        return self.exchanges


def unbounded_spending(catalogue: Catalogue) -> Spending:
    """Return the account of a turn for which more is always held."""
    return Spending(
        catalogue,
        user_id=new_user_id(),
        held=0,
        extend=lambda _: Funding.HELD,
        lesson_of=lambda _: NOTHING_LEARNED,
        learn=lambda _: None,
    )


class GatheredLessons:
    """The lessons of `storage.limits.lessons.Lessons`; what is gathered teaches nothing."""

    def __init__(self) -> None:
        self.samples: list[CallSample] = []

    def add(self, sample: CallSample) -> None:
        self.samples.append(sample)

    def of_all(self, model: str) -> Lesson:
        return NOTHING_LEARNED
