"""What is measured: a whole stack, the stub upstream and the floor, as child processes."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import psutil

from bench.client import Target
from bench.cpu import Parts
from core.plans import PlanName
from core.settings import Settings
from ops.stack.own import Child, OwnStack, clean_environment, own_stack
from ops.stack.running import command_settings
from ops.stack.state import ROOT
from storage.connections import close_all, mongo_database


@dataclass(frozen=True)
class Bench:
    """Everything that runs during a measurement.

    Attributes:
        parts: looks the processes up anew.
        give_plan: sets the plan of users by their ids, also where an older version runs.
    """

    api: Target
    stub: Target
    redis_url: str
    parts: Callable[[], Parts]
    give_plan: Callable[[Sequence[str], PlanName], None]


@contextmanager
def running(
    *, workers: int, api_processes: int, tree: str = str(ROOT), **chosen: str
) -> Iterator[Bench]:
    """Run `aether up` against a stub upstream of 20 ms and 10 tokens for the block.

    Args:
        tree: the checkout whose stack is run.
        chosen: further settings, by the names of their variables.
    """
    options = ("--workers", str(workers))
    answers = ("--first-token-ms", "20", "--tokens", "10", "--token-gap-ms", "0")
    settings = {"AETHER_API_PROCESSES": str(api_processes), "AETHER_LOG_LEVEL": "warning"}
    with own_stack(*options, stub=answers, tree=tree, **(settings | chosen)) as (stack, upstream):
        found = command_settings(stack.directory)
        redis_url = found.redis_url.get_secret_value().removesuffix("/0") + "/1"
        yield Bench(
            *(_target(stack.url), _target(upstream.url), redis_url),
            parts=lambda: _parts(stack, upstream.process.pid),
            give_plan=partial(_give_plan, found),
        )


def _give_plan(settings: Settings, user_ids: Sequence[str], plan: PlanName) -> None:
    database = mongo_database(settings)
    database["users"].update_many({"_id": {"$in": list(user_ids)}}, {"$set": {"plan": plan}})
    close_all(database)


@contextmanager
def floor_worker(bench: Bench) -> Iterator[Parts]:
    """Run the floor's one worker for the block, beside the idle stack whose Redis it uses."""
    command = [str(Path(sys.executable).with_name("celery")), "-A", "bench.floor_tasks:app"]
    command += ["worker", "-P", "threads", "-c", "64", "--without-gossip", "--without-mingle"]
    command += ["-l", "ERROR"]
    environment = clean_environment() | {
        "BENCH_REDIS_URL": bench.redis_url,
        "BENCH_LLM_URL": f"http://127.0.0.1:{bench.stub.port}",
    }
    # Its first answer is waited for by whoever sends it a job.
    with Child("the floor", command, lambda: True, Path(os.devnull), environment=environment) as it:
        worker = {"floor's worker": [psutil.Process(it.process.pid)]}
        yield {
            f"{name} (idle)" if _is_aether(name) else name: found
            for name, found in bench.parts().items()
        } | worker


def _target(url: str) -> Target:
    port = urlsplit(url).port
    assert port is not None
    return Target(port)


def _parts(stack: OwnStack, stub_pid: int) -> Parts:
    found: Parts = {"stub": [psutil.Process(stub_pid)], "client": [psutil.Process()]}
    for program, pid in stack.pids.items():
        name = "workers" if program.startswith("worker-") else program
        with suppress(psutil.NoSuchProcess):
            process = psutil.Process(pid)
            found.setdefault(name, []).extend([process, *process.children(recursive=True)])
    return found


def _is_aether(name: str) -> bool:
    return name in {"api", "workers", "upkeep", "beat", "mongo"}
