"""Users who together submit more jobs than one may have, and look after all of them."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from tests.api_client import TERMINAL, ApiClient
from tests.services import wait_until

_JOBS_PER_USER = 10
_THREADS = 16


class Crowd:
    """Fresh demo users for every ten jobs; `job_ids` are all jobs that were accepted."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._owners: dict[str, ApiClient] = {}
        self._run = uuid.uuid4().hex[:8]
        self._numbers = itertools.count(1)

    @property
    def job_ids(self) -> list[str]:
        return list(self._owners)

    def close(self) -> None:
        for user in set(self._owners.values()):
            user.close()

    def submit(self, count: int, script: str = "tokens=10") -> list[str]:
        """Have jobs accepted at once, each with an own question; returns their ids."""
        users = [ApiClient(self._url) for _ in range(-(-count // _JOBS_PER_USER))]
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(
                pool.map(lambda n: self._submit(users[n // _JOBS_PER_USER], script), range(count))
            )

    def cancel(self, job_ids: Sequence[str]) -> list[int]:
        """Cancel all at once and return each answer's status."""
        with ThreadPoolExecutor(len(job_ids)) as pool:
            return [
                answer.status_code
                for answer in pool.map(lambda job_id: self.owner(job_id).cancel(job_id), job_ids)
            ]

    def adopt(self, job_id: str, user: ApiClient) -> str:
        """Look after a job that one of the users submitted otherwise; returns its id."""
        self._owners[job_id] = user
        return job_id

    def owner(self, job_id: str) -> ApiClient:
        return self._owners[job_id]

    def jobs(self, job_ids: Sequence[str]) -> list[dict[str, Any]]:
        """Return the jobs as their owners see them."""
        with ThreadPoolExecutor(_THREADS) as pool:
            return list(pool.map(lambda job_id: self.owner(job_id).job(job_id), job_ids))

    def are_over(self, job_ids: Sequence[str]) -> bool:
        return all(job["status"] in TERMINAL for job in self.jobs(job_ids))

    def _submit(self, user: ApiClient, script: str) -> str:
        question = f"Question {next(self._numbers)} of {self._run} [[stub:{script}]]"
        answers = [user.submit(question)]

        def is_answered() -> bool:
            # As a client would: a 503 promises nothing, and says that another try may help.
            if answers[-1].status_code == 503:
                answers.append(user.submit(question))
            return answers[-1].status_code != 503

        wait_until(is_answered, 15, "the API to take a job in")
        answer = answers[-1]
        assert answer.status_code == 202, answer.text
        job_id: str = answer.json()["id"]
        self._owners[job_id] = user
        return job_id
