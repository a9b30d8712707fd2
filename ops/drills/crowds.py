"""What the drills do that only asks much of a stack: cancels, repeats, faults, slow readers."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from core.public import JOBS_PATH
from ops.client import ClientError
from ops.drills.faults import Found
from ops.drills.invariants import Violation
from ops.drills.load import Load, Tracked, to_unix_s
from ops.drills.target import Target
from workers import names

if TYPE_CHECKING:
    from workers.queue import JobQueue

_CANCEL_THREADS: Final = 32
_DELIVERIES: Final = 5
_BETWEEN_DELIVERIES_S: Final = 0.5
_EMPTY_WITHIN_S: Final = 20.0
_POLL_S: Final = 0.2
_SIP_BYTES: Final = 64
_BETWEEN_SIPS_S: Final = 0.2
#: Small, so that the server soon has to wait for the reader.
_RECEIVE_BUFFER_BYTES: Final = 4096
_CONNECT_S: Final = 5.0
#: How late an event may come, for 95 in 100, while others read slowly.
_MOST_LAG_S: Final = 2.0


def cancel_all(target: Target, load: Load, _: random.Random) -> Found:
    """Cancel every job at once, in whatever state it is."""
    load.wait_until(lambda: len(load.accepted) == len(load.jobs))
    load.mark_fault()
    with ThreadPoolExecutor(_CANCEL_THREADS) as pool:
        answers = list(pool.map(_cancel, load.accepted))
    load.wait_for_end()
    last_s = max((_ended_after_s(job, load) for job in load.accepted), default=0.0)
    notes = (
        f"cancels were answered {_counted(Counter(answers))}",
        f"the last job ended after {last_s:.2f} s",
    )
    if not target.stub_url:
        return Found(notes)
    return Found((*notes, f"{target.upstream()['client_closed']} upstream calls were hung up"))


def deliver_again(target: Target, load: Load, _: random.Random) -> Found:
    """Publish every job's message again and again: before, while and after it is worked on."""
    load.wait_until_streaming(share=0.1)
    load.mark_fault()
    queue = _queue_of(target)
    sent = 0
    for _turn in range(_DELIVERIES):
        sent += sum(queue.submit(job.job_id, is_quick=False) for job in load.accepted)
        time.sleep(_BETWEEN_DELIVERIES_S)
    load.wait_for_end()
    sent += sum(queue.submit(job.job_id, is_quick=False) for job in load.accepted)
    _await_empty_queue(target)
    return Found((f"published {sent} repeats",), _called_too_often(target, load))


def storm(target: Target, load: Load, _: random.Random) -> Found:
    """Let the upstream fail in every job's first call."""
    load.wait_for_end()
    faults = Counter(target.upstream()["faults"])
    return Found((f"the upstream's faults: {_counted(faults)}",))


def read_slowly(target: Target, load: Load, _: random.Random) -> Found:
    """Have a second reader on every job that takes its stream in sips."""
    load.wait_until(lambda: len(load.accepted) >= len(load.jobs) // 2)
    load.mark_fault()
    over = threading.Event()
    readers = load.accepted
    with ThreadPoolExecutor(len(readers)) as pool:
        futures = [pool.submit(_sip, target, job, over) for job in readers]
        load.wait_for_end()
        over.set()
        taken = sum(future.result() for future in futures)
    lags_s = sorted(lag_s for job in load.jobs for lag_s in job.lags_s)
    late_s = lags_s[int(len(lags_s) * 0.95)] if lags_s else 0.0
    note = f"{len(readers)} slow readers took {taken} bytes; 95 % of events came in {late_s:.2f} s"
    wrong = [Violation("the other readers", f"waited: {note}")] if late_s > _MOST_LAG_S else []
    return Found((note,), tuple(wrong))


def _cancel(job: Tracked) -> int:
    """Return the answer's status; 0 when there was none."""
    try:
        return job.user.cancel(job.job_id).status_code
    except ClientError:
        return 0


def _ended_after_s(job: Tracked, load: Load) -> float:
    """Return how long after the fault the job ended; 0 when it was over before, or never was."""
    found = job.user.find(job.job_id)
    finished_at = found["finished_at"] if found else None
    return max(0.0, to_unix_s(finished_at) - load.fault_s) if finished_at else 0.0


def _counted(counts: Counter[Any]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in sorted(counts.items()))


def _queue_of(target: Target) -> JobQueue:
    from celery import Celery  # takes half a second, which no other command should wait for

    from workers.queue import JobQueue

    app = Celery("drill")
    app.config_from_object("celeryconfig")
    app.conf.update(broker_url=target.settings.celery_broker_url)
    return JobQueue(app)


def _called_too_often(target: Target, load: Load) -> tuple[Violation, ...]:
    """Say whether a repeat made the upstream answer once more; others' jobs would blur that."""
    called = target.upstream()["requests"] if target.is_own else 0
    if called <= len(load.jobs):
        return ()
    return (Violation("the upstream", f"was called {called} times for {len(load.jobs)} jobs"),)


def _await_empty_queue(target: Target) -> None:
    deadline = time.monotonic() + _EMPTY_WITHIN_S
    with target.redis() as redis:
        while True:
            waiting: Any = redis.llen(names.RUN_QUEUE)
            if not waiting or time.monotonic() > deadline:
                return
            time.sleep(_POLL_S)


def _sip(target: Target, job: Tracked, over: threading.Event) -> int:
    """Read a job's stream a few bytes at a time and return how many it were."""
    address = urlsplit(target.api_url)
    request = (
        f"GET {JOBS_PATH}/{job.job_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: {job.user.authorization}\r\n\r\n"
    )
    taken = 0
    with socket.socket() as reader:
        reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
        reader.settimeout(_CONNECT_S)
        reader.connect((address.hostname, address.port))
        reader.sendall(request.encode())
        while not over.wait(_BETWEEN_SIPS_S):
            try:
                sip = reader.recv(_SIP_BYTES)
            except TimeoutError:
                continue
            if not sip:
                break
            taken += len(sip)
    return taken
