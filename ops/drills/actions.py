"""What each drill does while its load runs; an action yields notes and violations."""

from __future__ import annotations

import random
import signal
import socket
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from core.public import JOBS_PATH
from ops.client import ClientError
from ops.drills import faults
from ops.drills.evidence import Violation
from ops.drills.load import Load, Tracked
from ops.drills.target import Target
from ops.stack.readiness import wait_until
from ops.stack.state import CannotRun
from workers import names

if TYPE_CHECKING:
    from workers.queue import WakeUps

#: How long a thawed worker has for the writes that it must not be allowed.
_THAWED_S: Final = 0.5
#: Submits while a store is away, one second apart.
_PROBES: Final = 8
_PROBES_OF_EACH: Final = 6
_BETWEEN_PROBES_S: Final = 1.0
#: A refusal has to come before a client's patience ends.
_REFUSED_WITHIN_S: Final = 1.0
_REFUSALS: Final = frozenset({"503 with Retry-After", "429 with Retry-After"})
_RESETS: Final = 5
_BETWEEN_RESETS_S: Final = 0.4
_DELIVERIES: Final = 5
_BETWEEN_DELIVERIES_S: Final = 0.5
_TAKEN_WITHIN_S: Final = 20.0
_SLOW_BYTES: Final = 64
_SLOW_PAUSE_S: Final = 0.2
#: Small, so that the server soon has to wait for the reader.
_RECEIVE_BUFFER_BYTES: Final = 4096
_CONNECT_S: Final = 5.0
#: How late an event may come, for 95 in 100, while others read slowly.
_MOST_LAG_S: Final = 2.0

Found = Iterator[str | Violation]


def kill_workers(target: Target, load: Load, chooser: random.Random) -> Found:
    """Kill two workers with SIGKILL in mid-answer, the second when the first is back."""
    for name in _workers(target, chooser)[:2]:
        yield f"killed {name} (pid {faults.kill(target, name)[name]})"


def freeze_and_kill(target: Target, load: Load, chooser: random.Random) -> Found:
    """Freeze a worker until its leases have run out, thaw it for a moment, kill it."""
    name = _workers(target, chooser)[0]
    frozen_s = target.settings.lease_s + 3.0
    with faults.frozen(target, name) as pids:
        time.sleep(frozen_s)
    time.sleep(_THAWED_S)
    faults.signal_trees(pids.values(), signal.SIGKILL)
    faults.await_others(target, pids)
    yield f"froze {name} (pid {pids[name]}) for {frozen_s:.0f} s"


def restart_redis(target: Target, load: Load, _: random.Random) -> Found:
    """Stop Redis and start it again on its data."""
    yield f"Redis was away for {faults.restart(target, 'redis'):.1f} s"


def wipe_redis(target: Target, load: Load, _: random.Random) -> Found:
    """Wipe Redis with FLUSHALL; accepted jobs come back from their records in MongoDB."""
    yield f"removed {faults.wipe_redis(target)} keys"


def stop_mongo(target: Target, load: Load, _: random.Random) -> Found:
    """Stop MongoDB for 8 s: submissions are refused with 503 within 1 s, jobs go on."""
    with faults.stopped(target, "mongo"):
        refusals = [_refusal(load) for _probe in range(_PROBES)]
    yield from _judged(refusals)


def fill_redis(target: Target, load: Load, _: random.Random) -> Found:
    """Let Redis be out of memory for 8 s: it refuses writes, nobody ends, jobs go on afterwards."""
    yield from _refuse(target, load, faults.full(target), _PROBES)


def refuse_writes(target: Target, load: Load, _: random.Random) -> Found:
    """Have Redis refuse writes for want of replicas, then as a replica itself, for 6 s each."""
    for fault in (faults.without_replicas(target), faults.read_only(target)):
        yield from _refuse(target, load, fault, _PROBES_OF_EACH)
        wait_until(target.is_ready, _TAKEN_WITHIN_S, "the API to get ready")


def _refuse(target: Target, load: Load, fault: AbstractContextManager[None], probes: int) -> Found:
    """Submit while Redis refuses; no program may end of it."""
    before = target.pids()
    with fault:
        refusals = [_refusal(load) for _probe in range(probes)]
    yield from _judged(refusals)
    ended = sorted(name for name, pid in target.pids().items() if before.get(name) != pid)
    if ended:
        yield Violation("the stack", f"had to start {', '.join(ended)} again")


def _judged(refusals: list[tuple[float, str]]) -> Found:
    slowest_s = max(took_s for took_s, _ in refusals)
    answers = {said for _, said in refusals}
    yield f"submits were answered {', '.join(sorted(answers))}, the slowest after {slowest_s:.2f} s"
    if not answers <= _REFUSALS or slowest_s > _REFUSED_WITHIN_S:
        yield Violation("submitting", "was not refused with 503 and Retry-After within 1 s")


def reset_connections(target: Target, load: Load, _: random.Random) -> Found:
    """Close every connection to Redis with CLIENT KILL, five times."""
    closed = 0
    for _round in range(_RESETS):
        closed += faults.close_connections(target)
        time.sleep(_BETWEEN_RESETS_S)
    yield f"closed {closed} connections in {_RESETS} rounds"


def rolling_restart(target: Target, load: Load, _: random.Random) -> Found:
    """Restart every program, one by one, while jobs keep coming."""
    programs = sorted(target.pids(), reverse=True)
    away = [f"{name} {faults.restart(target, name):.1f} s" for name in programs]
    yield f"restarted {', '.join(away)}"


def move_money(target: Target, load: Load, chooser: random.Random) -> Found:
    """Kill a worker, upkeep and the API and restart Redis while jobs end and are cancelled."""
    worker = _workers(target, chooser)[0]
    cancelled = load.cancel(chooser.sample(load.accepted, len(load.accepted) // 4))
    yield f"cancels were answered {counted(Counter(cancelled))}"
    for name in (worker, "upkeep", "api"):
        yield f"killed {name} (pid {faults.kill(target, name)[name]})"
    yield f"Redis was away for {faults.restart(target, 'redis'):.1f} s"


def cancel_all(target: Target, load: Load, _: random.Random) -> Found:
    """Cancel every job at once; none may go on, and upstream calls are closed."""
    yield f"cancels were answered {counted(Counter(load.cancel(load.accepted)))}"
    load.wait_for_end()
    yield f"the last job ended after {load.recovery_s:.2f} s"
    if target.stub_url:
        yield f"{target.upstream()['client_closed']} upstream calls were closed"


def deliver_again(target: Target, load: Load, _: random.Random) -> Found:
    """Publish six wake-ups more for every job; each job is answered once."""
    wake_ups = _wake_ups_of(target)
    sent = 0
    for _round in range(_DELIVERIES):
        sent += sum(wake_ups.send("run") for _ in load.accepted)
        time.sleep(_BETWEEN_DELIVERIES_S)
    load.wait_for_end()
    sent += sum(wake_ups.send("run") for _ in load.accepted)
    with target.redis() as redis:
        wait_until(lambda: not redis.llen(names.RUN_QUEUE), _TAKEN_WITHIN_S, "the last repeats")
    yield f"published {sent} repeats"
    # Jobs of others would blur the count.
    called = target.upstream()["requests"] if target.is_own else 0
    if called > len(load.jobs):
        yield Violation("the upstream", f"was called {called} times for {len(load.jobs)} jobs")


def storm(target: Target, load: Load, _: random.Random) -> Found:
    """Answer every job's first upstream call with 429, 500, 503 or a cut stream."""
    load.wait_for_end()
    yield f"the upstream's faults: {counted(Counter(target.upstream()['faults']))}"


def read_slowly(target: Target, load: Load, _: random.Random) -> Found:
    """Read every stream a second time, a few bytes at once; other readers must not wait."""
    over = threading.Event()
    readers = load.accepted
    with ThreadPoolExecutor(len(readers)) as pool:
        slow = [pool.submit(_read_slowly, target, job, over) for job in readers]
        load.wait_for_end()
        over.set()
        taken = sum(reader.result() for reader in slow)
    lags_s = sorted(lag_s for job in load.jobs for lag_s in job.lags_s)
    late_s = lags_s[int(len(lags_s) * 0.95)] if lags_s else 0.0
    yield f"{len(readers)} slow readers took {taken} bytes; 95 % of events came in {late_s:.2f} s"
    if late_s > _MOST_LAG_S:
        yield Violation("the other readers", f"had to wait {late_s:.2f} s for their events")


def counted(counts: Counter[Any]) -> str:
    return ", ".join(f"{count} × {name}" for name, count in sorted(counts.items()))


def _workers(target: Target, chooser: random.Random) -> list[str]:
    found = sorted(name for name in target.pids() if name.startswith("worker-"))
    if not found:
        raise CannotRun("The stack has no worker that runs.")
    chooser.shuffle(found)
    return found


def _refusal(load: Load) -> tuple[float, str]:
    """Submit what cannot be made durable now; return how long the answer took, and what it was."""
    began_s = time.monotonic()
    try:
        key = {"Idempotency-Key": load.run}
        answer = load.users[0].submit("Is anybody there?", headers=key, max_tokens=16)
    except ClientError as error:
        said = repr(error)
    else:
        said = f"{answer.status_code}{' with Retry-After' * ('Retry-After' in answer.headers)}"
    took_s = time.monotonic() - began_s
    time.sleep(max(0.0, _BETWEEN_PROBES_S - took_s))
    return took_s, said


def _wake_ups_of(target: Target) -> WakeUps:
    from celery import Celery  # takes half a second, which no other command should wait for

    from workers.queue import WakeUps

    app = Celery("drill")
    app.config_from_object("celeryconfig")
    app.conf.update(broker_url=target.settings.celery_broker_url)
    return WakeUps(app)


def _read_slowly(target: Target, job: Tracked, over: threading.Event) -> int:
    """Read a job's stream a few bytes at a time and return how many it were."""
    taken = 0
    with open_stream(target.api_url, job.user.authorization, job.job_id) as reader:
        while not over.wait(_SLOW_PAUSE_S):
            try:
                piece = reader.recv(_SLOW_BYTES)
            except TimeoutError:
                continue
            if not piece:
                break
            taken += len(piece)
    return taken


def open_stream(api_url: str, authorization: str, job_id: str) -> socket.socket:
    """Ask for a job's stream with a small receive buffer, and read nothing of it."""
    address = urlsplit(api_url)
    request = (
        f"GET {JOBS_PATH}/{job_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: {authorization}\r\n\r\n"
    )
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    reader.settimeout(_CONNECT_S)
    reader.connect((address.hostname, address.port))
    reader.sendall(request.encode())
    return reader
