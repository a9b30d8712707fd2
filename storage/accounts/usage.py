"""What an account uses of its plan now, as Redis counts it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from core.timing import now_ms
from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis


class PlanUse(Struct, frozen=True, kw_only=True):
    """Jobs that have not ended, and micro-dollars spent and held in this calendar month (UTC).

    Attributes:
        unfinished: model calls that they make at a time.
        spent_micros: None where Redis does not know it; the ledger does.
    """

    unfinished: int
    spent_micros: int | None
    reserved_micros: int


class PlanUses:
    """Reads the counters; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def of(self, user_id: str) -> PlanUse:
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            pipe.zcard(keys.active(user_id))
            pipe.hmget(keys.spend(user_id, now_ms()), "spent", "reserved", "known")
            answers: Any = pipe.execute()
        unfinished, (spent, reserved, known) = answers
        return PlanUse(
            unfinished=unfinished,
            spent_micros=None if known is None else int(spent or 0),
            reserved_micros=int(reserved or 0),
        )
