"""The drill `webhooks`: programs are killed while jobs end, and every end is delivered."""

from __future__ import annotations

import math
import random
import signal
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from standardwebhooks import Webhook, WebhookVerificationError

from core.jobs import TERMINAL
from ops.certificates import Certificates
from ops.client import checked
from ops.drills.actions import Found
from ops.drills.evidence import Violation
from ops.drills.faults import signal_trees
from ops.drills.load import Load, to_unix_s
from ops.drills.receiver import Received, Receiver
from ops.drills.restoring import own_folder
from ops.drills.target import Target
from ops.stack.own import OwnStack
from ops.stack.readiness import wait_until
from ops.stack.state import CannotRun

_KILLS: Final = 10
_PAUSE_S: Final = 2.0
#: What a process that was killed had begun is due again after half a minute.
_DELIVERED_WITHIN_S: Final = 120.0
_OPTIONS: Final = ("--workers", "2", "--no-sample", "--no-flower")
_PROGRAMS: Final = ("upkeep", "worker-1", "upkeep", "worker-2", "upkeep", "api")


def deliver_under_kills(target: Target, load: Load, chooser: random.Random) -> Found:
    """Kill upkeep, workers and API ten times while jobs end: each end is delivered, signed.

    It runs as many jobs as the drill has on a stack of its own, whose webhooks may call this
    machine.
    """
    with own_folder() as folder:
        certificates = Certificates(folder)
        with (
            Receiver(certificates) as receiver,
            OwnStack(
                folder / "state",
                *_OPTIONS,
                AETHER_LLM_URL=target.stub_url,
                AETHER_LEASE_S="3",
                AETHER_SWEEP_INTERVAL_S="1",
                AETHER_WEBHOOK_ALLOW="127.0.0.1",
                AETHER_WEBHOOK_CA_FILE=str(certificates.authority),
            ) as machine,
            Load(machine.url, max_tokens=1024, fields={"webhook": receiver.url}) as hooked,
        ):
            yield from _kill(machine, hooked, len(load.jobs), chooser)
            yield from _judge(hooked, receiver)


def _kill(machine: OwnStack, hooked: Load, jobs: int, chooser: random.Random) -> Found:
    scripts = (f"tokens={chooser.randint(2, 20)} gap_ms=100" for _ in range(jobs))
    questions = [f"Question {n} of {hooked.run} [[stub:{s}]]" for n, s in enumerate(scripts)]
    hooked.start(questions, spread_s=_KILLS * _PAUSE_S)
    kills = Counter[str]()
    for number in range(_KILLS):
        time.sleep(_PAUSE_S)
        name = _PROGRAMS[number % len(_PROGRAMS)]
        if pid := machine.pids.get(name):
            signal_trees([pid], signal.SIGKILL)
            kills[name] += 1
    yield f"killed {', '.join(f'{name} {count}x' for name, count in kills.items())}"
    hooked.wait_for_end()


def _judge(hooked: Load, receiver: Receiver) -> Found:
    ids = [job.job_id for job in hooked.accepted]

    def are_delivered() -> bool:
        return not set(ids) - {call.message["data"]["id"] for call in receiver.calls}

    with suppress(CannotRun):
        wait_until(are_delivered, _DELIVERED_WITHIN_S, "every end to be delivered")
    if lost := set(ids) - {call.message["data"]["id"] for call in receiver.calls}:
        yield Violation(min(lost), f"and {len(lost) - 1} more ended and were not delivered")
    calls = list(receiver.calls)
    secrets = _secrets_of(hooked)
    for job in hooked.accepted:
        yield from _wrong_calls(
            job.job_id,
            [call for call in calls if call.message["data"]["id"] == job.job_id],
            secrets[job.user.id],
        )
    repeats = len(calls) - len({call.headers["webhook-id"] for call in calls})
    late = sorted(call.at_s - to_unix_s(call.message["timestamp"]) for call in calls)
    p95 = late[math.ceil(0.95 * len(late)) - 1] if late else 0.0
    yield f"{len(ids)} ends were delivered, {repeats} of them again; 95 % within {p95:.1f} s"


def _wrong_calls(job_id: str, calls: Sequence[Received], secret: str) -> Found:
    for call in calls:
        try:
            said = Webhook(secret).verify(call.body, dict(call.headers))
        except WebhookVerificationError as error:
            yield Violation(job_id, f"was delivered with a wrong signature: {error}")
            continue
        if said["data"]["status"] not in TERMINAL:
            yield Violation(job_id, f"was delivered as {said['data']['status']}")


def _secrets_of(hooked: Load) -> dict[str, str]:
    found = {}
    for user in hooked.users:
        answer = checked(user.http.get("/api/ai/v4/webhooks/secret"))
        found[user.id] = answer["secret"]
    return found
