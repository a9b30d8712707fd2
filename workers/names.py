"""The names of tasks and queues; imports nothing of Celery, so its settings may use them."""

from __future__ import annotations

from typing import Final

RUN_CHAT: Final = "chat.run"
RUN_AGENT: Final = "chat.agent"
FINISH_ROUND: Final = "chat.finish"
SWEEP: Final = "upkeep.sweep"

QUICK_QUEUE: Final = "chat.quick"
RUN_QUEUE: Final = "chat.run"
AGENT_QUEUE: Final = "chat.agent"
FINISH_QUEUE: Final = "chat.finish"
UPKEEP_QUEUE: Final = "upkeep"

#: What a worker of the chat takes from, in turn.
CHAT_QUEUES: Final = (FINISH_QUEUE, AGENT_QUEUE, QUICK_QUEUE, RUN_QUEUE)
QUEUES: Final = (*CHAT_QUEUES, UPKEEP_QUEUE)
