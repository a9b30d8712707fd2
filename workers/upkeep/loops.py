"""The loops that the process of upkeep runs besides its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from redis import Redis

from core.jobs import Job
from core.loops import Loop
from core.models import Catalogue
from core.retention import Retention
from core.settings import Settings
from core.webhooks import Reachable
from monitoring.job_metrics import measure_ends
from monitoring.metrics import Metrics
from storage.accounts.cache_secrets import CacheSecrets
from storage.accounts.deletions import Deletions
from storage.accounts.personal_data import PersonalData
from storage.accounts.users import Accounts
from storage.accounts.webhook_secrets import WebhookSecrets
from storage.jobs.acceptance import Acceptance
from storage.jobs.cancellation import cancellation_of
from storage.jobs.epoch import Epoch
from storage.jobs.recovery import Recovery
from storage.jobs.store import JobStore
from storage.jobs.user_keys import UserKeys
from storage.limits.lessons import Lessons
from storage.records.bulk import BulkActions
from storage.records.conversations import Conversations
from storage.records.job_search import JobSearch
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs
from storage.records.retention import JobContent
from storage.records.stream import RecordStream
from storage.records.usage import UsageRecords
from storage.records.webhooks import WebhookRecords
from workers.queue import JobQueue
from workers.resubmission import Resubmission
from workers.upkeep.bulk import BulkRunner
from workers.upkeep.records import RecordWriter
from workers.upkeep.remover import AccountRemover
from workers.upkeep.sweeper import Sweeper
from workers.upkeep.titles import TitleMaker
from workers.upkeep.waker import Waker
from workers.webhooks.deliverer import Deliverer
from workers.webhooks.sender import Sender

#: The record writer waits so long for an ended job, and gathers others for so long after a batch.
_RECORDS_WAIT_S: Final = 1.0
_RECORDS_PAUSE_S: Final = 0.5
_WAKE_EVERY_S: Final = 1.0
_REMOVE_EVERY_S: Final = 2.0
_TITLES_EVERY_S: Final = 1.0
_BULK_EVERY_S: Final = 0.5
_RETENTION_EVERY_S: Final = 10.0
_REMOVED_AT_ONCE: Final = 500
_SUM_UP_EVERY_S: Final = 10.0
_DAYS_AT_ONCE: Final = 50
#: A turn may go through all keys of Redis.
_REMOVE_WITHIN_S: Final = 60.0


def upkeep_loops(
    settings: Settings,
    redis: Redis,
    database: Any,
    sweeper: Sweeper,
    waker: Waker,
    queue: JobQueue,
    catalogue: Catalogue,
    lessons: Lessons,
    metrics: Metrics,
) -> tuple[Loop, ...]:
    """Return the loops, none of them started."""
    titles = TitleMaker(
        *(Conversations(database), Acceptance(redis), JobRecords(database), queue, catalogue),
        *(lambda model: lessons.of_all(model.id), UserKeys(redis), JobContent(database)),
    )

    deliverer = _deliverer(settings, database, metrics)
    bulk = _bulk_runner(settings, redis, database, queue, catalogue, lessons)

    def on_written(jobs: Sequence[Job]) -> None:
        measure_ends(metrics, jobs)
        deliverer.take(jobs)
        if settings.titles_by_model and settings.llm_provider != "embedded":
            titles.take(jobs)

    return (
        Loop("sweeper", sweeper.run, every_s=settings.sweep_interval_s),
        Loop("waker", waker.run, every_s=_WAKE_EVERY_S),
        _record_writer(settings, redis, database, on_written),
        Loop("titles", titles.run, every_s=_TITLES_EVERY_S),
        Loop("webhooks", deliverer.run),
        *_retention_loops(settings, database),
        Loop("bulk", bulk.run, every_s=_BULK_EVERY_S),
        Loop(
            "usage",
            partial(UsageRecords(database).sum_up, limit=_DAYS_AT_ONCE),
            every_s=_SUM_UP_EVERY_S,
            stuck_after_s=_REMOVE_WITHIN_S,
        ),
        _account_remover(settings, redis, database),
    )


def _record_writer(
    settings: Settings, redis: Redis, database: Any, on_written: Callable[[Sequence[Job]], None]
) -> Loop:
    retention = Retention(content=settings.keep_content_days, records=settings.keep_records_days)
    stream = RecordStream(redis, JobStore(redis), kept_s=settings.ended_job_kept_s)
    writer = RecordWriter(stream, JobRecords(database, retention=retention), on_written=on_written)
    step = partial(writer.run, wait_s=_RECORDS_WAIT_S)
    return Loop("record-writer", step, every_s=_RECORDS_PAUSE_S)


def _retention_loops(settings: Settings, database: Any) -> tuple[Loop, ...]:
    """Return the loop that removes content, where any is to be removed."""
    if not settings.keep_content_days:
        return ()
    step = partial(JobContent(database).remove_due, limit=_REMOVED_AT_ONCE)
    return (Loop("retention", step, every_s=_RETENTION_EVERY_S),)


def _deliverer(settings: Settings, database: Any, metrics: Metrics) -> Deliverer:
    proxy = settings.webhook_proxy
    sender = Sender(
        Reachable(settings.webhook_allow),
        ca_file=settings.webhook_ca_file,
        proxy=None if proxy is None else proxy.get_secret_value(),
    )
    return Deliverer(
        *(WebhookRecords(database), JobRecords(database), WebhookSecrets(database)),
        *(sender, metrics),
    )


def _bulk_runner(
    settings: Settings,
    redis: Redis,
    database: Any,
    queue: JobQueue,
    catalogue: Catalogue,
    lessons: Lessons,
) -> BulkRunner:
    store, records = JobStore(redis), JobRecords(database)
    resubmission = Resubmission(
        *(settings, Accounts(database), CacheSecrets(database), Acceptance(redis)),
        LostJobs(store, Recovery(redis), records, Ledger(database)),
        *(records, catalogue, lambda model: lessons.of_all(model.id), queue.submit),
    )
    return BulkRunner(
        *(BulkActions(database), JobSearch(database, store)),
        *(cancellation_of(redis, lease_s=settings.lease_s), resubmission),
    )


def _account_remover(settings: Settings, redis: Redis, database: Any) -> Loop:
    remover = AccountRemover(
        *(Deletions(database), PersonalData(database), UserKeys(redis), JobStore(redis)),
        *(cancellation_of(redis, lease_s=settings.lease_s), Epoch(redis)),
    )
    return Loop(
        "account-remover", remover.run, every_s=_REMOVE_EVERY_S, stuck_after_s=_REMOVE_WITHIN_S
    )
