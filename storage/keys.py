"""Every Redis key Aether uses.

Coordination is one Redis (replicated, by Sentinel's URL), not Redis Cluster: who is next is decided
over all users. The keys of one user and of its jobs carry the user's shard, by which records are
read in parts. When an account is deleted, storage/jobs/user_keys.py removes what is named after it
and its jobs.

| Key | Type | Lives | Written by | Read by |
|---|---|---|---|---|
| aether:{s}:job:<id> | hash, see storage/jobs/fields.py | until its record is written, then 1 h; 1 d once withdrawn | every script of jobs, single_flight_enter | scripts, web, sweeper, upkeep |
| aether:{s}:events:<id> | stream, ids <sequence>-0 | as the job | accept, accept_answered, append, defer, finish, put_back, report, restore, start_round | web, sweeper |
| aether:{s}:active:<user> | sorted set, by time: a job's id, and of a team <id>#2, <id>#3 and so on, one for each agent | members until their job ends | accept, restore, finish, withdraw | accept, admit |
| aether:{s}:spend:<user>:<yyyymm> | hash, see storage/lua/money.lua: reserved, spent (micro-dollars), known | 62 d | accept, append, extend, restore, finish, know_spent, withdraw | accept, admit, append, extend |
| aether:{s}:key_spend:<user>:<key>:<yyyymm> | the same of an API key | likewise | likewise | likewise |
| aether:spend:all:<yyyymm> | and <yyyymmdd>: the same of the deployment's month and day | likewise | likewise | likewise |
| aether:{s}:rates:<user> | hash, moving windows: see storage/lua/limits.lua | 26 h after the last count | accept, accept_answered, finish | admit, accept, accept_answered |
| aether:{s}:rates:<user>:<key> | the same of an API key | likewise | accept, accept_answered | likewise |
| aether:tries:<digest> | the same of an address, an account, or both | likewise | count | count |
| aether:{s}:learned:<user> | hash: what the user's calls of each model came to, see storage/lua/learn.lua | 30 d after the last call | learn | admit |
| aether:learned | the same of all users | likewise | learn | web, workers |
| aether:{s}:idempotency:<user>:<digest> | string, <body hash>:<job id> | 24 h | accept, accept_answered, withdraw | accept, accept_answered |
| aether:{s}:conversation:<user>:<id> | list of exchanges, JSON | 7 d | the version before branches | workers |
| aether:{s}:records | stream of ended job ids | entries until written to MongoDB | accept_answered, finish | upkeep |
| aether:{s}:revoked:<jti> | string | rest of the token's life | logout | every request |
| aether:{s}:revoked:since | string, since when the shard's list is whole (Unix seconds) | always; made again after a loss | every request | every request |
| aether:single_flight:<fingerprint>:leader | string, the job id that answers for all | a lease after its last renewal, through a deferral | single_flight_enter, _keep, _end | the same |
| aether:single_flight:<fingerprint>:parked | sorted set, job id by when it was parked first | until the leader's end, 1 h at most | single_flight_enter, _end | the same |
| aether:single_flight:<fingerprint>:note | hash: note, how the leader ended; parked_only, whether it is for parked jobs alone | 30 s | single_flight_end | single_flight_enter |
| aether:breaker:<model> | hash: counts, open_until, probe_until | 3 min | breaker | the same |
| aether:{budget:<model>} | hash: granted, booked and at, of requests and of tokens; open_at | until it is full again, and 5 min | budget_book, budget_correct | the same |
| aether:{budget:<model>}:booking:<id> | hash: tickets of a call that waits | until it starts, at most 5 min | budget_book | the same |
| aether:loops:<worker> | string, the health of a worker's loops, JSON | 20 s after the last report | every worker, each 5 s | web, `aether status` |
| aether:workers | sorted set, worker by the time of its report | 60 s after the last report | likewise | likewise |
| aether:format | string, the number of storage/format.py | always | start, `aether db migrate` | start |
| aether:drain | string, since when (Unix seconds) | while the stack drains | `aether drain`, `resume`, `up` | accept, accept_answered, claim_next, count_ready |
| aether:sweep | string, a lock | one sweep at most | sweeper | sweeper |
| aether:watch | sorted set, unit (job id or <job id>/<slot>) by the ms when it is due for a look: a lease's end, the deadline of what has begun and waits, an accept without a record | members until their job ends, or waits unbegun | accept, cancel, claim_next, defer, enter, finish, put_back, release, renew, report, single_flight_enter, start_round, take_over, take_slot, withdraw, sweeper | sweeper, drain |
| aether:deferred | sorted set, unit by the ms when it enters its line: `run_at`, a deferral, a parked job's lease | until then | defer, enter, enter_due, finish, restore, single_flight_end, single_flight_enter, take_over, take_slot, withdraw | enter, enter_due, place, release, single_flight_end |
| aether:expiring | sorted set, job id by the ms when it is given up unless it has begun | until it begins or ends | accept, claim_next, finish, put_back, restore, take_over, withdraw, sweeper | sweeper |
| aether:epoch | string, the run of Redis for which no unfinished job is missing | until Redis loses everything | restoration | restoration |
| aether:lines:starts:<n> | string, units that started in the nth 10 s since 1970 | 60 s after the last of them | claim_next | enter, place |
| aether:lines:turn:<unit> | string, the model whose budget the unit may ask before others | until it asks, 5 s at most | claim_next, budget_book | budget_book |
| aether:lines:… | who is next; the others are listed in storage/lua/lines.lua | while somebody waits or runs; shares until others have overtaken them | the scripts behind lines.lua | the same, workers that wait |

Pub/sub channels: the name of a job's events key carries its events, a line `<sequence> <type> <body>` for each;
`aether:cancels` carries ids of jobs to cancel.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from core.budgets import Scope
from core.ids import shard_of

CANCEL_CHANNEL: Final = "aether:cancels"
SWEEP_LOCK: Final = "aether:sweep"
WORKERS: Final = "aether:workers"
FORMAT: Final = "aether:format"
DRAIN: Final = "aether:drain"
WATCH: Final = "aether:watch"
DEFERRED: Final = "aether:deferred"
EXPIRING: Final = "aether:expiring"
EPOCH: Final = "aether:epoch"
#: What was learned of the answers of all users.
LEARNED: Final = "aether:learned"
#: What every key of the waiting lines begins with.
LINES: Final = "aether:lines:"


def job(job_id: str) -> str:
    return f"aether:{{{shard_of(job_id)}}}:job:{job_id}"


def events(job_id: str) -> str:
    return f"aether:{{{shard_of(job_id)}}}:events:{job_id}"


def active(user_id: str) -> str:
    return f"aether:{{{shard_of(user_id)}}}:active:{user_id}"


def spend(user_id: str, unix_ms: int) -> str:
    """Name the counters of the calendar month (UTC) that `unix_ms` lies in."""
    return spend_of_month(user_id, datetime.fromtimestamp(unix_ms / 1000, UTC).strftime("%Y%m"))


def spend_of_month(user_id: str, month: str) -> str:
    """Name the same counters of a month written yyyymm; `*` stands for all users."""
    shard = "*" if user_id == "*" else shard_of(user_id)
    return f"aether:{{{shard}}}:spend:{user_id}:{month}"


def budget_of(scope: Scope, user_id: str, key_id: str | None, unix_ms: int) -> str:
    """Name the sums of the month or day (UTC) of a budget that `unix_ms` lies in."""
    moment = datetime.fromtimestamp(unix_ms / 1000, UTC)
    match scope:
        case "user":
            return spend(user_id, unix_ms)
        case "key":
            shard = shard_of(user_id)
            return f"aether:{{{shard}}}:key_spend:{user_id}:{key_id}:{moment:%Y%m}"
        case "month":
            return f"aether:spend:all:{moment:%Y%m}"
        case "day":
            return f"aether:spend:all:{moment:%Y%m%d}"


def rates(user_id: str, key_id: str | None = None) -> str:
    """Name the moving windows of a user, or of an API key."""
    of_user = f"aether:{{{shard_of(user_id)}}}:rates:{user_id}"
    return f"{of_user}:{key_id}" if key_id else of_user


def tries(owner_digest: str) -> str:
    """Name the moving windows of an address, an account, or both together."""
    return f"aether:tries:{owner_digest}"


def learned_of_user(user_id: str) -> str:
    return f"aether:{{{shard_of(user_id)}}}:learned:{user_id}"


def idempotency(user_id: str, digest: str) -> str:
    return f"aether:{{{shard_of(user_id)}}}:idempotency:{user_id}:{digest}"


def conversation(user_id: str, conversation_id: str) -> str:
    return f"aether:{{{shard_of(user_id)}}}:conversation:{user_id}:{conversation_id}"


def of_script(job_id: str) -> list[str]:
    """Return the two keys that every job script takes: job, events."""
    return [job(job_id), events(job_id)]


def of_live_job(job_id: str, user_id: str) -> list[str]:
    """Return the keys that scripts take which let a job live or forget it: job, events, active."""
    return [*of_script(job_id), active(user_id)]


def records(shard: str) -> str:
    return f"aether:{{{shard}}}:records"


def breaker(model_id: str) -> str:
    return f"aether:breaker:{model_id}"


def single_flight(fingerprint: str) -> list[str]:
    """Return the three keys of one question: who leads, who is parked, how it ended."""
    prefix = f"aether:single_flight:{fingerprint}"
    return [f"{prefix}:leader", f"{prefix}:parked", f"{prefix}:note"]


def budget(model_id: str) -> str:
    return f"aether:{{budget:{model_id}}}"


def booking(model_id: str, booking_id: str) -> str:
    return f"{budget(model_id)}:booking:{booking_id}"


def revoked_token(shard: str, jti: str) -> str:
    return f"aether:{{{shard}}}:revoked:{jti}"


def loops(worker: str) -> str:
    return f"aether:loops:{worker}"
