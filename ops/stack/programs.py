"""The stack's programs: their commands, their order, and what each may see."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

from core.settings import SECRETS, Role, Settings, variable_of
from ops.models.choice import Choice
from ops.stack import credentials, embedded
from ops.stack.readiness import http_answers, mongo_answers, redis_answers
from ops.stack.state import StateDirectory, keep_secrets
from workers import names

EMBEDDED: Final = ("redis", "mongo", "llm")
#: Longer than any job may take, so that a worker finishes its jobs before it is killed.
DRAIN_S: Final = 150
_CELERY: Final = ("celery", "-A", "workers.app:celery_app")

API: Final = ("gunicorn", "-c", "python:web.gunicorn_conf", "web.app:create_app()")
BEAT: Final = (
    *_CELERY,
    "beat",
    "-S",
    "workers.schedule.GuardedScheduler",
    "--pidfile=",
    "-l",
    "WARNING",
)
FLOWER: Final = (*_CELERY, "flower", "--conf=monitoring/flowerconfig.py")


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """One supervised program.

    Attributes:
        rank: programs stop from the highest rank to the lowest, one rank after the other.
        withheld: variables of the environment that are empty for it.
        ready: returns whether it answers; without one, running is enough.
    """

    name: str
    command: tuple[str, ...]
    rank: int
    stop_wait_s: int = 15
    withheld: tuple[str, ...] = ()
    ready: Callable[[], bool] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """One stack; its settings hold the chosen addresses and the directory's secrets."""

    directory: StateDirectory
    settings: Settings
    embedded: tuple[str, ...]
    ports: dict[str, int]
    workers: int = 1
    flower: bool = True
    model: Choice | None = None

    @property
    def api_url(self) -> str:
        return f"http://{reachable(self.settings.host)}:{self.settings.port}"

    @property
    def flower_url(self) -> str:
        if not self.flower:
            return ""
        return f"http://{reachable(self.settings.flower_host)}:{self.settings.flower_port}"

    def environment(self) -> dict[str, str]:
        """Return the variables that make a child's settings equal to this stack's."""
        chosen = {
            "AETHER_REDIS_URL": self.settings.redis_url.get_secret_value(),
            "AETHER_MONGO_URL": self.settings.mongo_url.get_secret_value(),
            "AETHER_LLM_URL": self.settings.llm_url,
            "AETHER_LLM_PROVIDER": self.settings.llm_provider,
            "AETHER_JWT_SECRET": self.settings.jwt_secret.get_secret_value(),
            "AETHER_JWT_SECRET_PREVIOUS": self.settings.jwt_secret_previous.get_secret_value(),
            "AETHER_CACHE_SECRET": self.settings.cache_secret.get_secret_value(),
            "AETHER_FLOWER_PASSWORD": self.settings.flower_password.get_secret_value(),
            "AETHER_WORKER_THREADS": str(self.settings.worker_threads),
        }
        if self.settings.models_file is not None:
            chosen["AETHER_MODELS_FILE"] = str(self.settings.models_file)
        if "llm" in self.embedded:
            chosen["GROQ_API_KEY"] = ""
        return chosen


def withheld(role: Role | None) -> tuple[str, ...]:
    """Return the secrets' variables that are not for a role; None has no use for any."""
    return tuple(variable_of(name) for name, roles in SECRETS.items() if role not in roles)


def reachable(host: str) -> str:
    """Return where a server bound to `host` is reached from the same machine."""
    named = {"0.0.0.0": "127.0.0.1", "::": "[::1]", "": "127.0.0.1"}  # noqa: S104 - not a bind
    return named.get(host, f"[{host}]" if ":" in host else host)


def embedded_programs(stack: Stack) -> list[Program]:
    """Return the servers that no setting replaces."""
    build = {"redis": _redis, "mongo": _mongo, "llm": _model}
    return [build[name](stack) for name in stack.embedded]


def own_programs(stack: Stack) -> list[Program]:
    """Return Aether's own programs."""
    chat = [worker(number, sends_events=stack.flower) for number in range(1, stack.workers + 1)]
    flower = [_flower(stack)] if stack.flower else []
    return [*chat, _upkeep(), _beat(), _api(stack), *flower]


def worker(number: int, *, sends_events: bool = True) -> Program:
    """Return one worker process, a group of its own: supervisor restarts a group as a whole."""
    # Supervisor fills in the number of threads, so a worker that `scale` adds has as many.
    threads = "%(ENV_AETHER_WORKER_THREADS)s"
    command = worker_command(f"worker-{number}", threads, sends_events=sends_events)
    return Program(
        name=f"worker-{number}",
        command=command,
        rank=80,
        stop_wait_s=DRAIN_S,
        withheld=withheld("worker"),
    )


def worker_command(name: str, threads: str, *, sends_events: bool = True) -> tuple[str, ...]:
    """Return the command of a worker of the chat queues; Flower shows what its events say."""
    events = ("-E",) if sends_events else ()
    return (*_consumer(name, names.CHAT_QUEUES, threads), *events)


def upkeep_command() -> tuple[str, ...]:
    """Return the command of the worker of the periodic tasks."""
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
        withheld=withheld("api"),
        ready=partial(http_answers, f"{stack.api_url}/readyz"),
    )


def _upkeep() -> Program:
    return Program(
        name="upkeep",
        command=upkeep_command(),
        rank=70,
        stop_wait_s=30,
        withheld=withheld("upkeep"),
    )


def _beat() -> Program:
    return Program(name="beat", command=BEAT, rank=60, withheld=withheld("beat"))


def _flower(stack: Stack) -> Program:
    return Program(
        name="flower",
        command=FLOWER,
        rank=50,
        withheld=withheld("flower"),
        ready=partial(http_answers, f"{stack.flower_url}/healthcheck"),
    )


def _redis(stack: Stack) -> Program:
    data = _data(stack, "redis")
    users = data / "users.acl"
    credentials.write_redis_users(users, keep_secrets(stack.directory))
    return Program(
        name="redis",
        command=embedded.redis_command(stack.ports["redis"], data, users),
        rank=10,
        stop_wait_s=30,
        withheld=withheld(None),
        ready=partial(redis_answers, stack.settings.redis_url.get_secret_value()),
    )


def _mongo(stack: Stack) -> Program:
    data = _data(stack, "mongo")
    credentials.ensure_database_user(
        lambda port: embedded.mongo_command(port, data),
        data,
        keep_secrets(stack.directory)["mongo_password"],
    )
    return Program(
        name="mongo",
        command=embedded.mongo_command(stack.ports["mongo"], data, asks_password=True),
        rank=20,
        stop_wait_s=30,
        withheld=withheld(None),
        ready=partial(mongo_answers, stack.settings.mongo_url.get_secret_value()),
    )


def _model(stack: Stack) -> Program:
    embedded.model_file()
    chosen = ("--model", stack.model.path, "--alias", stack.model.model) if stack.model else ()
    server = (sys.executable, "-m", "ops.stack.model_server", "--port", str(stack.ports["llm"]))
    return Program(
        name="llm",
        command=(*server, *chosen),
        rank=30,
        withheld=withheld(None),
        ready=partial(http_answers, f"{stack.settings.llm_url}/openai/v1/models"),
    )


def _data(stack: Stack, name: str) -> Path:
    folder = stack.directory.root / name
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
