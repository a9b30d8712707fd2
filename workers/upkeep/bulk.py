"""Carrying out acts on many jobs, a page after the other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Final, Literal

from msgspec.structs import replace

from core.bulk import EXPIRES_AFTER_MS, BulkAction
from core.errors import AetherError, JobAlreadyFinished, JobNotFound, ServiceUnavailable
from core.jobs import Job
from core.limit_errors import LimitExceeded
from core.timing import now_ms
from storage.jobs.cancellation import Cancellation
from storage.records.bulk import BulkActions
from storage.records.job_search import JobSearch
from workers.resubmission import Resubmission

_JOBS_AT_ONCE: Final = 1_000
_THREADS: Final = 16
#: Who dies at it leaves it to others after so long.
_TAKEN_FOR_MS: Final = 30_000
#: How long one action has the loop before the next one's turn.
_TURN_S: Final = 6.0
#: How long it waits for a limit to leave room.
_LIMITED_FOR_MS: Final = 2_000


class BulkRunner:
    """Carries out what users have begun; `run` is a loop's step.

    A page that was interrupted is done again: what is cancelled stays so, and a job is asked again
    once for each action.
    """

    def __init__(
        self,
        actions: BulkActions,
        search: JobSearch,
        cancellation: Cancellation,
        resubmission: Resubmission,
    ) -> None:
        self._actions = actions
        self._search = search
        self._cancellation = cancellation
        self._resubmission = resubmission
        self._pool = ThreadPoolExecutor(_THREADS, "bulk")

    def run(self) -> None:
        """Go on with the action that has waited longest, for a moment.

        Raises:
            StoreUnavailable, CoordinatorUnavailable: the next turn goes on.
        """
        action = self._actions.claim(now_ms(), now_ms() + _TAKEN_FOR_MS)
        until = time.monotonic() + _TURN_S
        while action is not None and action.status == "running":
            action = self._page(action)
            if action.status != "running":
                self._actions.end(action)
            elif action.waits_for is not None:
                self._actions.note(action, now_ms() + _LIMITED_FOR_MS)
                return
            elif time.monotonic() >= until:
                self._actions.note(action, now_ms())
                return
            else:
                self._actions.note(action, now_ms() + _TAKEN_FOR_MS)

    def _page(self, action: BulkAction) -> BulkAction:
        """Do the next jobs and return the action as it stands then."""
        if now_ms() > action.created_ms + EXPIRES_AFTER_MS:
            return replace(action, status="expired", finished_ms=now_ms())
        wanted = replace(
            action.filter, to_ms=min(action.filter.to_ms or action.created_ms, action.created_ms)
        )
        page = self._search.page(action.user_id, wanted, limit=_JOBS_AT_ONCE, before=action.after)
        action = replace(action, waits_for=None)
        if action.kind == "cancel":
            action = self._cancel(action, page.jobs)
        else:
            action = self._retry(action, page.jobs)
        if action.waits_for is not None:
            return action
        if page.next_key is None:
            return replace(action, status="completed", finished_ms=now_ms())
        return replace(action, after=page.next_key)

    def _cancel(self, action: BulkAction, jobs: list[Job]) -> BulkAction:
        done = sum(self._pool.map(self._is_cancelled, jobs))
        return replace(action, done=action.done + done, skipped=action.skipped + len(jobs) - done)

    def _is_cancelled(self, job: Job) -> bool:
        try:
            self._cancellation.cancel(job)
        except (JobAlreadyFinished, JobNotFound):
            return False
        return True

    def _retry(self, action: BulkAction, jobs: list[Job]) -> BulkAction:
        for some in batched(jobs, _THREADS):
            results = list(self._pool.map(partial(self._asked_again, action), some))
            for job, result in zip(some, results, strict=True):
                if isinstance(result, LimitExceeded):
                    # Those behind it that were done are done again, which makes no further job.
                    return replace(action, waits_for=result.code)
                action = replace(_with(action, result), after=(job.spec.created_ms, job.id))
        return action

    def _asked_again(self, action: BulkAction, job: Job) -> AetherError | Literal["skipped"] | None:
        """Submit a job again; return why that is not possible, if it is not.

        Raises:
            ServiceUnavailable: Redis or MongoDB is away.
        """
        if job.spec.title_of is not None:
            return "skipped"
        try:
            self._resubmission.again(job, f"{action.id}-{job.id}", retry_of=job.id)
        except ServiceUnavailable:
            raise
        except AetherError as error:
            return error
        return None


def batched(jobs: list[Job], size: int) -> Iterator[list[Job]]:
    """Yield the jobs, so many at a time."""
    for start in range(0, len(jobs), size):
        yield jobs[start : start + size]


def _with(action: BulkAction, result: AetherError | Literal["skipped"] | None) -> BulkAction:
    """Count what came of one job."""
    if result is None:
        return replace(action, done=action.done + 1)
    if result == "skipped":
        return replace(action, skipped=action.skipped + 1)
    return replace(action, refused=_counted(action.refused, result.code))


def _counted(refused: dict[str, int], code: str) -> dict[str, int]:
    return refused | {code: refused.get(code, 0) + 1}
