"""What runs: the stack's programs, built from the settings and the state directory."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from pydantic import SecretStr

from core.settings import Settings
from ops.stack import embedded
from ops.stack.readiness import http_answers, mongo_answers, redis_answers
from ops.stack.state import StateDirectory
from workers import names

EMBEDDED: Final = ("redis", "mongo", "llm")
#: The settings that say where a stack's servers are.
ADDRESSES: Final = (
    *("redis_url", "broker_url", "cache_redis_url", "mongo_url", "mongo_database"),
    *("llm_url", "llm_provider"),
)
#: Longer than any job may take, so that a drained worker ends what it has begun.
DRAIN_S: Final = 150
_KEY: Final = ("GROQ_API_KEY",)
#: What a program that is not Aether's own has no use for.
_SECRETS: Final = (*_KEY, "AETHER_JWT_SECRET", "AETHER_FLOWER_PASSWORD")
_CELERY: Final = ("celery", "-A", "workers.app:celery_app")

API: Final = ("gunicorn", "-c", "python:web.gunicorn_conf", "web.app:create_app()")
BEAT: Final = (*_CELERY, "beat", "-S", "redbeat.RedBeatScheduler", "--pidfile=", "-l", "WARNING")
FLOWER: Final = (*_CELERY, "flower", "--conf=monitoring/flowerconfig.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised program.

    Attributes:
        rank: programs stop from the highest to the lowest, one rank after the other.
        withheld: variables of the environment that it sees empty.
        ready: says whether it answers; without one, running is enough.
    """

    name: str
    command: tuple[str, ...]
    rank: int
    stop_wait_s: int = 15
    withheld: tuple[str, ...] = ()
    ready: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A stack as one `aether up` is to run it; `settings` carry what was chosen and generated."""

    directory: StateDirectory
    settings: Settings
    embedded: tuple[str, ...]
    ports: dict[str, int]
    workers: int = 1
    flower: bool = True

    @property
    def api_url(self) -> str:
        return f"http://{reachable(self.settings.host)}:{self.settings.port}"

    @property
    def flower_url(self) -> str:
        if not self.flower:
            return ""
        return f"http://{reachable(self.settings.flower_host)}:{self.settings.flower_port}"

    @property
    def withheld(self) -> tuple[str, ...]:
        """Variables that only a worker needs; production's checks want the key everywhere."""
        return () if self.settings.env == "production" else _KEY

    def addresses(self) -> dict[str, str]:
        """Return the settings that a command needs to reach the stack's servers."""
        found = {name: getattr(self.settings, name) for name in ADDRESSES}
        return {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name, value in found.items()
            if value
        }

    def environment(self) -> dict[str, str]:
        """Return the variables that make a child's settings equal to this stack's."""
        chosen = {
            "AETHER_REDIS_URL": self.settings.redis_url.get_secret_value(),
            "AETHER_MONGO_URL": self.settings.mongo_url.get_secret_value(),
            "AETHER_LLM_URL": self.settings.llm_url,
            "AETHER_LLM_PROVIDER": self.settings.llm_provider,
            "AETHER_JWT_SECRET": self.settings.jwt_secret.get_secret_value(),
            "AETHER_FLOWER_PASSWORD": self.settings.flower_password.get_secret_value(),
            "AETHER_WORKER_THREADS": str(self.settings.worker_threads),
        }
        if "llm" in self.embedded:
            chosen["GROQ_API_KEY"] = ""
        return chosen


def reachable(host: str) -> str:
    """Return where a server bound to `host` is reached from the same machine."""
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - not a bind
    return named.get(host, f"[{host}]" if ":" in host else host)


def embedded_programs(stack: Stack) -> list[Program]:
    """Return the parts that the settings leave to this machine."""
    build = {"redis": _redis, "mongo": _mongo, "llm": _model}
    return [build[name](stack) for name in stack.embedded]


def own_programs(stack: Stack) -> list[Program]:
    """Return Aether's own programs."""
    chat = [worker(number) for number in range(1, stack.workers + 1)]
    flower = [_flower(stack)] if stack.flower else []
    return [*chat, _upkeep(stack), _beat(stack), _api(stack), *flower]


def worker(number: int) -> Program:
    """Return one worker process, a group of its own: supervisor restarts a group as a whole."""
    # Supervisor fills the number of threads in, so that a worker that is added later has as many.
    command = worker_command(f"worker-{number}", "%(ENV_AETHER_WORKER_THREADS)s")
    return Program(name=f"worker-{number}", command=command, rank=80, stop_wait_s=DRAIN_S)


def worker_command(name: str, threads: str) -> tuple[str, ...]:
    """Return how a worker of the chat queues runs."""
    return _consumer(name, names.CHAT_QUEUES, threads)


def upkeep_command() -> tuple[str, ...]:
    """Return how the worker of the periodic tasks runs."""
    return _consumer("upkeep", (names.UPKEEP_QUEUE,), "4")


def _consumer(name: str, queues: tuple[str, ...], threads: str) -> tuple[str, ...]:
    return (
        *(*_CELERY, "worker", "-P", "threads", "-c", threads, "-Q", ",".join(queues)),
        *("-n", f"{name}@%h", "--without-gossip", "--without-mingle", "-l", "WARNING"),
    )


def _api(stack: Stack) -> Program:
    return Program(
        name="api",
        command=API,
        rank=90,
        stop_wait_s=40,
        withheld=stack.withheld,
        ready=partial(http_answers, f"{stack.api_url}/readyz"),
    )


def _upkeep(stack: Stack) -> Program:
    return Program(
        name="upkeep",
        command=upkeep_command(),
        rank=70,
        stop_wait_s=30,
        withheld=stack.withheld,
    )


def _beat(stack: Stack) -> Program:
    return Program(name="beat", command=BEAT, rank=60, withheld=stack.withheld)


def _flower(stack: Stack) -> Program:
    return Program(
        name="flower",
        command=FLOWER,
        rank=50,
        withheld=stack.withheld,
        ready=partial(http_answers, f"{stack.flower_url}/healthcheck"),
    )


def _redis(stack: Stack) -> Program:
    return Program(
        name="redis",
        command=embedded.redis_command(stack.ports["redis"], _data(stack, "redis")),
        rank=10,
        stop_wait_s=30,
        withheld=_SECRETS,
        ready=partial(redis_answers, stack.settings.redis_url.get_secret_value()),
    )


def _mongo(stack: Stack) -> Program:
    return Program(
        name="mongo",
        command=embedded.mongo_command(stack.ports["mongo"], _data(stack, "mongo")),
        rank=20,
        stop_wait_s=30,
        withheld=_SECRETS,
        ready=partial(mongo_answers, stack.settings.mongo_url.get_secret_value()),
    )


def _model(stack: Stack) -> Program:
    embedded.model_file()
    return Program(
        name="llm",
        command=(sys.executable, "-m", "ops.stack.model_server", "--port", str(stack.ports["llm"])),
        rank=30,
        withheld=_SECRETS,
        ready=partial(http_answers, f"{stack.settings.llm_url}/openai/v1/models"),
    )


def _data(stack: Stack, name: str) -> Path:
    folder = stack.directory.root / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
