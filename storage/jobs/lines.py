"""The waiting lines: who is next, of all users' jobs and slots; see `storage/lua/lines.lua`."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.jobs import NO_PLACE, JobSpec, Place
from core.team import parse_slot
from storage import keys
from storage.failures import coordinator_errors
from storage.jobs import fields
from storage.jobs.attempts import MAX_ATTEMPTS
from storage.jobs.claims import Claim
from storage.jobs.teams import SlotClaim, to_money, to_slot_claim
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

_BELL: Final = f"{keys.LINES}bell"


class NobodyNext(Struct, frozen=True):
    """Nothing may start now.

    Attributes:
        opens_in_s: when that changes because a model may be called again; None for no such time.
    """

    opens_in_s: float | None = None


class Entered(Struct, frozen=True):
    """What came of putting jobs into their lines.

    Attributes:
        unwoken: see `Lines`.
        place: of the last of them.
    """

    unwoken: int
    place: Place


class Waiter(Struct, frozen=True, kw_only=True):
    """A thread that asks for work.

    Attributes:
        name: its own, of all threads of all workers.
        wait_s: how long it is going to wait for the bell if there is nothing; 0 for not at all.
        has_waited: it did so before it asked.
        is_kept: it takes only quick jobs and those of users for whom nothing runs.
    """

    name: str
    wait_s: float = 0.0
    has_waited: bool = False
    is_kept: bool = False


class Lines:
    """The scripts that put work into lines and take it out.

    All raise CoordinatorUnavailable when Redis is away. Where a method returns how many units are
    unwoken, as many wake-ups are to be published: no waiting thread was there to be woken.
    """

    def __init__(self, redis: Redis, *, lease_s: int) -> None:
        self._redis = redis
        self._lease_ms = lease_s * 1000
        self._enter = Script(redis, "enter", behind=WITH_LINES)
        self._enter_due = Script(redis, "enter_due", behind=WITH_LINES)
        self._claim_next = Script(redis, "claim_next", behind=WITH_LINES)
        self._place = Script(redis, "place", behind=WITH_LINES)
        self._count_ready = Script(redis, "count_ready", behind=WITH_LINES)

    def enter(self, specs: Sequence[JobSpec]) -> Entered:
        """Put durable jobs into their lines; what has begun or stands there already stays.

        Args:
            specs: at least one.
        """
        arguments = [part for spec in specs for part in (spec.id, spec.run_at_ms or 0)]
        unwoken, *place = self._enter.run([], arguments)
        return Entered(unwoken, to_place(place[0] if place else None))

    def place_of(self, job_id: str) -> Place:
        """Return where a job stands; nowhere for one that does not wait."""
        return to_place(self._place.run([keys.job(job_id)], [job_id]))

    def enter_due(self, *, most: int) -> tuple[int, int]:
        """Put work whose time has come into its lines.

        Returns:
            how many are unwoken, and how many were due.
        """
        unwoken, count = self._enter_due.run([], [most])
        return unwoken, count

    def claim_next(self, waiter: Waiter) -> Claim | SlotClaim | NobodyNext:
        """Begin an attempt at whatever is next; see `claim_next.lua` for the order."""
        fence = secrets.token_hex(8)
        kind, *found = self._claim_next.run(
            [],
            [
                fence,
                self._lease_ms,
                MAX_ATTEMPTS,
                int(waiter.is_kept),
                waiter.name,
                int(waiter.wait_s * 1000),
                int(waiter.has_waited),
            ],
        )
        if kind == b"job":
            return _to_claim(fence, found)
        if kind == b"slot":
            _, slot, *rest = found
            return to_slot_claim(parse_slot(slot.decode()), fence, rest)
        opens_in_ms = found[0]
        return NobodyNext(None if opens_in_ms < 0 else opens_in_ms / 1000)

    def wait_for_bell(self, timeout_s: float) -> bool:
        """Return True when a unit may have become ready, False after `timeout_s` (above 0)."""
        with coordinator_errors():
            return self._redis.blpop([_BELL], timeout_s) is not None

    def count_ready(self, *, most: int) -> dict[str, int]:
        """Return how many units may start now by the kind of their wake-up, `most` in all."""
        found = self._count_ready.run([], [most])
        return {kind.decode(): count for kind, count in zip(found[::2], found[1::2], strict=True)}


def to_place(found: Sequence[int] | None) -> Place:
    """Read what `place.lua` answers."""
    if found is None:
        return NO_PLACE
    position, start_in_ms = found
    return Place(
        None if position < 0 else position, None if start_in_ms < 0 else start_in_ms / 1000
    )


def _to_claim(fence: str, found: Sequence[Any]) -> Claim:
    _, spec, question, attempt, accepted_ms, queued_ms, deadline_ms, parked, *money = found
    return Claim(
        **to_money(fields.to_spec(spec), money),
        question=fields.to_question(question, spec),
        fence=fence,
        attempt=attempt,
        accepted_ms=accepted_ms,
        queued_ms=queued_ms,
        deadline_ms=deadline_ms,
        was_parked=bool(parked),
    )
