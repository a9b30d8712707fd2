"""What the API, Redis and MongoDB have of a load's jobs once they should all be over."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from pymongo.errors import PyMongoError
from redis.exceptions import RedisError

from core.errors import ServiceUnavailable
from core.events import JOB_SNAPSHOT
from core.ids import SHARDS
from core.jobs import TERMINAL, Job
from core.money import to_usd
from ops.drills.load import Load, Tracked
from ops.drills.target import Target
from ops.stack.readiness import wait_until
from ops.stack.state import CannotRun
from storage import keys
from storage.jobs.store import JobStore
from storage.jobs.sweep import Sweep
from storage.records.jobs import JobRecords
from storage.records.ledger import month_of
from storage.records.reconciliation import Reconciliation

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

#: How long the way from a job's end to its record may take.
RECORDED_WITHIN_S: Final = 30.0
_HUNG_UP_WITHIN_S: Final = 10.0
_THREADS: Final = 16
_MOST_JOBS: Final = 10_000
#: Beyond every time that a job can be due at, in milliseconds.
_FAR_MS: Final = 1 << 52
#: What Redis says of the time that a lasting key has left.
_FOR_EVER: Final = -1
_RIGHTS: Final = ("fence", "lease")


#: An event as the API shows it.
Event = dict[str, Any]


class Violation(NamedTuple):
    """One broken invariant: of which job, user or key, and how."""

    of: str
    what: str


class Account(NamedTuple):
    """How a job ended and what it cost, by one of the three that know."""

    status: str
    answer: str
    cost_usd: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvidence:
    """One accepted job.

    Attributes:
        shown: by the API; None when it knows no such job.
        live: by Redis; None when it has let the job go, or lost it.
        recorded: by MongoDB; None without a record.
        settled_usd: what each settlement of the ledger says.
        log: all events, as the API replays them after the end.
        seen: those that its reader was given while it ran, across reconnects; None where it had
            no reader.
        left_over: names of a worker's rights to it that should have gone with its end.
    """

    job_id: str
    shown: Account | None
    live: Account | None = None
    recorded: Account | None = None
    settled_usd: tuple[float, ...] = ()
    attempt: int = 0
    error_code: str = ""
    log: Sequence[Event] = ()
    seen: Sequence[Event] | None = None
    left_over: tuple[str, ...] = ()

    @property
    def status(self) -> str:
        return self.shown.status if self.shown else "lost"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A whole load's.

    Attributes:
        differences: between the ledger, the jobs and Redis's sums.
        answered_twice: submissions of which two jobs ended, in spite of their Idempotency-Key.
        leftovers: what should have gone from Redis; of everybody on a stack of one's own.
        open_calls: how many calls the stub upstream still answers; only on a stack of one's own.
    """

    jobs: tuple[JobEvidence, ...]
    differences: tuple[Violation, ...] = ()
    answered_twice: tuple[str, ...] = ()
    leftovers: tuple[Violation, ...] = ()
    open_calls: int = 0


def gather(target: Target, load: Load, *, within_s: float = RECORDED_WITHIN_S) -> Evidence:
    """Wait up to `within_s` until every job has ended, is recorded, and its reader has its end.

    Returns what there is then.
    """
    with target.database() as database, target.redis() as redis:
        collector = _Collector(target, load, redis, database)
        # What has not come until then is a violation, and for the invariants to say.
        with suppress(CannotRun):
            wait_until(collector.is_quiet, within_s, "the records")
        return collector.collect()


def leftovers(redis: Redis) -> Iterator[Violation]:
    """Yield what Redis holds of anybody's jobs although all of them have ended and are recorded."""
    for name in redis.scan_iter("aether:*:active:*", count=1000):
        yield Violation(name.decode(), f"holds {redis.zrange(name, 0, -1)}")
    for name in redis.scan_iter("aether:*:spend:*", count=1000):
        if reserved := int(redis.hget(name, "reserved") or 0):
            yield Violation(name.decode(), f"still reserves {reserved} micro-dollars")
    sweep = Sweep(redis, lease_s=1)
    for due in (*sweep.due(_FAR_MS, most=_MOST_JOBS), *sweep.expired(_FAR_MS, most=_MOST_JOBS)):
        yield Violation(due.entry, "still waits for the sweeper")
    yield from _left_in_lines(redis)
    for shard in SHARDS:
        yield from _waiting_records(redis, keys.records(shard))
    for name in redis.scan_iter("aether:{*", count=1000):
        # These are there, and empty, when all is quiet.
        is_standing = b":active:" in name or name.endswith((b":records", b":revoked:since"))
        if not is_standing and redis.ttl(name) == _FOR_EVER:
            yield Violation(name.decode(), "never expires")


def _left_in_lines(redis: Redis) -> Iterator[Violation]:
    for name in (keys.DEFERRED, f"{keys.LINES}waiting", f"{keys.LINES}all"):
        if redis.exists(name):
            yield Violation(name, "is not empty")
    for kind in ("ready", "idle", "keys", "units", "running", "holding"):
        for name in redis.scan_iter(f"{keys.LINES}{kind}:*", count=1000):
            yield Violation(name.decode(), "is not empty")


def _waiting_records(redis: Redis, stream: str) -> Iterator[Violation]:
    entries: Any = redis.xrange(stream)
    for _, fields in entries:
        yield Violation(fields[b"id"].decode(), "still waits for its record")
    groups: Any = redis.xinfo_groups(stream) if redis.exists(stream) else []
    for group in groups:
        if group["pending"]:
            yield Violation(stream, f"has {group['pending']} entries that nobody let go")


class _Collector:
    def __init__(
        self, target: Target, load: Load, redis: Redis, database: Database[dict[str, Any]]
    ) -> None:
        self._target = target
        self._load = load
        self._redis = redis
        self._store = JobStore(redis)
        self._records = JobRecords(database)
        self._ledger = database["ledger"]
        self._reconciliation = Reconciliation(redis, database)

    def is_quiet(self) -> bool:
        """Say whether each job's end is read and in MongoDB, and Redis may let the job go."""
        try:
            recorded = {job.id for job in self._records_of_users() if job.is_terminal}
            waiting = [keys.records(shard) for shard in SHARDS if self._target.is_own]
            return (
                self._target.is_ready()
                # A reader whose API was away resumes by himself, as a client does.
                and all(job.ended_s for job in self._load.accepted if job.has_reader)
                and all(job.job_id in recorded for job in self._load.accepted)
                and not any(self._redis.xlen(stream) for stream in waiting)
                and all(
                    self._redis.ttl(keys.job(job.job_id)) != _FOR_EVER
                    for job in self._load.accepted
                )
            )
        except (RedisError, PyMongoError, ServiceUnavailable):
            return False

    def collect(self) -> Evidence:
        records = self._records_of_users()
        users = [user.id for user in self._load.users]
        ledger = list(self._ledger.find({"user_id": {"$in": users}}))
        ours = {*users, *(job.job_id for job in self._load.accepted)}
        recorded = {job.id: job for job in records}
        with ThreadPoolExecutor(_THREADS) as pool:
            jobs = pool.map(lambda job: self._look_at(job, recorded, ledger), self._load.accepted)
        return Evidence(
            jobs=tuple(jobs),
            differences=tuple(self._differences(users)),
            answered_twice=_answered_twice(records),
            leftovers=tuple(
                left
                for left in leftovers(self._redis)
                if self._target.is_own or any(name in left.of for name in ours)
            ),
            open_calls=_open_calls(self._target),
        )

    def _records_of_users(self) -> list[Job]:
        found = (self._records.list_of_user(user.id, limit=_MOST_JOBS) for user in self._load.users)
        return [job for jobs in found for job in jobs]

    def _look_at(
        self, job: Tracked, recorded: dict[str, Job], ledger: list[dict[str, Any]]
    ) -> JobEvidence:
        shown = job.user.find(job.job_id)
        if shown is None:
            return JobEvidence(job_id=job.job_id, shown=None)
        rights = self._redis.hmget(keys.job(job.job_id), _RIGHTS)
        answer = shown["answer"]["text"] if shown["answer"] else ""
        return JobEvidence(
            job_id=job.job_id,
            shown=Account(shown["status"], answer, shown["cost"]["usd"]),
            live=_account(self._store.get(job.job_id)),
            recorded=_account(recorded.get(job.job_id)),
            settled_usd=tuple(
                to_usd(entry["cost_micros"]) for entry in ledger if entry["job_id"] == job.job_id
            ),
            attempt=shown["attempt"],
            error_code=shown["error"]["code"] if shown["error"] else "",
            log=_replay(job) if shown["status"] in TERMINAL else (),
            seen=list(job.events) if job.has_reader else None,
            left_over=tuple(name for name, value in zip(_RIGHTS, rights, strict=True) if value),
        )

    def _differences(self, users: Sequence[str]) -> Iterator[Violation]:
        month = month_of(int(self._load.began_s * 1000))
        for user_id in users:
            for found in self._reconciliation.verify(month, user_id).differences:
                yield Violation(found.of, found.what)


def _account(job: Job | None) -> Account | None:
    if job is None or job.outcome is None:
        return None if job is None else Account(job.status.value, "", 0.0)
    answer = job.outcome.answer.text if job.outcome.answer else ""
    return Account(job.status.value, answer, to_usd(job.outcome.cost_micros))


def _replay(job: Tracked) -> list[Event]:
    found = job.user.stream(job.job_id)
    return [event for event in found if event and event["type"] != JOB_SNAPSHOT]


def _answered_twice(records: list[Job]) -> tuple[str, ...]:
    ended = (job.spec.metadata.get("submission") for job in records if job.is_terminal)
    return tuple(name for name, count in Counter(ended).items() if name and count > 1)


def _open_calls(target: Target) -> int:
    if not (target.stub_url and target.is_own):
        return 0
    with suppress(CannotRun):
        wait_until(lambda: not target.upstream()["in_flight"], _HUNG_UP_WITHIN_S, "the calls' end")
    return int(target.upstream()["in_flight"])
