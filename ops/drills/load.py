"""The load of a drill: jobs of demo users, each submitted and followed to its end."""

from __future__ import annotations

import math
import secrets
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for_futures
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, Self

from core import events
from core.jobs import TERMINAL
from ops.client import ApiClient, ClientError
from ops.stack.readiness import wait_until
from ops.stack.state import CannotRun

#: A demo user may have 10 unfinished jobs; faults submit some more.
_JOBS_PER_USER: Final = 8
_THREADS: Final = 128
_LONGEST_PAUSE_S: Final = 5.0
_RECONNECT_S: Final = 0.3
#: From the begin of the load to when a job that has not ended counts as stuck.
_PATIENCE_S: Final = 240.0


@dataclass(slots=True, eq=False)
class Tracked:
    """One job and what its reader was given; a thread of its own fills it in.

    Attributes:
        key: its submission's Idempotency-Key; empty when it was submitted elsewhere.
        refusals: how often its submission was refused for now.
        events: what the stream brought, in that order, across reconnects and without snapshots.
        lags_s: how late each event came.
        cuts: how often the stream ended before the job.
        has_reader: it is followed, still or to its end.
        ended_s: when it ended; 0 until its reader was given the end.
    """

    user: ApiClient
    key: str = ""
    message: str = ""
    job_id: str = ""
    has_reader: bool = False
    accepted_s: float = 0.0
    refusals: int = 0
    events: list[dict[str, Any]] = field(default_factory=list)
    lags_s: list[float] = field(default_factory=list)
    cursor: int = 0
    cuts: int = 0
    has_text: bool = False
    ended_s: float = 0.0


def demo_user(api_url: str) -> ApiClient:
    """Return the client of a fresh demo user."""
    client = ApiClient(api_url)
    client.demo_login()
    return client


class Load:
    """Submits jobs and follows them on threads until `close`; times are Unix seconds.

    A submission that is refused for now is repeated under the same Idempotency-Key as Retry-After
    says; a reader whose stream breaks resumes it behind the last number that it was given.

    Args:
        fields: further fields of every submission.
        sign_in: returns the client of a fresh user.
    """

    def __init__(
        self,
        api_url: str,
        *,
        max_tokens: int,
        fields: Mapping[str, Any] | None = None,
        sign_in: Callable[[str], ApiClient] = demo_user,
    ) -> None:
        self.run = secrets.token_hex(6)
        self.users: list[ApiClient] = []
        self.jobs: list[Tracked] = []
        self.began_s = self.fault_s = time.time()
        self._api_url = api_url
        self._max_tokens = max_tokens
        self._fields = fields or {}
        self._sign_in = sign_in
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(_THREADS, "load")
        self._futures: list[Future[None]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the threads and their connections."""
        self._over.set()
        for user in self.users:
            user.close()
        self._pool.shutdown(wait=True, cancel_futures=True)

    @property
    def accepted(self) -> list[Tracked]:
        return [job for job in self.jobs if job.job_id]

    def start(self, messages: Sequence[str], *, spread_s: float = 0.0) -> list[Tracked]:
        """Begin to submit a job for each message, spread over so many seconds, and return them."""
        count = math.ceil(len(messages) / _JOBS_PER_USER)
        users = [self._sign_in(self._api_url) for _ in range(count)]
        first = len(self.jobs)
        jobs = [
            Tracked(users[number % count], f"{self.run}-{first + number}", message, has_reader=True)
            for number, message in enumerate(messages)
        ]
        self.users += users
        self.jobs += jobs
        for number, job in enumerate(jobs):
            wait_s = spread_s * number / len(jobs)
            self._futures.append(self._pool.submit(self._carry, job, wait_s))
        return jobs

    def adopt(self, job_id: str, user: ApiClient) -> Tracked:
        """Add a job that was submitted elsewhere; it gets no reader."""
        job = Tracked(user, job_id=job_id, accepted_s=time.time())
        self.jobs.append(job)
        if user not in self.users:
            self.users.append(user)
        return job

    def cancel(self, jobs: Sequence[Tracked]) -> list[int]:
        """Cancel all at once and return the answers' statuses, 0 where none came."""

        def cancel(job: Tracked) -> int:
            try:
                return job.user.cancel(job.job_id).status_code
            except ClientError:
                return 0

        with ThreadPoolExecutor(min(len(jobs), _THREADS)) as pool:
            return list(pool.map(cancel, jobs))

    def mark_fault(self) -> None:
        """Note that the fault happens now: recovery is measured from here."""
        self.fault_s = time.time()

    @property
    def recovery_s(self) -> float:
        """How long after the fault the last job ended that was under way then; 0 without one."""
        ends = [job.ended_s for job in self.jobs if job.accepted_s <= self.fault_s < job.ended_s]
        return max(ends) - self.fault_s if ends else 0.0

    def wait_until_answering(self, share: float) -> None:
        """Wait until so much of the load has begun its answer; with 0, until all is accepted."""
        if not share:
            self.wait_until(lambda: len(self.accepted) == len(self.jobs), "the jobs' acceptance")
            return
        wanted = max(1, math.floor(len(self.jobs) * share))
        self.wait_until(
            lambda: sum(job.has_text for job in self.jobs) >= wanted, f"{wanted} answers to begin"
        )

    def wait_until(self, holds: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
        """Wait for something that the load brings about.

        Raises:
            CannotRun: `what` did not come, or the API refused a job for good.
        """

        def is_done() -> bool:
            self._raise_refusals()
            return holds()

        wait_until(is_done, timeout_s, what)

    def wait_for_end(self) -> None:
        """Return once every reader was given its job's end, or 240 s after the load began."""
        left_s = self.began_s + _PATIENCE_S - time.time()
        wait_for_futures(self._futures, timeout=max(0.0, left_s))
        self._raise_refusals()

    def _raise_refusals(self) -> None:
        for future in self._futures:
            if future.done():
                future.result()

    def _carry(self, job: Tracked, wait_s: float) -> None:
        if not self._over.wait(wait_s) and self._submit(job):
            self._follow(job)

    def _submit(self, job: Tracked) -> bool:
        while not self._over.is_set():
            pause_s = _RECONNECT_S
            try:
                answer = job.user.submit(
                    job.message,
                    headers={"Idempotency-Key": job.key},
                    max_tokens=self._max_tokens,
                    metadata={"submission": job.key},
                    # Every job has to go all the way.
                    cache={"mode": "bypass"},
                    **self._fields,
                )
            except (ClientError, RuntimeError):
                self._over.wait(pause_s)
                continue
            if answer.is_success:
                job.accepted_s, job.job_id = time.time(), answer.json()["id"]
                return True
            if answer.status_code != 429 and answer.status_code < 500:
                raise CannotRun(f"The API refused a job: {answer.status_code} {answer.text[:300]}")
            job.refusals += 1
            asked_s = answer.headers.get("Retry-After", "")
            self._over.wait(min(float(asked_s or pause_s), _LONGEST_PAUSE_S))
        return False

    def _follow(self, job: Tracked) -> None:
        while True:
            # Closing the load closes the connections under its readers, a RuntimeError.
            with suppress(ClientError, RuntimeError):
                self._read(job)
            if job.ended_s or self._over.is_set():
                return
            job.cuts += 1
            self._over.wait(_RECONNECT_S)

    def _read(self, job: Tracked) -> None:
        """Read one stream until the job's end, or until there may be more to see in another."""
        for event in job.user.stream(job.job_id, after=job.cursor):
            if event is not None:
                _note(job, event)
            elif _has_ended(job):
                # A stream whose log was lost stays silent; a new one begins with a snapshot.
                return
            if job.ended_s or self._over.is_set():
                return


def _note(job: Tracked, event: dict[str, Any]) -> None:
    job.cursor = event["sequence"]
    if event["type"] == events.JOB_SNAPSHOT:
        finished_at = event["data"]["finished_at"]
        job.ended_s = to_unix_s(finished_at) if finished_at else 0.0
        return
    job.events.append(event)
    at_s = to_unix_s(event["at"])
    job.lags_s.append(max(0.0, time.time() - at_s))
    job.has_text = job.has_text or event["type"] == events.ANSWER_DELTA
    if event["type"] in events.TERMINAL_TYPES:
        job.ended_s = at_s


def _has_ended(job: Tracked) -> bool:
    found = job.user.find(job.job_id)
    return found is not None and found["status"] in TERMINAL


def to_unix_s(iso_time: str) -> float:
    return datetime.fromisoformat(iso_time).timestamp()
