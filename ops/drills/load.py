"""The load of a drill: jobs of several demo users, submitted and followed to their end."""

from __future__ import annotations

import math
import random
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from core import events
from core.jobs import TERMINAL
from ops.client import ApiClient, ClientError
from ops.stack.state import CannotRun

#: A demo user may have 10 unfinished jobs.
_JOBS_PER_USER: Final = 8
_THREADS: Final = 100
_LONGEST_PAUSE_S: Final = 5.0
_RECONNECT_S: Final = 0.3
_POLL_S: Final = 0.05
#: From the begin of the load to when a job that has not ended counts as stuck.
PATIENCE_S: Final = 240.0


@dataclass(slots=True)
class Tracked:
    """One submission and what its reader saw; filled in by its own thread alone.

    Attributes:
        seen: the numbers of the events that the stream brought, in that order.
        lags_s: how late each of them came.
        is_followed: its end has been seen.
    """

    number: int
    user: ApiClient
    message: str
    job_id: str = ""
    accepted_s: float = 0.0
    pauses: int = 0
    seen: list[int] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    has_text: bool = False
    had_snapshot: bool = False
    is_followed: bool = False


class Load:
    """Submits jobs on threads from `start` on; times are Unix seconds."""

    def __init__(
        self, api_url: str, messages: list[str], *, max_tokens: int, spread_s: float
    ) -> None:
        self.run = secrets.token_hex(6)
        self.began_s = self.fault_s = time.time()
        self._max_tokens = max_tokens
        self._spread_s = spread_s
        self._over = threading.Event()
        count = math.ceil(len(messages) / _JOBS_PER_USER)
        self.users = [ApiClient(api_url) for _ in range(count)]
        for user in self.users:
            user.demo_login()
        self.jobs = [
            Tracked(number, self.users[number % count], message)
            for number, message in enumerate(messages)
        ]
        self._pool = ThreadPoolExecutor(min(len(messages), _THREADS), "drill")
        self._futures: list[Future[None]] = []

    @property
    def accepted(self) -> list[Tracked]:
        return [job for job in self.jobs if job.job_id]

    @property
    def open(self) -> list[Tracked]:
        """The accepted jobs whose end has not been seen yet."""
        return [job for job in self.accepted if not job.is_followed]

    def start(self) -> None:
        self._futures = [self._pool.submit(self._carry, job) for job in self.jobs]

    def mark_fault(self) -> None:
        """Say that the fault happens now: recovery counts from here."""
        self.fault_s = time.time()

    def wait_until_streaming(self, share: float = 0.5) -> None:
        """Wait until so much of the load has the first words of its answer."""
        wanted = max(1, math.floor(len(self.jobs) * share))
        self.wait_until(lambda: sum(job.has_text for job in self.jobs) >= wanted)

    def wait_until(self, holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
        """Wait for something to hold.

        Raises:
            CannotRun: it did not within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        while not holds():
            if time.monotonic() > deadline:
                raise CannotRun(f"The load did not get under way within {timeout_s:.0f} s.")
            time.sleep(_POLL_S)

    def wait_for_end(self) -> None:
        """Return when every job's end has been seen, or the drill's patience is over."""
        left_s = self.began_s + PATIENCE_S - time.time()
        wait_for_futures(self._futures, timeout=max(0.0, left_s))
        self._over.set()
        for future in wait_for_futures(self._futures, timeout=_LONGEST_PAUSE_S).done:
            future.result()

    def close(self) -> None:
        """End the threads and their connections."""
        self._over.set()
        for user in self.users:
            user.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _carry(self, job: Tracked) -> None:
        due_s = self._spread_s * job.number / len(self.jobs)
        if not self._over.wait(due_s) and self._submit(job):
            self._follow(job)

    def _submit(self, job: Tracked) -> bool:
        """Repeat until the API answers for good; a refusal for now is obeyed, not counted."""
        while not self._over.is_set():
            pause_s = _RECONNECT_S
            try:
                answer = job.user.submit(
                    job.message,
                    # A repeat is the same job.
                    headers={"Idempotency-Key": f"{self.run}-{job.number}"},
                    max_tokens=self._max_tokens,
                    metadata={"drill": self.run, "number": str(job.number)},
                    # Every job has to go all the way.
                    cache={"mode": "bypass"},
                )
            except (ClientError, RuntimeError):
                self._over.wait(pause_s)
                continue
            if answer.is_success:
                job.accepted_s, job.job_id = time.time(), answer.json()["id"]
                return True
            if answer.status_code != 429 and answer.status_code < 500:
                raise CannotRun(f"The API refused a job: {answer.status_code} {answer.text[:300]}")
            job.pauses += 1
            asked_s = answer.headers.get("Retry-After", "")
            self._over.wait(min(float(asked_s or pause_s), _LONGEST_PAUSE_S))
        return False

    def _follow(self, job: Tracked) -> None:
        while not (job.is_followed or self._over.is_set()):
            try:
                after = job.seen[-1] if job.seen else 0
                for event in job.user.stream(job.job_id, after=after):
                    self._look(job, event)
                    if job.is_followed or self._over.is_set():
                        return
                self._look(job, None)
            except (ClientError, RuntimeError):
                pass
            self._over.wait(_RECONNECT_S)

    def _look(self, job: Tracked, event: dict[str, Any] | None) -> None:
        """Note an event; without one, ask whether the job has ended unseen."""
        if event is None:
            found = job.user.find(job.job_id)
            job.is_followed = found is not None and found["status"] in TERMINAL
        elif event["type"] == events.JOB_SNAPSHOT:
            job.had_snapshot = True
        else:
            job.seen.append(event["sequence"])
            job.lags_s.append(max(0.0, time.time() - to_unix_s(event["at"])))
            job.has_text = job.has_text or event["type"] == events.ANSWER_DELTA
            job.is_followed = event["type"] in events.TERMINAL_TYPES


def to_unix_s(iso_time: str) -> float:
    return datetime.fromisoformat(iso_time).timestamp()


def scripts(
    count: int, seed: int, script: Callable[[random.Random], str], *, is_scripted: bool
) -> list[str]:
    """Return a question for each job; a stub upstream is told how to answer it."""
    chooser = random.Random(seed)  # noqa: S311 - a drill is repeatable by its seed
    run = secrets.token_hex(4)
    return [
        f"Question {number} of drill {run}: how do I build a scalable web app?"
        + (f" [[stub:{script(chooser)}]]" if is_scripted else "")
        for number in range(count)
    ]
