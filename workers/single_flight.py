"""Jobs that ask the same at the same time: one call answers them all.

The first to ask leads. The others hand their claims over to the leader's process, which keeps their
leases, tells their readers what the leader's hear, from the beginning, and ends them with its end.
They use no thread and no call of their own, and pay nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct, field

from core import events
from core.errors import CoordinatorUnavailable
from core.events import NewEvent
from core.jobs import JobStatus
from core.money import saved_by_cache
from core.outcome import CANCELLED, OUT_OF_TIME, Answer, CacheUse, Outcome
from core.stop import StopReason, StopSignal
from storage.jobs.attempts import NO_EVENTS, Batch, Claim, Ending
from storage.limits.single_flight import Entered, Flight, Role
from workers.attempt import Ended, patiently
from workers.leases import obey

if TYPE_CHECKING:
    from monitoring.counters import Counters
    from storage.jobs.attempts import Attempts
    from storage.limits.single_flight import Flights
    from workers.leases import LeaseKeeper
    from workers.queue import JobQueue

logger = structlog.get_logger(__name__)

#: How often followers are taken over and told what is new, in seconds.
_TICK_S: Final = 0.1
_ENDED: Final = {
    StopReason.CANCELLED: (JobStatus.CANCELLED, CANCELLED),
    StopReason.DEADLINE: (JobStatus.INCOMPLETE, OUT_OF_TIME),
}


class _Follower(Struct, eq=False):
    """A job that waits for the leader's answer; `told` counts what its readers have heard."""

    claim: Claim
    stop: StopSignal
    told: int = 0
    batches: int = 0
    in_flight: Batch = NO_EVENTS


class LeadFlight(Struct, eq=False):
    """A question that this process answers for all who ask it; `script` is what readers hear."""

    flight: Flight
    script: list[NewEvent] = field(default_factory=list)
    followers: list[_Follower] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def hear(self, event: NewEvent) -> None:
        """Have followers told this as well."""
        self.script.append(event)


class Coalescer:
    """Leads this process's flights, with one thread for all of them."""

    def __init__(
        self,
        flights: Flights,
        attempts: Attempts,
        keeper: LeaseKeeper,
        queue: JobQueue,
        counters: Counters,
    ) -> None:
        self._counters = counters
        self._flights = flights
        self._attempts = attempts
        self._keeper = keeper
        self._queue = queue
        self._led: set[LeadFlight] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._run, name="coalescer", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def enter(
        self, name: str, claim: Claim, *, wants_new: bool = False
    ) -> tuple[Entered, LeadFlight]:
        """Lead the question, or hand the claim over to who does.

        Whoever leads has to call `end` or `send_on`.
        """
        flight = Flight(name, f"{claim.job_id}:{claim.fence}")
        entered = self._flights.enter(flight, claim, wants_new=wants_new)
        led = LeadFlight(flight)
        if entered.role is Role.LEAD:
            with self._lock:
                self._led.add(led)
            self._wake.set()
        return entered, led

    def end(self, led: LeadFlight, ended: Ended) -> None:
        """End every follower as the leader ended, and give its answer to those who come next."""
        with self._closing(led, ended.kept) as followers:
            self._finish(led, followers, ended)

    def send_on(self, led: LeadFlight, wait_s: float) -> None:
        """Have the followers claimed anew, after `wait_s`; the first of them leads."""
        with self._closing(led, b"") as followers:
            for follower in followers:
                self._give_back(follower, wait_s)

    @contextmanager
    def _closing(self, led: LeadFlight, answer: bytes) -> Iterator[list[_Follower]]:
        """Stop leading; the block puts the followers away, whose leases are kept that long.

        Args:
            answer: what is given to those who ask from now on; empty if nothing is.
        """
        with self._lock:
            self._led.discard(led)
        is_crowd = bool(led.followers)
        late = patiently(lambda: self._flights.close(led.flight, answer, is_crowd=is_crowd))
        with led.lock:
            self._adopt(led, late)
            followers, led.followers = led.followers, []
        if followers:
            logger.info("flight ended", followers=len(followers), is_answered=bool(answer))
        try:
            yield followers
        finally:
            for follower in followers:
                self._keeper.drop(follower.claim, follower.stop)

    def _run(self) -> None:
        while True:
            self._wake.wait()
            began = time.monotonic()
            with self._lock:
                led = list(self._led)
                if not led:
                    self._wake.clear()
            try:
                self._tick(led)
            except CoordinatorUnavailable:
                logger.warning("followers not told; the next round tries again")
            # Half of the time at most goes into telling, however many follow.
            time.sleep(max(_TICK_S, time.monotonic() - began))

    def _tick(self, led: Sequence[LeadFlight]) -> None:
        if not led:
            return
        for one, claims in zip(led, self._flights.tick([f.flight for f in led]), strict=True):
            with one.lock:
                self._adopt(one, claims)
        for one in led:
            with one.lock:
                if one in self._led and one.followers:
                    self._tell(one)

    def _adopt(self, led: LeadFlight, claims: Iterable[Claim]) -> None:
        for claim in claims:
            follower = _Follower(claim, StopSignal())
            left_s = claim.spec.deadline_ms / 1000 - time.time()
            self._keeper.take(claim, follower.stop, deadline=time.monotonic() + left_s)
            led.followers.append(follower)

    def _tell(self, led: LeadFlight) -> None:
        """Append what is new to every follower's log, in one round trip; let go of the stopped."""
        script = list(led.script)
        stopped = [follower for follower in led.followers if follower.stop.reason]
        led.followers = [follower for follower in led.followers if not follower.stop.reason]
        for follower in stopped:
            self._stop(script, follower)
        due = [f for f in led.followers if f.in_flight.events or f.told < len(script) or not f.told]
        batches = [(follower.claim, _next_batch(follower, script)) for follower in due]
        if not batches:
            return
        answers = self._attempts.append(batches)
        for follower, answer in zip(due, answers, strict=True):
            follower.in_flight = NO_EVENTS
            obey(answer, follower.stop)

    def _stop(self, script: list[NewEvent], follower: _Follower) -> None:
        """End one follower before its leader: its user wants that, or its time is over."""
        self._keeper.drop(follower.claim, follower.stop)
        if follower.stop.reason not in _ENDED:
            return
        status, error = _ENDED[follower.stop.reason]
        told = _text_of(script[: follower.told])
        answer = Answer(text=told, finish_reason=status.value, agents=()) if told else None
        outcome = Outcome(answer=answer, error=error, cache=CacheUse(status="coalesced"))
        outcome = outcome.with_spent(follower.claim.spent)
        self._attempts.finish(follower.claim, status, outcome, unsure=follower.in_flight)

    def _finish(self, led: LeadFlight, followers: Sequence[_Follower], ended: Ended) -> None:
        endings = []
        for follower in followers:
            rest = _merged(_opening(follower) + led.script[follower.told :])
            shared = _to_share(ended.outcome, follower.claim).with_spent(follower.claim.spent)
            endings.append(Ending(follower.claim, ended.status, shared, follower.in_flight, rest))
        if not endings:
            return
        done = patiently(lambda: self._attempts.finish_many(endings))
        for ending, is_ended in zip(endings, done, strict=True):
            if is_ended:
                self._counters.count_cache_use(ending.outcome)

    def _give_back(self, follower: _Follower, wait_s: float) -> None:
        claim = follower.claim
        patiently(
            lambda: self._attempts.defer(
                claim,
                wait_s,
                reason="leader_gone",
                spent=claim.spent,
                unsure=follower.in_flight,
            )
        )
        spec = claim.spec
        if not wait_s:
            self._queue.submit(spec.id, is_quick=spec.mode == "quick", request_id=spec.request_id)


def _next_batch(follower: _Follower, script: list[NewEvent]) -> Batch:
    """Return what is to be sent: the batch that got no answer as it was, else all that is new."""
    if not follower.in_flight.events:
        new = _opening(follower) + script[follower.told :]
        follower.batches += 1
        follower.told = len(script)
        follower.in_flight = Batch(_merged(new), follower.batches)
    return follower.in_flight


def _opening(follower: _Follower) -> list[NewEvent]:
    """Return what is told before anything else."""
    if follower.batches:
        return []
    return [NewEvent(events.CACHE_HIT, {"layer": None, "coalesced": True})]


def _merged(script: Iterable[NewEvent]) -> list[NewEvent]:
    """Join neighbouring pieces of text."""
    merged: list[NewEvent] = []
    for event in script:
        if merged and event.type == merged[-1].type == events.ANSWER_DELTA:
            text = merged[-1].data["text"] + event.data["text"]
            merged[-1] = NewEvent(event.type, event.data | {"text": text})
        else:
            merged.append(event)
    return merged


def _text_of(script: Iterable[NewEvent]) -> str:
    text = ""
    for event in script:
        if event.type == events.JOB_RETRYING:
            text = ""
        elif event.type == events.ANSWER_DELTA:
            text += event.data["text"]
    return text


def _to_share(outcome: Outcome, claim: Claim) -> Outcome:
    """Return the leader's outcome as a follower's: all of the answer, none of the cost."""
    total = max(0, int(time.time() * 1000) - claim.spec.created_ms)
    parts = dict.fromkeys(("accept", "queue", "route", "model", "synthesis", "persist"), 0)
    baseline_micros, savings = saved_by_cache(outcome.cost_micros)
    return Outcome(
        answer=outcome.answer,
        route=outcome.route,
        baseline_micros=baseline_micros,
        savings=savings,
        timing_ms={**parts, "cache": total, "first_token": None, "total": total},
        error=outcome.error,
        cache=CacheUse(status="coalesced"),
    )
