"""The remover: deletes accounts with everything that is held of them.

An account is marked by its owner, an operator, or the end of a demo; see
`storage/accounts/deletions.py`. Each step may be repeated, may run twice at once, and leaves the
mark to the last.
"""

from __future__ import annotations

from typing import Final

import structlog

from core.errors import JobAlreadyFinished, JobNotFound, JobUnreadable, ServiceUnavailable
from core.timing import now_ms
from storage.accounts.deletions import Deletion, Deletions
from storage.accounts.personal_data import PersonalData
from storage.jobs.cancellation import Cancellation
from storage.jobs.epoch import Epoch
from storage.jobs.store import JobStore
from storage.jobs.user_keys import UserKeys

logger = structlog.get_logger(__name__)

#: For so long after the mark a request that began before it may still submit a job: API processes
#: use what they read of a user for 10 s.
AFTER_S: Final = 30.0
#: These bound a turn.
_ACCOUNTS_AT_ONCE: Final = 100
_CANCELLED_AT_ONCE: Final = 500
_JOBS_AT_ONCE: Final = 500
_PAGES_AT_ONCE: Final = 10


class AccountRemover:
    """Brings every marked account nearer to its end.

    Args:
        after_s: how long after the mark data is removed at the earliest.
    """

    def __init__(
        self,
        deletions: Deletions,
        data: PersonalData,
        user_keys: UserKeys,
        store: JobStore,
        cancellation: Cancellation,
        epoch: Epoch,
        *,
        after_s: float = AFTER_S,
    ) -> None:
        self._deletions = deletions
        self._data = data
        self._user_keys = user_keys
        self._store = store
        self._cancellation = cancellation
        self._epoch = epoch
        self._after_ms = after_s * 1000

    def run(self) -> None:
        """Mark demo accounts that are over, end jobs of marked accounts, remove what has ended.

        Raises:
            CoordinatorUnavailable, StoreUnavailable: what is done stays, the next turn goes on.
        """
        self._deletions.begin_expired(limit=_ACCOUNTS_AT_ONCE)
        marked = self._deletions.list(limit=_ACCOUNTS_AT_ONCE)
        # After a loss of Redis unfinished jobs come back from their records, which must be there.
        if not marked or not self._epoch.is_known():
            return
        done = [deletion.user_id for deletion in marked if self._bring_on(deletion)]
        if not done:
            return
        self._user_keys.forget_users(done)
        for user_id in done:
            self._deletions.end(user_id)
            logger.info("account deleted", user_id=user_id)

    def _bring_on(self, deletion: Deletion) -> bool:
        """Do what can be done of one account; say whether only its keys and itself are left."""
        try:
            return self._has_ended(deletion) and self._is_removed(deletion.user_id)
        except ServiceUnavailable:
            raise
        except Exception as error:  # one account that cannot be removed stops no other one
            logger.error(
                "account not removed; the next turn tries again",
                user_id=deletion.user_id,
                error=type(error).__name__,
            )
            return False

    def _has_ended(self, deletion: Deletion) -> bool:
        """Ask for the end of the account's jobs; say whether all have ended and are recorded."""
        unfinished = self._user_keys.unfinished(deletion.user_id)
        for job_id in unfinished[:_CANCELLED_AT_ONCE]:
            self._cancel(job_id)
        is_quiet = deletion.since_ms + self._after_ms <= now_ms()
        # In this order: an end that is in the stream was taken out of the unfinished at once.
        return (
            not unfinished and is_quiet and not self._user_keys.has_end_to_record(deletion.user_id)
        )

    def _cancel(self, job_id: str) -> None:
        try:
            job = self._store.get(job_id)
            if job is not None:
                self._cancellation.cancel(job)
        except JobUnreadable:
            # The version that wrote it ends it.
            self._store.request_cancel(job_id)
        except (JobAlreadyFinished, JobNotFound):
            return

    def _is_removed(self, user_id: str) -> bool:
        for _ in range(_PAGES_AT_ONCE):
            jobs = self._data.jobs(user_id, limit=_JOBS_AT_ONCE)
            if not jobs:
                return self._data.remove_rest(user_id)
            job_ids = [job.id for job in jobs]
            conversation_ids = {job.conversation_id for job in jobs if job.conversation_id}
            # The record goes last: it is what names the keys.
            self._user_keys.forget_jobs(user_id, job_ids, conversation_ids)
            self._data.remove_jobs(user_id, job_ids)
        return False
