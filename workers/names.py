"""The names of tasks and queues; imports nothing of Celery, so its settings may use them."""

from __future__ import annotations

from typing import Final

RUN_CHAT: Final = "chat.run"
SWEEP: Final = "upkeep.sweep"
WRITE_RECORDS: Final = "upkeep.write_records"

QUICK_QUEUE: Final = "chat.quick"
RUN_QUEUE: Final = "chat.run"
UPKEEP_QUEUE: Final = "upkeep"

QUEUES: Final = (QUICK_QUEUE, RUN_QUEUE, UPKEEP_QUEUE)

#: Headers of a job's message; the body is the job's id alone.
REQUEST_ID_HEADER: Final = "aether_request_id"
QUEUED_MS_HEADER: Final = "aether_queued_ms"
