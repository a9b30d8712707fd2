"""Bringing back every unfinished job that Redis lost, from its record."""

from __future__ import annotations

from typing import Final

import structlog

from storage.jobs.epoch import Epoch
from storage.records.jobs import JobRecords
from storage.records.lost_jobs import LostJobs

logger = structlog.get_logger(__name__)

_AT_ONCE: Final = 500


class Restoration:
    """Compares all unfinished records with Redis after Redis was restarted, replaced or wiped."""

    def __init__(self, epoch: Epoch, lost_jobs: LostJobs, records: JobRecords) -> None:
        self._epoch = epoch
        self._lost_jobs = lost_jobs
        self._records = records

    def run(self) -> None:
        """Bring back what is missing: interactive work first, and of each class the newest.

        Raises:
            CoordinatorUnavailable, StoreUnavailable: what is back stays, the next call goes on.
        """
        if self._epoch.is_known():
            return
        run = self._epoch.current()
        counts = [self._restore_class(is_batch=is_batch) for is_batch in (False, True)]
        self._epoch.confirm(run)
        if any(counts):
            logger.warning("jobs restored from their records", count=sum(counts))

    def _restore_class(self, *, is_batch: bool) -> int:
        before: tuple[int, str] | None = None
        count = 0
        while found := self._records.unfinished(is_batch=is_batch, before=before, limit=_AT_ONCE):
            last, _ = found[-1]
            before = (last.created_ms, last.id)
            count += self._lost_jobs.bring_back(found)
        return count
