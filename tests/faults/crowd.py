"""The load of drills for tests: jobs are named by their ids, users are the tests' clients."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ops.drills.load import Load, Tracked
from tests.api_client import TERMINAL, ApiClient
from tests.services import wait_until

_THREADS = 16


class Crowd:
    """Fresh demo users for every eight jobs; `job_ids` are all jobs that were accepted."""

    def __init__(self, url: str) -> None:
        self.load = Load(url, max_tokens=1024, sign_in=ApiClient)

    @property
    def job_ids(self) -> list[str]:
        return [job.job_id for job in self.load.accepted]

    def submit(self, count: int, script: str = "tokens=10") -> list[str]:
        """Submit jobs at once and return their ids when all are accepted; each gets a reader."""
        first = len(self.load.jobs)
        jobs = self.load.start(
            [f"Question {first + n} of {self.load.run} [[stub:{script}]]" for n in range(count)]
        )
        self.load.wait_until(lambda: all(job.job_id for job in jobs), "the jobs' acceptance")
        return [job.job_id for job in jobs]

    def adopt(self, job_id: str, user: ApiClient) -> str:
        """Count in a job that a test submitted itself, without a reader; returns its id."""
        self.load.adopt(job_id, user)
        return job_id

    def owner(self, job_id: str) -> ApiClient:
        (job,) = self._tracked([job_id])
        assert isinstance(job.user, ApiClient)
        return job.user

    def cancel(self, job_ids: Sequence[str]) -> list[int]:
        """Cancel all at once and return each answer's status."""
        return self.load.cancel(self._tracked(job_ids))

    def jobs(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the jobs as their owners see them."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda job: job.user.job(job.job_id), self._tracked(job_ids)))

    def are_over(self, job_ids: Sequence[str]) -> bool:
        return all(job["status"] in TERMINAL for job in self.jobs(job_ids))

    def answering(self, job_ids: Sequence[str]) -> int:
        """Return how many of the readers have had the first text of an answer."""
        return sum(job.has_text for job in self._tracked(job_ids))

    def streams(self, job_ids: Sequence[str]) -> dict[str, list[dict[str, Any]]]:
        """Wait until each reader was given its job's end, and return all of its events."""
        jobs = self._tracked(job_ids)
        wait_until(lambda: all(job.ended_s for job in jobs), 60, "the readers' last events")
        return {job.job_id: job.events for job in jobs}

    def cuts(self, job_ids: Sequence[str]) -> int:
        """Return how often a reader was cut off before its job's end."""
        return sum(job.cuts for job in self._tracked(job_ids))

    def _tracked(self, job_ids: Sequence[str]) -> list[Tracked]:
        known = {job.job_id: job for job in self.load.jobs}
        return [known[job_id] for job_id in job_ids]
