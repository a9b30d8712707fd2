"""The loop that delivers: it takes what is due from MongoDB and has threads of its own call.

Whatever a thread or the process does not bring to an end is due again when its time is over, so a
message is delivered at least once. Nothing else waits for a receiver.
"""

from __future__ import annotations

import threading
from collections import Counter, defaultdict, deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import msgspec
import structlog
from standardwebhooks import Webhook

from core.errors import ServiceUnavailable
from core.jobs import Job
from core.public import to_public
from core.timing import iso_time, now_ms
from core.webhooks import Delivery, next_try_ms
from monitoring import families
from monitoring.metrics import Metrics
from storage.accounts.webhook_secrets import WebhookSecrets
from storage.records.jobs import JobRecords
from storage.records.webhooks import WebhookRecords
from workers.webhooks.receivers import Receivers
from workers.webhooks.sender import Answer, Sender

logger = structlog.get_logger(__name__)

#: Calls of all receivers at a time.
_THREADS: Final = 64
_AT_ONCE: Final = 500
#: How long a turn waits for something to deliver; retries begin that late at most.
_WAIT_S: Final = 0.5
#: So many deliveries wait in this process for each open call of their receiver, and in all: less
#: than a turn reads, so that they hide no others.
_WAITING_A_CALL: Final = 16
_MOST_WAITING: Final = 250
#: A delivery that is being made is due again after so long, unless it ended.
_MADE_WITHIN_MS: Final = 30_000
#: What waits for a receiver that has enough comes again after so long.
_LATER_MS: Final = 5_000
#: A longer message comes without question and answer.
_MOST_BYTES: Final = 512 * 1024


class Deliverer:
    """Delivers what is due; `run` is a loop's step, and one process may run beside another."""

    def __init__(
        self,
        deliveries: WebhookRecords,
        records: JobRecords,
        secrets: WebhookSecrets,
        sender: Sender,
        metrics: Metrics,
    ) -> None:
        self._deliveries = deliveries
        self._records = records
        self._secrets = secrets
        self._sender = sender
        self._metrics = metrics
        self._receivers = Receivers()
        self._pool = ThreadPoolExecutor(_THREADS, "webhook")
        self._news = threading.Event()
        self._lock = threading.Lock()
        #: By the receiver's host and port.
        self._waiting: defaultdict[str, deque[Delivery]] = defaultdict(deque)
        self._open_calls: Counter[str] = Counter()
        #: Ids of what waits for a thread or is being made here.
        self._taken: set[str] = set()

    def take(self, jobs: Sequence[Job]) -> None:
        """Have the next turn come at once where one of the ended jobs has a webhook."""
        if any(job.spec.webhook for job in jobs):
            self._news.set()

    def run(self) -> None:
        """Begin all deliveries that are due, and wait a moment for further ones.

        Raises:
            StoreUnavailable: MongoDB is away; the next turn goes on.
        """
        self._news.clear()
        due = self._deliveries.due(now_ms(), limit=_AT_ONCE)
        fresh = [delivery for delivery in due if delivery.id not in self._taken]
        later: dict[str, int] = {}
        for delivery in fresh:
            if paused_s := self._receivers.paused_s(delivery.host):
                later[delivery.id] = now_ms() + round(paused_s * 1000)
            elif not self._begin(delivery) and len(due) == _AT_ONCE:
                # Others that are due might stand behind it.
                later[delivery.id] = now_ms() + _LATER_MS
        self._deliveries.postpone(later)
        if not later:
            self._news.wait(_WAIT_S)

    def _begin(self, delivery: Delivery) -> bool:
        """Have a thread make the delivery; False where its receiver, or all, have enough."""
        host = delivery.host
        with self._lock:
            calls, waiting = self._open_calls[host], len(self._waiting[host])
            may_open = calls < self._receivers.most_calls(host)
            may_open &= self._open_calls.total() < _THREADS
            has_room = waiting < _WAITING_A_CALL * calls and len(self._taken) < _MOST_WAITING
            if not (may_open or has_room):
                return False
            self._taken.add(delivery.id)
            self._waiting[host].append(delivery)
            if may_open:
                self._open_calls[host] += 1
                self._pool.submit(self._serve, host)
        return True

    def _serve(self, host: str) -> None:
        """Make one receiver's calls, one after the other, as long as any waits."""
        while (delivery := self._next(host)) is not None:
            try:
                self._deliver(delivery)
            except ServiceUnavailable:
                logger.warning("delivery comes again when the database is back", id=delivery.id)
            except Exception:
                logger.exception("delivery failed by a bug; it comes again", id=delivery.id)
            finally:
                self._taken.discard(delivery.id)
        # What found no place may have one now.
        self._news.set()

    def _next(self, host: str) -> Delivery | None:
        """Take the next delivery that waits for a receiver; where there is none its call ends."""
        with self._lock:
            if self._waiting[host]:
                return self._waiting[host].popleft()
            self._open_calls[host] -= 1
            if not self._open_calls[host]:
                del self._open_calls[host], self._waiting[host]
            return None

    def _deliver(self, delivery: Delivery) -> None:
        if paused_s := self._receivers.paused_s(delivery.host):
            self._deliveries.postpone({delivery.id: now_ms() + round(paused_s * 1000)})
            return
        if not self._deliveries.claim(delivery, now_ms() + _MADE_WITHIN_MS):
            return
        job = self._records.get(delivery.job_id, delivery.user_id)
        if job is None:
            self._deliveries.give_up(delivery, "job_gone")
            self._count("dead", delivery)
            return
        body = message_of(job, delivery)
        answer = self._sender.send(delivery.url, body, self._signed(delivery, body))
        delivery = msgspec.structs.replace(
            delivery, attempts=delivery.attempts + 1, response_status=answer.status
        )
        self._receivers.record(delivery.host, is_success=answer.error is None)
        self._settle(delivery, answer)

    def _settle(self, delivery: Delivery, answer: Answer) -> None:
        if answer.error is None:
            self._deliveries.note_delivered(delivery)
            self._count("delivered", delivery)
            return
        # Gone: the receiver says that nobody wants this any more.
        at_ms = None
        if answer.status != HTTPStatus.GONE:
            at_ms = next_try_ms(delivery, now_ms(), asked_s=answer.retry_after_s)
        if at_ms is None:
            self._deliveries.give_up(delivery, answer.error)
            self._count("dead", delivery)
            return
        self._deliveries.try_again(delivery, at_ms, answer.error)
        self._count("failed", delivery)

    def _signed(self, delivery: Delivery, body: bytes) -> dict[str, str]:
        """Return the headers of Standard Webhooks; two signatures while a secret is replaced."""
        at = datetime.now(UTC)
        signatures = [
            Webhook(secret).sign(delivery.id, at, body.decode())
            for secret in self._secrets.valid_of(delivery.user_id)
        ]
        return {
            "webhook-id": delivery.id,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": " ".join(signatures),
        }

    def _count(self, outcome: str, delivery: Delivery) -> None:
        self._metrics.count(families.WEBHOOKS, outcome)
        if outcome == "delivered":
            late_s = max(0, now_ms() - delivery.since_ms) / 1000
            self._metrics.observe(families.WEBHOOK_DELAY, value=late_s)


def message_of(job: Job, delivery: Delivery) -> bytes:
    """Return the body of the message about a job's end: one JSON object.

    One that would be too long comes without question and answer, and says so.
    """
    data = to_public(job)
    said = {"type": delivery.type, "timestamp": iso_time(job.finished_ms), "data": data}
    body = msgspec.json.encode(said | {"is_shortened": False})
    if len(body) <= _MOST_BYTES:
        return body
    data["request"] = data["request"] | {"message": None}
    data["answer"] = None
    data["agents"] = [report | {"text": None} for report in data["agents"]]
    return msgspec.json.encode(said | {"is_shortened": True})
