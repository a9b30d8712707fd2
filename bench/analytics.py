"""How long analytics take with many jobs on record: `python -m bench.analytics`.

Fills the embedded database with ended jobs of 100 users over 90 days, sums up the days that are
over, and asks for 30 days of one user and of everybody.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from bench.database import database_at, server
from core.chat import Usage as Tokens
from core.ids import new_job_id, new_user_id
from core.jobs import Job, JobSpec, JobStatus
from core.outcome import AgentReport, CacheUse, Outcome
from storage.records.documents import to_document
from storage.records.indexes import ensure_indexes
from storage.records.ledger import to_settlement
from storage.records.usage import UsageRecords, day_of
from web.analytics.figures import analytics

_USERS: Final = 100
_DAYS: Final = 90
_ASKED_DAYS: Final = 30
_BATCH: Final = 1_000
_TIMES: Final = 20


def main() -> None:
    """Fill, sum up, ask, and print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=200_000)
    jobs = parser.parse_args().jobs
    with server() as url, database_at(url) as database:
        _measure(database, jobs)


def _measure(database: Any, count: int) -> None:
    ensure_indexes(database)
    users = [new_user_id() for _ in range(_USERS)]
    usage, chooser = UsageRecords(database), random.Random(1)
    began = time.perf_counter()
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        jobs = [_job(chooser.choice(users), chooser) for _ in range(size)]
        database["jobs"].insert_many([to_document(job) for job in jobs], ordered=False)
        database["ledger"].insert_many([to_settlement(job) for job in jobs], ordered=False)
        usage.mark(day_of(job) for job in jobs)
    print(f"{count:,} jobs written in {time.perf_counter() - began:.0f} s")
    began, days = time.perf_counter(), 0
    while summed := usage.sum_up(limit=200):
        days += summed
    print(f"{days:,} users' days summed up in {time.perf_counter() - began:.0f} s")
    last = datetime.now(UTC).date()
    first = last - timedelta(days=_ASKED_DAYS - 1)
    for by in ("day", "model"):

        def ask(by: str = by) -> object:
            return analytics(usage.of_user(users[0], first, last), first, last, by)

        _print(f"30 days of one user by {by}", ask)
    _print("30 days of everybody", lambda: analytics(usage.of_all(first, last), first, last, "day"))
    _print("top spenders of 30 days", lambda: usage.top_spenders(first, last, limit=100))


def _print(title: str, ask: Callable[[], object]) -> None:
    took_ms = []
    for _ in range(_TIMES):
        began = time.perf_counter()
        ask()
        took_ms.append((time.perf_counter() - began) * 1000)
    print(f"{title}: median {statistics.median(took_ms):.1f} ms, most {max(took_ms):.1f} ms")


def _job(user_id: str, chooser: random.Random) -> Job:
    now_ms = int(time.time() * 1000)
    created_ms = now_ms - int(chooser.random() * _DAYS * 24 * 3600 * 1000) - 60_000
    took_ms = int(chooser.lognormvariate(7.5, 0.8))
    tokens = Tokens(input_tokens=200, output_tokens=chooser.randint(10, 900))
    model = chooser.choice(("openai/gpt-oss-20b", "openai/gpt-oss-120b"))
    report = AgentReport(
        name=chooser.choice(("dev", "luna", "atlas", "quinn", "sage")),
        status="completed",
        tier="standard",
        model=model,
        reason="chosen",
        usage=tokens,
        cost_micros=300,
    )
    return Job(
        spec=JobSpec(
            id=new_job_id(user_id),
            user_id=user_id,
            mode="optimized",
            created_ms=created_ms,
            max_tokens=1024,
        ),
        status=JobStatus.COMPLETED,
        attempt=1,
        started_ms=created_ms + 5,
        finished_ms=created_ms + took_ms,
        outcome=Outcome(
            agents=(report,),
            usage=tokens,
            cost_micros=300,
            cache=CacheUse(status="miss"),
            timing_ms={"first_token": took_ms // 5, "total": took_ms},
        ),
    )


if __name__ == "__main__":
    main()
