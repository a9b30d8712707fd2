"""A worker's right to a job: keep the lease, write under the fence, give it back, end it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from core import events
from core.events import NewEvent
from core.ids import shard_of
from core.jobs import TERMINAL_EVENT, JobSpec, JobStatus
from core.outcome import Outcome, Spent
from core.team import parse_slot
from storage import keys
from storage.jobs.bounds import bounded
from storage.jobs.claims import NO_EVENTS, Batch, Claim, Hold
from storage.jobs.fields import without_totals
from storage.jobs.script_values import (
    encode,
    now_iso,
    to_data,
    to_open_data,
    to_pairs,
    to_used,
)
from storage.scripts import WITH_ALL, WITH_LINES, WITH_MONEY, Script

if TYPE_CHECKING:
    from redis import Redis

#: A job that lost its worker this often fails as `worker_lost`.
MAX_ATTEMPTS: Final = 3


class Attempts:
    """The job scripts that workers use; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis, *, lease_s: int) -> None:
        self._redis = redis
        self._lease_ms = lease_s * 1000
        self._renew = Script(redis, "renew", behind=WITH_LINES)
        self._append = Script(redis, "append", behind=WITH_MONEY)
        self._extend = Script(redis, "extend", behind=WITH_MONEY)
        self._finish = Script(redis, "finish", behind=WITH_ALL)
        self._defer = Script(redis, "defer", behind=WITH_LINES)
        self._put_back = Script(redis, "put_back", behind=WITH_LINES)
        self._wait_for_parent = Script(redis, "wait_for_parent", behind=WITH_LINES)

    def renew(self, claims: Sequence[Claim]) -> list[Hold]:
        """Keep the leases alive, in one round trip."""
        answers = self._renew.run_many(
            [
                (
                    keys.of_script(claim.job_id),
                    [claim.job_id, claim.slot, claim.fence, self._lease_ms],
                )
                for claim in claims
            ]
        )
        return [Hold(answer.decode()) for answer in answers]

    def append(self, batches: Sequence[tuple[Claim, Batch]]) -> list[Hold]:
        """Add events to the logs of several jobs, in one round trip; each batch is atomic.

        A batch that is sent again is not appended again.
        """
        at = now_iso()
        answers = self._append.run_many(
            [
                (
                    keys.of_script(claim.job_id),
                    [
                        claim.job_id,
                        claim.slot,
                        claim.fence,
                        at,
                        batch.number,
                        *_to_money(claim, batch.wanted_micros),
                        *to_pairs(batch.events),
                    ],
                )
                for claim, batch in batches
            ]
        )
        return [Hold(answer.decode()) for answer in answers]

    def extend(self, claim: Claim, wanted_micros: int) -> str:
        """Ask that so much in all is held for the turn; a repeat changes nothing.

        Returns:
            `held`, `busy` where other unfinished jobs hold what is left, `gone`, or `lost` where
            another attempt has the job.
        """
        money = _to_money(claim, wanted_micros)
        arguments = [claim.job_id, claim.slot, claim.fence, *money]
        return str(self._extend.run(keys.of_script(claim.job_id), arguments).decode())

    def finish(
        self,
        claim: Claim,
        status: JobStatus,
        outcome: Outcome,
        *,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> bool:
        """End the job: last events, outcome, settlement, terminal event, record. All or nothing.

        The job is charged what its account holds (deferred attempts, agents' replies) and what the
        outcome says.

        Args:
            outcome: its `usage` and `cost_micros` are those of the caller's own calls alone; its
                savings are those of all replies that it reports.
            unsure: a batch that was sent without an answer; appended first if it did not arrive.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        outcome = bounded(outcome)
        arguments: list[Any] = [
            claim.job_id,
            claim.slot,
            claim.fence,
            now_iso(),
            status.value,
            encode(without_totals(outcome)),
            *to_used(outcome.usage, outcome.cost_micros),
            TERMINAL_EVENT[status],
            to_open_data(events.job_ended(TERMINAL_EVENT[status], status.value, outcome)),
            unsure.number,
            len(unsure.events),
            *to_pairs([*unsure.events, *last_events]),
        ]
        return bool(self._finish.run(_finish_keys(claim.spec), arguments))

    def defer(
        self,
        claim: Claim,
        wait_s: float,
        *,
        reason: str,
        used: Spent,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> bool:
        """Give the job, or the slot, back to the queue for `wait_s`; the attempt does not count.

        Args:
            used: by this attempt alone; the job pays for it when it ends.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        arguments = [
            claim.job_id,
            claim.slot,
            claim.fence,
            now_iso(),
            int(wait_s * 1000),
            *_to_return(claim, reason, wait_s, used, unsure, last_events),
        ]
        return bool(self._defer.run(keys.of_script(claim.job_id), arguments))

    def put_back(
        self,
        claim: Claim,
        model: str,
        wait_s: float,
        *,
        is_unbegun: bool,
        used: Spent,
        unsure: Batch = NO_EVENTS,
        last_events: Sequence[NewEvent] = (),
    ) -> bool:
        """Give the job, or the slot, back to its line until the model may be called.

        The attempt does not count, and no unit that waits for the model starts for `wait_s`.

        Args:
            is_unbegun: nothing was published or used: the job's time has not begun.
            used: by this attempt alone; the job pays for it when it ends.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        arguments = [
            claim.job_id,
            claim.slot,
            claim.fence,
            now_iso(),
            model,
            int(wait_s * 1000),
            int(is_unbegun),
            *_to_return(claim, "rate_limited", wait_s, used, unsure, last_events),
        ]
        return bool(self._put_back.run(keys.of_script(claim.job_id), arguments))

    def wait_for_parent(self, claim: Claim, wait_s: float) -> bool:
        """Give the job, or the slot, back for `wait_s`: what it goes on with cannot be read yet.

        The attempt does not count, and a job that has not begun lets go of its concurrency key.

        Returns:
            False when another attempt has the job by now; then nothing was written.
        """
        if claim.slot:
            return self.defer(claim, wait_s, reason="conversation_busy", used=Spent())
        arguments = [claim.job_id, claim.fence, int(wait_s * 1000)]
        return bool(self._wait_for_parent.run(keys.of_script(claim.job_id), arguments))


def _to_money(claim: Claim, wanted_micros: int | None) -> list[Any]:
    """Return what the scripts take that hold more for a turn."""
    spec = claim.spec
    most = spec.route.max_cost_micros
    return [
        "" if wanted_micros is None else wanted_micros,
        claim.held_micros,
        "" if most is None else most,
        keys.spend(spec.user_id, spec.created_ms),
    ]


def _finish_keys(spec: JobSpec) -> list[str]:
    return [
        keys.job(spec.id),
        keys.events(spec.id),
        keys.active(spec.user_id),
        keys.spend(spec.user_id, spec.created_ms),
        keys.records(shard_of(spec.id)),
        keys.rates(spec.user_id),
    ]


def _to_return(
    claim: Claim,
    reason: str,
    wait_s: float,
    used: Spent,
    unsure: Batch,
    last_events: Sequence[NewEvent],
) -> list[Any]:
    """Return what the scripts take that give an attempt back: why, what it used, its events."""
    slot = parse_slot(claim.slot) if claim.slot else None
    retrying = events.job_retrying(
        reason,
        claim.attempt,
        agent=slot.speaker if slot else None,
        round_number=slot.round if slot else None,
        retry_after_s=wait_s,
    )
    return [
        to_data(retrying),
        *to_used(used.usage, used.cost_micros),
        unsure.number,
        len(unsure.events),
        *to_pairs([*unsure.events, *last_events]),
    ]
