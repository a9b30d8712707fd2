"""How a thread of a worker comes to its next unit of work: a job, or a slot of a team's job."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import structlog

from core.errors import ServiceUnavailable, SlotUnavailable
from storage.jobs.claims import Claim
from storage.jobs.lines import Lines, NobodyNext, Waiter
from storage.jobs.teams import SlotClaim
from workers.run_job import JobRunner
from workers.team.finish import RoundEnds
from workers.team.turn import AgentTurns

logger = structlog.get_logger(__name__)

#: A thread goes back to Celery after this, so that its message is acknowledged in time, in seconds.
_LONGEST_S: Final = 30.0
#: How long a thread without work waits for the bell before it goes back to Celery, in seconds.
_WAIT_S: Final = 1.0
#: How many threads of a process wait so: each holds a connection to Redis meanwhile.
_MOST_WAITING: Final = 32
_KEPT_SHARE, _LEAST_KEPT = 0.1, 2


class Intake:
    """Serves one unit after another in the thread that Celery's message woke.

    Args:
        serve: does the work that was claimed; raises nothing that it expects.
        name: of the process, of all workers.
        threads: of the process; a tenth of them, two at least, are kept for quick jobs and for
            users for whom nothing runs, though never more than half.
    """

    def __init__(
        self,
        lines: Lines,
        serve: Callable[[Claim | SlotClaim], None],
        *,
        name: str,
        threads: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._lines = lines
        self._serve = serve
        self._name = name
        self._threads = threads
        self._kept = min(max(_LEAST_KEPT, int(threads * _KEPT_SHARE)), threads // 2)
        self._clock = clock
        self._lock = threading.Lock()
        self._serving = self._waiting = 0
        self._is_over = False

    def stop(self) -> None:
        """Begin nothing more: the process is about to end."""
        self._is_over = True

    def run(self) -> None:
        """Serve whatever is next until nothing is, or the thread has to go back to Celery.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        leave_at = self._clock() + _LONGEST_S
        may_wait, has_waited = True, False
        # Whoever the bell may have woken asks in any case, or the unit would wait for another.
        while not self._is_over and (has_waited or self._clock() < leave_at):
            with self._place_to_wait(may_wait) as wait_s:
                found = self._claim_next(wait_s, has_waited=has_waited)
                has_waited = isinstance(found, NobodyNext) and wait_s > 0
                if isinstance(found, NobodyNext) and has_waited:
                    is_rung = self._lines.wait_for_bell(min(wait_s, found.opens_in_s or wait_s))
                    # Another thread may be faster at what the bell rang for: where there is work,
                    # there will be more. A model that opens soon is worth another wait, too.
                    may_wait = is_rung or found.opens_in_s is not None
                    continue
            if isinstance(found, NobodyNext):
                return
            try:
                self._serve(found)
            finally:
                self._count(-1)
            may_wait = True

    def _claim_next(self, wait_s: float, *, has_waited: bool) -> Claim | SlotClaim | NobodyNext:
        """Claim a unit; the thread counts as serving from here on, unless there is nothing."""
        # Threads that ask at the same time leave the kept ones free together.
        is_kept = self._threads - self._count(1) < self._kept
        found: Claim | SlotClaim | NobodyNext = NobodyNext()
        name = f"{self._name}/{threading.get_ident()}"
        try:
            found = self._lines.claim_next(
                Waiter(name=name, wait_s=wait_s, has_waited=has_waited, is_kept=is_kept)
            )
        finally:
            if isinstance(found, NobodyNext):
                self._count(-1)
        return found

    def _count(self, change: int) -> int:
        """Change how many threads serve, and return how many do."""
        with self._lock:
            self._serving += change
            return self._serving

    @contextmanager
    def _place_to_wait(self, may_wait: bool) -> Iterator[float]:
        """Yield how long the thread may wait if there is nothing; not at all with too many."""
        with self._lock:
            may_wait = may_wait and self._waiting < _MOST_WAITING
            self._waiting += may_wait
        try:
            yield _WAIT_S if may_wait else 0.0
        finally:
            with self._lock:
                self._waiting -= may_wait


def serve(found: Claim | SlotClaim, jobs: JobRunner, turns: AgentTurns, ends: RoundEnds) -> None:
    """Do the work that was claimed; what cannot be done now is left to another attempt."""
    claim = found.claim if isinstance(found, SlotClaim) else found
    spec = claim.spec
    names = {"job_id": spec.id, "request_id": spec.request_id, "slot": claim.slot or None}
    with structlog.contextvars.bound_contextvars(**names):
        try:
            if isinstance(found, Claim):
                jobs.run(found)
            elif found.slot.is_end:
                ends.run(found)
            else:
                turns.run(found)
        except (SlotUnavailable, ServiceUnavailable) as error:
            # Its lease runs out, and it is in line again.
            cause = repr(error.__cause__)
            logger.warning("work left to another attempt", code=error.code, cause=cause)
