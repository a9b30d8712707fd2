"""What users say of ended jobs, in the hashes of those that Redis still has."""

from __future__ import annotations

from typing import TYPE_CHECKING

from storage import keys
from storage.jobs.script_values import encode
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

    from core.jobs import Feedback


class LiveFeedback:
    """The copy by which a job is shown without a look into MongoDB, which has the record of it."""

    def __init__(self, redis: Redis) -> None:
        self._rate = Script(redis, "rate")

    def show(self, job_id: str, feedback: Feedback | None) -> bool:
        """Put the feedback, or none, into the job's hash; False where no ended job is there.

        Raises:
            CoordinatorUnavailable: Redis is away.
        """
        text = "" if feedback is None else encode(feedback)
        return bool(self._rate.run(keys.of_script(job_id), [text]))
