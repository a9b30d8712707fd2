"""Bringing back what Redis lost: a job from its record, a budget's payments from the ledger."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from core import events
from core.jobs import JobSpec, Question
from storage import keys
from storage.jobs.script_values import encode, now_iso, to_budgets, to_data, to_wait
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

_BUDGETS_KEPT_S: Final = 62 * 24 * 3600


class Restored(StrEnum):
    """What came of bringing a job back."""

    RESTORED = "restored"
    #: Redis had it after all.
    PRESENT = "present"
    #: It was given up before its 202; its record has to go.
    WITHDRAWN = "withdrawn"
    #: What one of its budgets has paid is not known; see `Recovery.know_spent`.
    UNKNOWN = "unknown"


class Recovery:
    """The scripts that bring back; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._restore = Script(redis, "restore", behind=(*WITH_LINES, "money"))
        self._know_spent = Script(redis, "know_spent")

    def restore(self, spec: JobSpec, question: Question) -> Restored:
        """Bring back a job that Redis lost, into its line; a repeat changes nothing."""
        return self.restore_many([(spec, question)])[0]

    def restore_many(self, lost: Sequence[tuple[JobSpec, Question]]) -> list[Restored]:
        """Bring jobs back as `restore` does, in one round trip."""
        answers = self._restore.run_many(
            [
                (
                    keys.of_live_job(spec.id, spec.user_id),
                    [
                        spec.id,
                        encode(spec),
                        encode(question),
                        now_iso(),
                        spec.reserved_micros,
                        to_data(events.job_queued(spec.mode, restored=True)),
                        *to_wait(spec),
                        spec.run_at_ms or 0,
                        spec.created_ms,
                        to_budgets(
                            spec.budgets_in_force, spec.user_id, spec.api_key_id, spec.created_ms
                        ),
                        spec.units,
                    ],
                )
                for spec, question in lost
            ]
        )
        return [Restored(answer.decode()) for answer in answers]

    def know_spent(self, budget_key: str, micros: int) -> None:
        """Note what a budget has paid by the ledger; a repeat changes nothing.

        A budget is known until Redis loses it.

        Args:
            budget_key: from `storage.keys.budget_of`.
        """
        self._know_spent.run([budget_key], [micros, _BUDGETS_KEPT_S])
