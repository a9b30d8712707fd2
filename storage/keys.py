"""Every Redis key Aether uses.

All keys of one job and of its user carry the same hash tag (the user's shard), so each Lua script
stays within one Redis Cluster slot.

| Key | Type | Lives | Written by | Read by |
|---|---|---|---|---|
| aether:{s}:job:<id> | hash; of a team also a field `<slot>:…` for each of its slots | until its record is written, then 1 h | job scripts | all |
| aether:{s}:events:<id> | stream, ids <sequence>-0 | as the job | job scripts | web |
| aether:{s}:active:<user> | sorted set, job id by time | members until their job ends | accept, finish | accept |
| aether:{s}:spend:<user>:<yyyymm> | hash: reserved, spent (micro-dollars) | 62 d | accept, finish | accept |
| aether:{s}:idempotency:<user>:<digest> | string, <fingerprint>:<job id> | 24 h | accept | accept |
| aether:{s}:conversation:<user>:<id> | list of finished turns, JSON | 7 d | finish | workers |
| aether:{s}:dispatch | sorted set, job id or <job id>/<slot> by the ms when it is due for a look | members until their job ends | job scripts | sweeper |
| aether:{s}:records | stream of finished job ids | entries until written to MongoDB | finish | upkeep |
| aether:{s}:revoked:<jti> | string | rest of the token's life | logout | every request |
| aether:breaker:<model> | hash: counts, open_until, probe_until | 3 min | workers | workers |
| aether:{<fingerprint>}:flight | string, the leader's token, or `answer:` and what is kept of it | a third of a lease; 2 s, or 30 s where others followed | workers | workers |
| aether:{<fingerprint>}:waiting | list of claims that were handed over | until the leader takes them | workers | workers |
| aether:{budget:<model>} | hash: granted, booked and at, of requests and of tokens; open_at | until it is full again, and 5 min | workers | workers |
| aether:{budget:<model>}:booking:<id> | hash: tickets of a call that waits | until it starts, at most 5 min | workers | workers |
| aether:sweep | string, a lock | one sweep at most | sweeper | sweeper |

Pub/sub channels: the name of a job's events key carries its events, a line `<sequence> <type> <body>` for each;
`aether:cancels` carries ids of jobs to cancel.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from core.ids import shard_of

CANCEL_CHANNEL: Final = "aether:cancels"
SWEEP_LOCK: Final = "aether:sweep"


def job(job_id: str) -> str:
    return f"aether:{{{shard_of(job_id)}}}:job:{job_id}"


def events(job_id: str) -> str:
    return f"aether:{{{shard_of(job_id)}}}:events:{job_id}"


def active(user_id: str) -> str:
    return f"aether:{{{shard_of(user_id)}}}:active:{user_id}"


def spend(user_id: str, unix_ms: int) -> str:
    """Name the counters of the calendar month (UTC) that `unix_ms` lies in."""
    month = datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y%m")
    return f"aether:{{{shard_of(user_id)}}}:spend:{user_id}:{month}"


def idempotency(user_id: str, digest: str) -> str:
    return f"aether:{{{shard_of(user_id)}}}:idempotency:{user_id}:{digest}"


def conversation(user_id: str, conversation_id: str) -> str:
    return f"aether:{{{shard_of(user_id)}}}:conversation:{user_id}:{conversation_id}"


def dispatch(job_id: str) -> str:
    return dispatch_of_shard(shard_of(job_id))


def dispatch_of_shard(shard: str) -> str:
    return f"aether:{{{shard}}}:dispatch"


def of_script(job_id: str) -> list[str]:
    """Return the three keys that most job scripts take: job, events, dispatch."""
    return [job(job_id), events(job_id), dispatch(job_id)]


def records(shard: str) -> str:
    return f"aether:{{{shard}}}:records"


def breaker(model_id: str) -> str:
    return f"aether:breaker:{model_id}"


def flight(name: str) -> list[str]:
    """Return the keys of one question on its way: who leads, and who waits."""
    return [f"aether:{{{name}}}:flight", f"aether:{{{name}}}:waiting"]


def budget(model_id: str) -> str:
    return f"aether:{{budget:{model_id}}}"


def booking(model_id: str, booking_id: str) -> str:
    return f"{budget(model_id)}:booking:{booking_id}"


def revoked_token(shard: str, jti: str) -> str:
    return f"aether:{{{shard}}}:revoked:{jti}"
