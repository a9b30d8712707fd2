"""Clients of Redis and MongoDB that say of each command how long it took."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from pymongo.monitoring import CommandListener
from redis import Redis
from redis.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeout

if TYPE_CHECKING:
    from pymongo.monitoring import CommandFailedEvent, CommandStartedEvent, CommandSucceededEvent

#: Called with the system, the operation, its seconds, and whether it failed.
Observe = Callable[[str, str, float, bool], None]

#: Names of the scripts that this process has made, by what a client sends for them.
_script_names: dict[str, str] = {}
#: Commands that wait as long as they are asked to.
_WAITS: Final = frozenset({"BLPOP", "XREAD", "XREADGROUP"})
_SCRIPTS: Final = frozenset({"EVALSHA", "EVAL"})


def name_script(name: str, *sent_as: str) -> None:
    """Have a script that is sent as its SHA-1 or its text observed under its name."""
    _script_names.update(dict.fromkeys(sent_as, name))


class ObservedRedis(Redis):
    """A client whose commands are observed; a pipeline is one operation, `pipeline`.

    A script is named after its file.
    """

    observe: Observe

    def execute_command(self, *args: Any, **options: Any) -> Any:
        command = args[0]
        if command in _WAITS:
            return super().execute_command(*args, **options)  # type: ignore[no-untyped-call]
        operation = _script_names.get(args[1], "script") if command in _SCRIPTS else command.lower()
        return _timed(self.observe, operation, super().execute_command, *args, **options)

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        found = _ObservedPipeline(
            self.connection_pool, self.response_callbacks, transaction, shard_hint
        )
        found.observe = self.observe
        return found


class _ObservedPipeline(Pipeline):
    observe: Observe

    def execute(self, raise_on_error: bool = True) -> list[Any]:
        answers: list[Any] = _timed(self.observe, "pipeline", super().execute, raise_on_error)
        return answers


def _timed(
    observe: Observe, operation: str, call: Callable[..., Any], *args: Any, **options: Any
) -> Any:
    began, is_failed = time.perf_counter(), False
    try:
        return call(*args, **options)
    except (RedisConnectionError, RedisTimeout):
        # Other errors, as that of an unknown script, are answers.
        is_failed = True
        raise
    finally:
        observe("redis", operation, time.perf_counter() - began, is_failed)


class ObservedMongo(CommandListener):
    """Observes the commands of MongoDB's driver, which measures them itself."""

    def __init__(self, observe: Observe) -> None:
        self._observe = observe

    def started(self, event: CommandStartedEvent) -> None:
        """Nothing is known yet."""

    def succeeded(self, event: CommandSucceededEvent) -> None:
        self._observe("mongo", event.command_name, event.duration_micros / 1e6, False)

    def failed(self, event: CommandFailedEvent) -> None:
        self._observe("mongo", event.command_name, event.duration_micros / 1e6, True)
