"""Every query of the product that does not choose by `_id`, run through the product's own classes.

A new query is one line in `QUERIES`. `tests/integration/storage/test_queries.py` explains each and
fails where the storage asks something that is not here; `python -m bench database` measures each
with its index and without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from core.errors import AetherError
from core.job_filter import JobFilter
from core.jobs import Job, JobStatus
from core.models import Model, read_catalogue
from core.timing import now_ms
from storage.accounts.api_keys import ApiKeys
from storage.accounts.audit import AuditLog
from storage.accounts.deletions import Deletions
from storage.accounts.password_changes import PasswordChanges
from storage.accounts.personal_data import PersonalData
from storage.accounts.sessions import RefreshFamilies
from storage.accounts.users import Accounts
from storage.jobs.store import JobStore
from storage.records.alerts import Alerts
from storage.records.answers import CheaperAnswers
from storage.records.bulk import BulkActions
from storage.records.comparisons import Comparisons
from storage.records.conversations import Conversations
from storage.records.job_search import JobSearch
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger, month_of
from storage.records.retention import JobContent
from storage.records.set_aside import SetAsideRecords
from storage.records.usage import UsageRecords
from storage.records.webhooks import WebhookRecords

if TYPE_CHECKING:
    from pymongo.database import Database

    Records = Database[dict[str, Any]]


#: Every user has one of this name.
CONVERSATION: Final = "talk"


@dataclass(frozen=True, slots=True)
class Sample:
    """What the queries ask for: a user with jobs, and a moment within the data."""

    user_id: str
    key_id: str
    email: str
    reset_token: str
    job_ids: tuple[str, ...]
    at_ms: int

    @property
    def days(self) -> tuple[date, date]:
        """Some days within the data, and today."""
        today = datetime.now(UTC).date()
        return today - timedelta(days=6), today

    @property
    def before(self) -> tuple[int, str]:
        return self.at_ms, self.job_ids[0]


@dataclass(frozen=True, slots=True)
class Query:
    """One question to the database.

    Attributes:
        index: the one that has to serve it; empty where all documents are asked for, by `_id`.
        reads_more: it may examine more than it returns, because a filter beside the index does the
            rest.
        is_scanned_embedded: the embedded server's planner takes no index for it; MongoDB's does.
    """

    name: str
    collection: str
    index: str
    run: Callable[[Records, Sample], object]
    reads_more: bool = False
    is_scanned_embedded: bool = False


def _deep() -> Model:
    return read_catalogue("groq").for_tier("deep")


def _sessions(database: Records) -> RefreshFamilies:
    return RefreshFamilies(database, life_s=3600)


def _found_reset(database: Records, sample: Sample) -> object:
    try:
        return PasswordChanges(database, Accounts(database)).find_reset(sample.reset_token)
    except AetherError:
        return None


def _page(database: Records, sample: Sample, wanted: JobFilter) -> object:
    return JobSearch(database, _NothingLive()).page(sample.user_id, wanted, limit=20)


class _NothingLive(JobStore):
    """A store without a Redis, in which no job is."""

    def __init__(self) -> None:
        """Connect to nothing."""

    def get_many(self, job_ids: Iterable[str]) -> list[Job | None]:
        return [None for _ in job_ids]


QUERIES: Final = (
    Query(
        *("jobs of a user", "jobs", "list"),
        lambda db, s: JobRecords(db).list_of_user(s.user_id, limit=20),
    ),
    Query(
        *("jobs of a user, behind a cursor", "jobs", "list"),
        lambda db, s: JobRecords(db).list_of_user(s.user_id, limit=20, before=s.before),
    ),
    Query(
        *("a page of jobs", "jobs", "list"),
        lambda db, s: _page(db, s, JobFilter(from_ms=s.at_ms)),
    ),
    Query(
        *("a page of jobs by status", "jobs", "list_by_status"),
        lambda db, s: _page(db, s, JobFilter(status=JobStatus.FAILED, from_ms=s.at_ms)),
    ),
    Query(
        *("a page of jobs by metadata", "jobs", "tags"),
        lambda db, s: _page(db, s, JobFilter(metadata=(("ticket", "7"),), from_ms=s.at_ms)),
    ),
    Query(
        *("a page of jobs by a word", "jobs", "list"),
        lambda db, s: _page(db, s, JobFilter(words=("rare",), from_ms=s.at_ms)),
        reads_more=True,
    ),
    Query(
        *("unfinished ids of a user", "jobs", "list_by_status"),
        lambda db, s: JobRecords(db).unfinished_ids_of(s.user_id),
    ),
    Query(
        *("unfinished jobs of a user", "jobs", ""),
        lambda db, s: JobRecords(db).unfinished_of(s.user_id, s.job_ids),
    ),
    Query(
        *("unfinished jobs of all", "jobs", "unfinished_newest_first"),
        lambda db, s: JobRecords(db).unfinished(is_batch=False, before=None, limit=500),
        reads_more=True,
        is_scanned_embedded=True,
    ),
    Query(
        *("dead letters", "jobs", "dead_letters"),
        lambda db, s: JobRecords(db).dead_letters(limit=50),
        reads_more=True,
        is_scanned_embedded=True,
    ),
    Query(
        *("cheaper answers to compare", "jobs", "unfinished_newest_first"),
        lambda db, s: CheaperAnswers(db).ids(_deep(), since_ms=s.at_ms),
        reads_more=True,
        is_scanned_embedded=True,
    ),
    Query(
        *("messages of a conversation, the latest first", "jobs", "messages"),
        lambda db, s: Conversations(db).messages_before(s.user_id, CONVERSATION, limit=20),
    ),
    Query(
        *("messages of a conversation, behind a cursor", "jobs", "messages"),
        lambda db, s: Conversations(db).messages_after(
            s.user_id, CONVERSATION, limit=20, after=s.before
        ),
    ),
    Query(
        *("conversations of a user", "conversations", "list"),
        lambda db, s: Conversations(db).latest(s.user_id, limit=20),
    ),
    Query(
        *("conversations of a user, behind a cursor", "conversations", "list"),
        lambda db, s: Conversations(db).latest(s.user_id, limit=20, before=s.before),
    ),
    Query(
        *("conversations with words", "conversations", "words"),
        lambda db, s: Conversations(db).search(s.user_id, "plan week", limit=20),
        reads_more=True,
        is_scanned_embedded=True,
    ),
    Query(
        *("a user's days", "usage_daily", "user"),
        lambda db, s: UsageRecords(db).of_user(s.user_id, *s.days),
    ),
    Query(
        *("a user's jobs of a day", "jobs", "list"),
        lambda db, s: UsageRecords(db).of_user(s.user_id, *s.days),
    ),
    Query(
        *("days of all users", "usage_daily", "day"),
        lambda db, s: UsageRecords(db).of_all_users(s.days[0]),
    ),
    Query(
        *("jobs of all users of today", "jobs", "unfinished_newest_first"),
        lambda db, s: UsageRecords(db).of_all_live(s.days[1]),
    ),
    Query(
        *("top spenders", "ledger", "day"),
        lambda db, s: UsageRecords(db).top_spenders(*s.days, limit=20),
    ),
    Query(
        *("days to sum up", "usage_daily", "stale"),
        lambda db, s: UsageRecords(db).sum_up(limit=1),
    ),
    Query(
        *("recorded jobs of a user", "jobs", "list"),
        lambda db, s: PersonalData(db).jobs(s.user_id, limit=1_000),
    ),
    Query(
        *("what a user has paid", "ledger", "month_of_user"),
        lambda db, s: Ledger(db).paid_by("user", s.user_id, None, s.at_ms),
    ),
    Query(
        *("what a key has paid", "ledger", "month_of_user"),
        lambda db, s: Ledger(db).paid_by("key", s.user_id, s.key_id, s.at_ms),
        reads_more=True,
        is_scanned_embedded=True,
    ),
    Query(
        *("what all have paid in a month", "ledger", "month"),
        lambda db, s: Ledger(db).paid_by("month", s.user_id, None, s.at_ms),
    ),
    Query(
        *("what all have paid in a day", "ledger", "day"),
        lambda db, s: Ledger(db).paid_by("day", s.user_id, None, s.at_ms),
    ),
    Query(
        *("sums of a month by user", "ledger", "month"),
        lambda db, s: Ledger(db).sums_of(month_of(s.at_ms)),
    ),
    Query(
        *("settlements of jobs", "ledger", "job"),
        lambda db, s: Ledger(db).settlements_of(s.job_ids),
    ),
    Query(*("reruns", "ledger", "reruns"), lambda db, s: Ledger(db).count_reruns()),
    Query(
        *("a user by address", "users", "email"),
        lambda db, s: Accounts(db).find_by_email(s.email),
        is_scanned_embedded=True,
    ),
    Query(*("a link for a new password", "users", "reset"), _found_reset, is_scanned_embedded=True),
    Query(
        *("demo accounts to delete", "users", "expires"),
        lambda db, s: Deletions(db).begin_expired(limit=100),
        reads_more=True,
        is_scanned_embedded=True,
    ),
    Query(
        *("accounts that are being deleted", "users", "deleting"),
        lambda db, s: Deletions(db).list(limit=100),
        is_scanned_embedded=True,
    ),
    Query(
        *("sessions of a user", "refresh_families", "latest_used"),
        lambda db, s: _sessions(db).list(s.user_id),
    ),
    Query(
        *("sessions beyond the limit", "refresh_families", "latest_used"),
        lambda db, s: _sessions(db).beyond_limit(s.user_id),
    ),
    Query(
        *("session ids of a user", "refresh_families", "latest_used"),
        lambda db, s: _sessions(db).of(s.user_id),
    ),
    Query(*("keys of a user", "api_keys", "list"), lambda db, s: ApiKeys(db).list(s.user_id)),
    Query(
        *("audit of a user", "audit", "user"),
        lambda db, s: AuditLog(db).list(limit=50, user_id=s.user_id),
    ),
    Query(*("audit of all", "audit", ""), lambda db, s: AuditLog(db).list(limit=50)),
    Query(
        *("comparisons since", "comparisons", "time"),
        lambda db, s: Comparisons(db).since(s.at_ms),
    ),
    Query(
        *("alerts since", "alerts", "time"),
        lambda db, s: Alerts(db).since(timedelta(days=1)),
    ),
    Query(
        *("what was set aside", "set_aside", "expiry"),
        lambda db, s: SetAsideRecords(db).list(limit=50),
    ),
    Query(
        *("jobs whose content is to go", "jobs", "content"),
        lambda db, s: JobContent(db).remove_due(limit=100),
    ),
    Query(
        *("acts on many jobs that are due", "bulk_actions", "due"),
        lambda db, s: BulkActions(db).claim(now_ms(), now_ms()),
        reads_more=True,
    ),
    Query(
        *("acts of a user", "bulk_actions", "list"),
        lambda db, s: BulkActions(db).list_of_user(s.user_id, limit=20),
    ),
    Query(
        *("deliveries that are due", "webhook_deliveries", "due"),
        lambda db, s: WebhookRecords(db).due(now_ms(), limit=500),
    ),
    Query(
        *("deliveries of a user", "webhook_deliveries", "list"),
        lambda db, s: WebhookRecords(db).list_of_user(s.user_id, limit=20),
    ),
    Query(
        *("dead deliveries of a user", "webhook_deliveries", "list_by_status"),
        lambda db, s: WebhookRecords(db).list_of_user(s.user_id, limit=20, status="dead"),
    ),
)
