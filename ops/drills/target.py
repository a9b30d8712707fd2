"""The running stack that a drill is run against."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import httpx
from pydantic import SecretStr

from core.settings import Settings, settings_of
from ops.stack.credentials import operator_redis_url
from ops.stack.readiness import http_answers
from ops.stack.running import supervisor_environment
from ops.stack.state import CannotRun, StateDirectory, read_record
from ops.stack.supervisor import RUNNING, Supervisor
from storage.connections import mongo_database, redis_client

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

_STUB_TIMEOUT_S: Final = 2.0


@dataclass(frozen=True, slots=True)
class Target:
    """A stack under a drill.

    Attributes:
        settings: as the stack's own processes have them.
        stub_url: where the stub upstream answers; empty when a real model does.
        is_own: it was started for the drill, so nobody else is harmed.
    """

    directory: StateDirectory
    settings: Settings
    api_url: str
    stub_url: str
    is_own: bool

    @property
    def supervisor(self) -> Supervisor:
        return Supervisor(self.directory.socket)

    @property
    def redis_url(self) -> str:
        """Where an operator reaches the coordinating Redis."""
        return operator_redis_url(self.settings, self.directory)

    def pids(self) -> dict[str, int]:
        """Return the pid of each program that runs."""
        found = self.supervisor.processes()
        return {process.name: process.pid for process in found if process.state == RUNNING}

    def is_ready(self) -> bool:
        return http_answers(f"{self.api_url}/readyz")

    def is_whole(self) -> bool:
        """Say whether every program runs and the API is ready."""
        states = {process.state for process in self.supervisor.processes()}
        return states == {RUNNING} and self.is_ready()

    def reset_upstream(self) -> None:
        """Let the stub upstream, if it is one, count from zero."""
        if self.stub_url:
            url = f"{self.stub_url}/stub/reset"
            httpx.post(url, timeout=_STUB_TIMEOUT_S, trust_env=False).raise_for_status()

    def upstream(self) -> dict[str, Any]:
        """Return what the stub upstream has counted since its reset.

        Raises:
            httpx.HTTPError: it does not answer.
        """
        answer = httpx.get(f"{self.stub_url}/stub/stats", timeout=_STUB_TIMEOUT_S, trust_env=False)
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    @contextmanager
    def redis(self) -> Iterator[Redis]:
        """Open the coordinating Redis as its operator, who may break it."""
        as_operator = self.settings.model_copy(update={"redis_url": SecretStr(self.redis_url)})
        client = redis_client(as_operator, name="aether-drill", answer_timeout_s=5.0)
        try:
            yield client
        finally:
            client.connection_pool.disconnect()

    @contextmanager
    def database(self) -> Iterator[Database[dict[str, Any]]]:
        database = mongo_database(self.settings)
        try:
            yield database
        finally:
            database.client.close()


def find_target(directory: StateDirectory, *, is_own: bool) -> Target:
    """Return the stack that runs in `directory`, with the settings its supervisor was given.

    Raises:
        CannotRun: none runs there.
    """
    environment = supervisor_environment(directory)
    if environment is None:
        raise CannotRun(f"No stack runs in {directory.root}; start one with `aether up`.")
    settings = settings_of(environment)
    return Target(
        directory=directory,
        settings=settings,
        api_url=read_record(directory).api_url,
        stub_url=settings.llm_url if http_answers(f"{settings.llm_url}/stub/stats") else "",
        is_own=is_own,
    )
