"""The objects that the web's routes use; `web/app.py` builds them once per process."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from flask import current_app

if TYPE_CHECKING:
    from cache.fingerprint import Fingerprints
    from cache.response_cache import ResponseCache
    from core.loops import Loop
    from core.models import Catalogue
    from core.settings import Settings
    from core.webhooks import Reachable
    from monitoring.metrics import Metrics
    from monitoring.readings import Readings
    from storage.accounts.api_keys import ApiKeys
    from storage.accounts.audit import AuditLog
    from storage.accounts.cache_secrets import CacheSecrets
    from storage.accounts.deletions import Deletions
    from storage.accounts.password_changes import PasswordChanges
    from storage.accounts.personal_data import PersonalData
    from storage.accounts.revoked_tokens import RevokedTokens
    from storage.accounts.sessions import RefreshFamilies
    from storage.accounts.usage import PlanUses
    from storage.accounts.users import Accounts
    from storage.accounts.webhook_secrets import WebhookSecrets
    from storage.events.feed import EventFeed
    from storage.events.log import EventLog
    from storage.jobs.acceptance import Acceptance
    from storage.jobs.cancellation import Cancellation
    from storage.jobs.drain import Drain
    from storage.jobs.feedback import LiveFeedback
    from storage.jobs.overview import Overview
    from storage.jobs.store import JobStore
    from storage.jobs.user_keys import UserKeys
    from storage.limits.lessons import Lessons
    from storage.limits.throttle import Throttle
    from storage.loop_reports import LoopReports
    from storage.records.bulk import BulkActions
    from storage.records.conversations import Conversations
    from storage.records.feedback import FeedbackRecords
    from storage.records.format_watch import FormatWatch
    from storage.records.job_logs import JobLogs
    from storage.records.job_search import JobSearch
    from storage.records.jobs import JobRecords
    from storage.records.lost_jobs import LostJobs
    from storage.records.usage import UsageRecords
    from storage.records.webhooks import WebhookRecords
    from web.accounts.passwords import Passwords
    from web.accounts.tokens import Tokens
    from web.admission import CoordinatorMemory, OpenRequests
    from workers.queue import JobQueue

EXTENSION: Final = "aether"
#: The exit status by which gunicorn knows that its application cannot run, and tries no further.
APP_LOAD_ERROR: Final = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class WebServices:
    """The objects of one API process; its requests share them.

    Attributes:
        dependencies: by a server's name, a check that says within a second whether it answers.
        loops: the threads that requests depend on.
        format_watch: gunicorn starts it once per process.
        drain: ends open streams and waiting requests; gunicorn calls it when it is told to stop.
        close: closes every connection; gunicorn calls it when the process ends.
    """

    settings: Settings
    catalogue: Catalogue
    cache: ResponseCache
    metrics: Metrics
    readings: Readings
    overview: Overview
    fingerprints: Fingerprints
    job_store: JobStore
    acceptance: Acceptance
    lost_jobs: LostJobs
    lessons: Lessons
    throttle: Throttle
    job_records: JobRecords
    job_logs: JobLogs
    job_search: JobSearch
    bulk_actions: BulkActions
    feedback: FeedbackRecords
    conversations: Conversations
    usage: UsageRecords
    live_feedback: LiveFeedback
    event_log: EventLog
    feed: EventFeed
    cancellation: Cancellation
    queue: JobQueue
    accounts: Accounts
    api_keys: ApiKeys
    cache_secrets: CacheSecrets
    audit: AuditLog
    password_changes: PasswordChanges
    deletions: Deletions
    personal_data: PersonalData
    user_keys: UserKeys
    webhook_secrets: WebhookSecrets
    deliveries: WebhookRecords
    reachable: Reachable
    plan_uses: PlanUses
    refresh_families: RefreshFamilies
    revoked_tokens: RevokedTokens
    passwords: Passwords
    tokens: Tokens
    dependencies: Mapping[str, Callable[[], bool]]
    open_requests: OpenRequests
    memory: CoordinatorMemory
    loops: Sequence[Loop]
    loop_reports: LoopReports
    format_watch: FormatWatch
    drain_mark: Drain
    drain: Callable[[], None]
    close: Callable[[], None]


def current_services() -> WebServices:
    """Return the services of the application that handles this request."""
    services: WebServices = current_app.extensions[EXTENSION]
    return services
