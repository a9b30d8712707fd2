"""One claim of a job, or of a slot of a team's job, by this process: from the claim to its end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from agents.reply import Listener, Reply
from agents.spending import Funding, Spending
from cache.entry import Hit
from core import events
from core.chat import Message
from core.errors import CoordinatorUnavailable, SlotUnavailable
from core.events import NewEvent
from core.jobs import JobSpec, JobStatus, Question
from core.models import Catalogue, Model, Tier
from core.money import with_savings
from core.outcome import CUT_BY_TOKENS, JobError, Outcome, Route, Spent
from core.stop import StopReason, StopSignal
from core.timing import TimeAccount, now_ms
from storage.jobs.attempts import Attempts
from storage.jobs.claims import Batch, Claim
from storage.limits.lessons import Lessons
from workers.event_writer import EventWriter
from workers.history import Histories, HistoryNotReady
from workers.leases import LeaseKeeper
from workers.patience import retry_while_redis_is_away
from workers.task_events import TaskEvents

logger = structlog.get_logger(__name__)

#: A client gets no more of a bug than this; the log has the rest.
INTERNAL_ERROR: Final = JobError("internal_error", "Something went wrong inside the server.")

#: How long a job waits until it looks again for the message that it goes on with.
_HISTORY_WAIT_S: Final = 1.0


class JobAttempt:
    """One attempt: its lease and deadline, its events, and the ways it can end.

    Attributes:
        stop: set when the attempt has to end early: cancelled, late, or lost to another attempt.
        deadline: `time.monotonic()` value at which `stop` is set.
        time: the account of where the job's time goes.
        spending: what its turn may cost.
    """

    def __init__(
        self,
        claim: Claim,
        store: Attempts,
        keeper: LeaseKeeper,
        writer: EventWriter,
        catalogue: Catalogue,
        task_events: TaskEvents,
        *,
        time_account: TimeAccount,
        lessons: Lessons,
        histories: Histories,
    ) -> None:
        self.claim = claim
        self.stop = StopSignal()
        self.deadline = time.monotonic() + (claim.deadline_ms - now_ms()) / 1000
        self.time = time_account
        self._store = store
        self._keeper = keeper
        self._catalogue = catalogue
        self._task_events = task_events
        self._began = time.monotonic()
        self._lessons = lessons
        self._histories = histories
        self.spending = self._open_account()
        self._events = writer.open(claim, self.stop, self.spending)

    @property
    def spec(self) -> JobSpec:
        return self.claim.spec

    @property
    def question(self) -> Question:
        return self.claim.question

    @property
    def number(self) -> int:
        return self.claim.attempt

    @property
    def is_lost(self) -> bool:
        """Another attempt has the job: nothing that this one writes counts any more."""
        return self.stop.reason is StopReason.LOST

    @contextmanager
    def running(self, *, on_bug: Callable[[JobError], None]) -> Iterator[None]:
        """Keep the lease while the block runs: the outermost shell of a job's work.

        An unexpected error ends in `on_bug`, so that a bug ends the job instead of taking three
        workers down with it. What others will do again (Redis away, slot taken) passes through,
        and what cannot begin yet comes back.
        """
        with self._keeper.hold(self.claim, self.stop, deadline=self.deadline):
            self._task_events.began(self.claim)
            try:
                yield
            except (CoordinatorUnavailable, SlotUnavailable):
                raise
            except HistoryNotReady as why:
                self._wait_for_history(why)
            except Exception:
                logger.exception("attempt failed by a bug; it ends with internal_error")
                on_bug(INTERNAL_ERROR)

    @contextmanager
    def renewing(self, also: Callable[[], None]) -> Iterator[None]:
        """Call `also` whenever the lease is renewed while the block runs."""
        with self._keeper.renewing(self.claim, also):
            yield

    def history(self) -> list[Message]:
        """Return the branch of the conversation so far, oldest first.

        Raises:
            HistoryNotReady: an earlier message has not ended, or cannot be read; `running` gives
                the attempt back.
            CoordinatorUnavailable: Redis is away.
        """
        return self._histories.of(self.spec)

    def _wait_for_history(self, why: HistoryNotReady) -> None:
        logger.info("conversation cannot go on yet; the job comes back", why=str(why))
        retry_while_redis_is_away(
            lambda: self._store.wait_for_parent(self.claim, _HISTORY_WAIT_S), until=self.deadline
        )
        self.report_given_back("conversation_busy")

    def _open_account(self) -> Spending:
        return Spending(
            self._catalogue,
            user_id=self.spec.user_id,
            held=self.claim.granted_micros,
            paid=self.claim.paid_micros,
            most=self.spec.route.max_cost_micros,
            extend=self._extend,
            lesson_of=self._lessons.of_all,
            # A title says nothing of how long answers are.
            learn=self._lessons.add if self.spec.title_of is None else lambda _: None,
        )

    def _extend(self, wanted_micros: int) -> Funding:
        """Ask that so much in all is held for the turn.

        An attempt that was lost is told so by its next write, and its end does not count.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        answer = self._store.extend(self.claim, wanted_micros)
        return Funding.GONE if answer == "lost" else Funding(answer)

    def emit(self, event: NewEvent) -> None:
        """Have an event appended to the job's log, in order and under the fence."""
        self._events.emit(event)

    def hold(self, event: NewEvent) -> None:
        """Have an event appended in front of the next one that is emitted."""
        self._events.hold(event)

    def answer_listener(self, agent: str, *, part: str | None = None, round_: int = 1) -> Listener:
        """Return a listener that publishes an agent's text as the job's answer.

        Args:
            part: who restarts alone when its text is void; None where that is the whole job.
        """
        return self._listener(lambda text: events.answer_delta(agent, text), agent, part, round_)

    def reply_listener(self, agent: str, round_: int) -> Listener:
        """Return a listener that publishes the text of one agent of a team."""
        return self._listener(
            lambda text: events.agent_delta(agent, text, round_number=round_), agent, agent, round_
        )

    def _listener(
        self, delta: Callable[[str], NewEvent], agent: str, part: str | None, round_: int
    ) -> Listener:
        def on_restart(reason: str) -> None:
            self.emit(
                events.job_retrying(
                    reason, self.number, agent=part, round_number=round_ if part else None
                )
            )

        def on_route(tier: Tier, model: Model, reason: str, replaced: str) -> None:
            self.emit(
                events.route_selected(
                    agent,
                    Route(tier=tier, model=model.id, reason=reason),
                    round_number=round_,
                    fallback_from=replaced,
                )
            )

        return Listener(lambda text: self.emit(delta(text)), on_restart, on_route)

    def finish(self, status: JobStatus, outcome: Outcome) -> None:
        """End the job: pending events, outcome, settlement and terminal event, in one script.

        Waits while Redis is away. An end that comes after another attempt's changes nothing.

        Args:
            outcome: with the usage and cost of this attempt's own calls; the script adds the rest.

        Raises:
            CoordinatorUnavailable: Redis stayed away until the deadline and for a minute at least;
                the sweeper has the job redone.
        """
        unsure, unsent = self.drain()
        priced = with_savings(outcome, self._catalogue)
        is_ended = retry_while_redis_is_away(
            lambda: self._store.finish(
                self.claim, status, priced, unsure=unsure, last_events=unsent
            ),
            until=self.deadline,
        )
        if is_ended:
            self.report_end(outcome.error)
            logger.info("job ended", status=status.value, **outcome.timing_ms)
        else:
            logger.warning("another attempt has the job; this end does not count")

    def report_end(self, error: JobError | None) -> None:
        """Say to those who watch tasks that this attempt did its work, or what kept it from it."""
        if error is None or error.code == CUT_BY_TOKENS:
            self._task_events.succeeded(self.claim, time.monotonic() - self._began)
        else:
            self._task_events.failed(self.claim, error.code)

    def report_given_back(self, why: str) -> None:
        """Say to those who watch tasks that another attempt follows."""
        self._task_events.came_back(self.claim, why)

    def finish_with_hit(self, hit: Hit, *, coalesced: bool = False) -> None:
        """End the job with a kept answer.

        Args:
            coalesced: the job had waited for the one whose answer this is.
        """
        for event in hit.to_events(coalesced=coalesced):
            self.emit(event)
        outcome = hit.to_outcome(self.time.close(), coalesced=coalesced)
        self.finish(JobStatus.COMPLETED, outcome)

    def fail(self, error: JobError) -> None:
        """End the job as failed."""
        self.finish(JobStatus.FAILED, Outcome(error=error))

    def come_back(self, reply: Reply) -> float | None:
        """Give the job back where the reply asks for another try, with what the reply used.

        Returns:
            after how many seconds it comes back at the earliest; None where the reply is final.
        """
        wait_s = reply.retry_in_s
        if wait_s is None:
            return None
        report, model = reply.report, reply.awaited_model
        reason = report.error.code if report.error else ""
        logger.info("job given back", wait_s=wait_s, reason=reason, awaited_model=model)
        unsure, unsent = self.drain()
        used = Spent(report.usage, report.cost_micros)

        def give_back() -> bool:
            if model is None:
                return self._store.defer(
                    self.claim, wait_s, reason=reason, used=used, unsure=unsure, last_events=unsent
                )
            return self._store.put_back(
                self.claim,
                model,
                wait_s,
                is_unbegun=not self._events.was_sent and used == Spent(),
                used=used,
                unsure=unsure,
                last_events=unsent,
            )

        retry_while_redis_is_away(give_back, until=self.deadline)
        self.report_given_back(reason)
        return wait_s

    def drain(self) -> tuple[Batch, list[NewEvent]]:
        """Return the events that are not surely in the log; see `JobEvents.drain`."""
        return self._events.drain()
