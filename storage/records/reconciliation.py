"""Whether ledger, records and Redis's sums agree, and making them agree again."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.ids import DELETED_USER, SHARDS
from core.jobs import TERMINAL
from storage import keys
from storage.failures import coordinator_errors, store_errors
from storage.records.documents import from_document
from storage.records.job_logs import WITHOUT_LOG
from storage.records.ledger import SETTLEMENT, Ledger, to_settlement
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

    from core.jobs import Job

_AT_ONCE: Final = 500
#: How often a user's sums are read again while his jobs end.
_TRIES: Final = 20


class Difference(Struct, frozen=True):
    """One thing that two of the three disagree about; `of` is a user or a job."""

    of: str
    what: str


class Report(Struct, frozen=True, kw_only=True):
    """What came of a comparison.

    Attributes:
        in_flight: ended jobs that upkeep has yet to record; while there are any, the sums in Redis
            are ahead of the ledger and are not compared.
        jobs: whose end is recorded.
        micros: what the ledger says that the month's jobs have cost.
        reruns: ends that were paid again after a loss of Redis, ever.
        deleted_micros: of the month, what deleted accounts paid.
    """

    month: str
    in_flight: int
    jobs: int
    micros: int
    deleted_micros: int
    reruns: int
    differences: Sequence[Difference]


class Rebuilt(Struct, frozen=True, kw_only=True):
    """What was changed.

    Attributes:
        busy: users whose jobs kept ending meanwhile; their sums are as they were.
    """

    settlements: int
    users: int
    busy: Sequence[str]


class Reconciliation:
    """Compares and repairs one calendar month (UTC), by the month in which jobs were created.

    Raises CoordinatorUnavailable and StoreUnavailable when Redis or MongoDB is away.
    """

    def __init__(self, redis: Redis, database: Database[dict[str, Any]]) -> None:
        self._redis = redis
        self._jobs = database["jobs"]
        self._ledger = Ledger(database)
        self._recount = Script(redis, "recount", behind=(*WITH_LINES, "money"))

    def verify(self, month: str, user_id: str | None = None) -> Report:
        """Compare every recorded end with its settlement, and the sums where all is recorded.

        Args:
            month: yyyymm.
            user_id: only his.
        """
        found, jobs = list[Difference](), 0
        for batch in _batches(self._ended(month, user_id)):
            jobs += len(batch)
            found += self._of_records(batch)
        in_flight = self._in_flight()
        sums = self._ledger.sums_of(month)
        if not in_flight:
            found += self._of_sums(month, sums, user_id)
        return Report(
            month=month,
            in_flight=in_flight,
            jobs=jobs,
            micros=sum(sums.values()),
            deleted_micros=sums.get(DELETED_USER, 0),
            reruns=self._ledger.count_reruns(),
            differences=found,
        )

    def rebuild(self, month: str) -> Rebuilt:
        """Add settlements that recorded ends lack, then set each user's sums by ledger and jobs.

        Safe while jobs run: the sums of a user are set only where nothing was paid since they were
        read and all his ends are recorded.
        """
        added = self.add_settlements(month)
        users = sorted(
            {*self._ledger.sums_of(month), *self._users_with_sums(month)} - {DELETED_USER}
        )
        busy = [user for user in users if not self._set_sums(user, month)]
        return Rebuilt(settlements=added, users=len(users) - len(busy), busy=busy)

    def add_settlements(self, month: str | None = None) -> int:
        """Add settlements that recorded ends lack, of a month or of all; return how many."""
        added = 0
        for batch in _batches(self._ended(month, None)):
            known = self._ledger.settlements_of(job.id for job in batch)
            missing = [job for job in batch if not _settled(known.get(job.id, []))]
            if missing:
                with store_errors():
                    self._ledger.add_missing([to_settlement(job) for job in missing])
            added += len(missing)
        return added

    def _ended(self, month: str | None, user_id: str | None) -> Iterator[Job]:
        """Yield the jobs whose end is recorded."""
        ended = {"$in": sorted(status.value for status in TERMINAL)}
        chosen: dict[str, Any] = {"status": ended}
        if month is not None:
            begin, end = _bounds(month)
            chosen["created_at"] = {"$gte": begin, "$lt": end}
        if user_id is not None:
            chosen = {"user_id": user_id} | chosen
        with store_errors():
            for document in self._jobs.find(chosen, WITHOUT_LOG):
                yield from_document(document)

    def _of_records(self, jobs: Sequence[Job]) -> Iterator[Difference]:
        entries = self._ledger.settlements_of(job.id for job in jobs)
        for job in jobs:
            settled = [row for row in entries.get(job.id, []) if row["kind"] == SETTLEMENT]
            paid = [row["cost_micros"] for row in entries.get(job.id, [])]
            cost = job.outcome.cost_micros if job.outcome else 0
            if len(settled) != 1:
                yield Difference(job.id, f"has ended and has {len(settled)} settlements")
            elif cost not in paid:
                yield Difference(job.id, f"cost {cost} micro-dollars and is settled by {paid}")

    def _of_sums(
        self, month: str, sums: dict[str, int], user_id: str | None
    ) -> Iterator[Difference]:
        users = self._users(month, sums)
        for user in sorted(users if user_id is None else users & {user_id}):
            spent, reserved, is_known = self._sums_in_redis(user, month)
            if is_known and spent != sums.get(user, 0):
                what = f"paid {spent} micro-dollars by Redis, {sums.get(user, 0)} by the ledger"
                yield Difference(user, what)
            held = self._held(user, month)
            if reserved != held:
                what = f"holds {reserved} micro-dollars, {held} by his unfinished jobs"
                yield Difference(user, what)

    def _sums_in_redis(self, user_id: str, month: str) -> tuple[int, int, bool]:
        with coordinator_errors():
            found: Any = self._redis.hmget(
                keys.spend_of_month(user_id, month), "spent", "reserved", "known"
            )
        return int(found[0] or 0), int(found[1] or 0), found[2] is not None

    def _held(self, user_id: str, month: str) -> int:
        """Return what the user's unfinished jobs of the month hold together."""
        budget = keys.spend_of_month(user_id, month).encode()
        with coordinator_errors():
            units: Any = self._redis.zrange(keys.active(user_id), 0, -1)
        job_ids = [unit.decode() for unit in units if b"#" not in unit]
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.hmget(keys.job(job_id), "reserved", "budgets")
            rows = pipe.execute()
        return sum(int(held or 0) for held, budgets in rows if budget in (budgets or b"").split())

    def _users(self, month: str, sums: Iterable[str]) -> set[str]:
        return {*sums, *self._users_with_sums(month)} - {DELETED_USER}

    def _users_with_sums(self, month: str) -> Iterator[str]:
        with coordinator_errors():
            for name in self._redis.scan_iter(keys.spend_of_month("*", month), count=1000):
                yield name.decode().split(":")[-2]

    def _in_flight(self) -> int:
        """Return how many ends wait for their record."""
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for shard in SHARDS:
                pipe.xlen(keys.records(shard))
            return sum(pipe.execute())

    def _set_sums(self, user_id: str, month: str) -> bool:
        """Set a user's sums; False where his jobs kept ending meanwhile."""
        budget = keys.spend_of_month(user_id, month)
        for _ in range(_TRIES):
            with coordinator_errors():
                seen: Any = self._redis.hget(budget, "spent")
                waiting = self._redis.xlen(keys.records(user_id[4]))
            paid = self._ledger.paid_in(month, user_id)
            arguments = ["" if seen is None else seen, paid]
            if not waiting and self._recount.run([budget, keys.active(user_id)], arguments)[0]:
                return True
        return False


def _settled(entries: Iterable[dict[str, Any]]) -> bool:
    return any(row["kind"] == SETTLEMENT for row in entries)


def _batches(jobs: Iterator[Job]) -> Iterator[list[Job]]:
    while batch := list(islice(jobs, _AT_ONCE)):
        yield batch


def _bounds(month: str) -> tuple[datetime, datetime]:
    """Return when the month begins and when the next one does."""
    begin = datetime(int(month[:4]), int(month[4:]), 1, tzinfo=UTC)
    year, number = divmod(begin.year * 12 + begin.month, 12)
    return begin, datetime(year, number + 1, 1, tzinfo=UTC)
