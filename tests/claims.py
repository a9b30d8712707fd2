"""Claims of named units for tests, by way of the lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from core.team import Slot, parse_slot
from storage import keys
from storage.jobs.attempts import Attempts
from storage.jobs.claims import Claim
from storage.jobs.lines import Lines, NobodyNext, Waiter
from storage.jobs.store import JobStore
from storage.jobs.sweep import Sweep
from storage.jobs.teams import SlotClaim, Teams

if TYPE_CHECKING:
    from redis import Redis

LEASE_S = 15


class Claims:
    """Claims whatever is next until the unit that was asked for comes; keeps the others for later.

    What has yet to enter its line, waits for a time, or was lost by its worker, enters it first.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._lines = Lines(redis, lease_s=LEASE_S)
        self._store = JobStore(redis)
        self._sweep = Sweep(redis, lease_s=LEASE_S)
        self._kept: dict[str, Claim | SlotClaim] = {}

    def of(self, unit: str) -> Claim | SlotClaim | None:
        if unit in self._kept:
            return self._kept.pop(unit)
        self._bring(unit)
        while True:
            found = self._lines.claim_next(Waiter(name="test"))
            if isinstance(found, NobodyNext):
                return None
            claim = found.claim if isinstance(found, SlotClaim) else found
            name = f"{claim.job_id}/{claim.slot}" if claim.slot else claim.job_id
            if name == unit:
                return found
            self._kept[name] = found

    def _bring(self, unit: str) -> None:
        job_id, _, slot = unit.partition("/")
        job = self._store.get(job_id)
        if job is not None:
            self._lines.enter([job.spec])
        self._redis.zadd(keys.DEFERRED, {unit: 0}, xx=True)
        self._lines.enter_due(most=10_000)
        self._sweep.release(job_id, parse_slot(slot) if slot else None)


class ClaimingAttempts(Attempts):
    """The scripts of attempts, and claims of named jobs."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, lease_s=LEASE_S)
        self.claims = Claims(redis)

    def claim(self, job_id: str) -> Claim | None:
        """Begin an attempt at the job; None where it is in no line."""
        found = self.claims.of(job_id)
        assert not isinstance(found, SlotClaim)
        return found


class ClaimingTeams(Teams):
    """The scripts of teams, and claims of named slots."""

    def __init__(self, redis: Redis) -> None:
        super().__init__(redis, lease_s=LEASE_S)
        self.claims = Claims(redis)

    def claim_slot(self, job_id: str, slot: Slot) -> SlotClaim | None:
        """Begin an attempt at the slot; None where it is in no line."""
        found = self.claims.of(f"{job_id}/{slot.name}")
        assert not isinstance(found, Claim)
        return found
