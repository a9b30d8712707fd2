"""The checks of Redis: what scripts, streams, channels and the queue need of it."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoPermissionError, ResponseError

import storage
from ops.doctor.checks import Check, Missing, Weak

if TYPE_CHECKING:
    from redis import Redis

_LUA: Final = Path(storage.__file__).parent / "lua"
_KEY: Final = "aether:doctor"
_OLDEST: Final = (6, 2)
_MOST_CLOCK_SKEW_S: Final = 2.0
_SLOW_S: Final = 0.05
#: How versions say that a user may not call a command within a script.
_NO_RIGHT: Final = ("NOPERM", "can't run this command", "ACL failure in script")


def script_commands() -> set[str]:
    """Return the commands that the scripts call, as their texts name them."""
    texts = (path.read_text() for path in _LUA.glob("*.lua"))
    return {name for text in texts for name in re.findall(r"redis\.call\('(\w+)'", text)}


def redis_checks(redis: Redis) -> Iterator[Check]:
    """Yield the checks of the coordinating Redis."""
    for run in (_version, _clock, _latency, _keeps, _memory, _scripts, _streams, _channels, _waits):
        yield Check("redis", partial(run, redis))


def _version(redis: Redis) -> str:
    found = str(_info(redis, "server")["redis_version"])
    if tuple(int(part) for part in found.split(".")[:2]) < _OLDEST:
        raise Missing(f"Redis is {found}; streams and scripts need 6.2 or newer.")
    return f"Redis {found} answers."


def _clock(redis: Redis) -> str:
    seconds, micros = redis.time()
    skew_s = abs(seconds + micros / 1e6 - time.time())
    if skew_s > _MOST_CLOCK_SKEW_S:
        raise Weak(f"Redis' clock differs by {skew_s:.1f} s; run NTP on both machines.")
    return "Its clock agrees."


def _latency(redis: Redis) -> str:
    began_s = time.monotonic()
    for _ in range(10):
        redis.ping()
    each_s = (time.monotonic() - began_s) / 10
    if each_s > _SLOW_S:
        raise Weak(f"A command takes {each_s * 1000:.0f} ms; a job needs about twenty.")
    return f"A command takes {each_s * 1000:.1f} ms."


def _keeps(redis: Redis) -> str:
    if not int(_info(redis, "persistence")["aof_enabled"]):
        raise Missing(
            "Redis keeps no append-only file; set `appendonly yes`, or a restart loses jobs."
        )
    return "It keeps an append-only file."


def _memory(redis: Redis) -> str:
    found = _info(redis, "memory")
    if found["maxmemory_policy"] != "noeviction":
        raise Missing(
            f"Redis evicts by {found['maxmemory_policy']}; set `maxmemory-policy noeviction`, or "
            "it forgets jobs when it is full."
        )
    if not int(found["maxmemory"]):
        raise Weak(
            "Redis has no `maxmemory`; the kernel ends it when the machine's memory is gone."
        )
    return "It has a bound of memory and evicts nothing."


def _scripts(redis: Redis) -> str:
    script = "return redis.call('TIME')[1]"
    redis.evalsha(redis.script_load(script), 0)
    known: Any = redis.command()
    arities = {name: known[name.lower()]["arity"] for name in script_commands()}
    refused = [name for name, arity in sorted(arities.items()) if not _may(redis, name, arity)]
    redis.delete(_KEY)
    if refused:
        raise Missing(f"The user of AETHER_REDIS_URL may not call {', '.join(refused)}.")
    return f"Scripts run, with their {len(script_commands())} commands."


def _may(redis: Redis, command: str, arity: int) -> bool:
    """Call a command within a script on a key of nobody's; Redis checks arguments before rights."""
    arguments = ", ".join([f"'{_KEY}'"] * (abs(arity) - 1))
    call = f"redis.call('{command}'{', ' if arguments else ''}{arguments})"
    try:
        redis.eval(call, 0)
    except NoPermissionError:
        return False
    except ResponseError as error:
        return not any(words in str(error) for words in _NO_RIGHT)
    return True


def _streams(redis: Redis) -> str:
    key = f"{_KEY}:stream"
    try:
        redis.xadd(key, {"a": "b"})
        redis.xgroup_create(key, "doctor", id="0")
        redis.xreadgroup("doctor", "doctor", {key: ">"}, count=1)
    finally:
        redis.delete(key)
    return "Streams and their groups work."


def _channels(redis: Redis) -> str:
    with redis.pubsub() as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(_KEY)
        pubsub.get_message(timeout=2.0)
        redis.publish(_KEY, "hello")
        message = pubsub.get_message(timeout=2.0)
    if not message or message.get("data") != b"hello":
        raise Missing("A published message did not arrive within 2 s.")
    return "Channels work."


def _waits(redis: Redis) -> str:
    key = f"{_KEY}:list"
    redis.lpush(key, "a")
    with redis.pipeline(transaction=True) as pipe:
        pipe.rpush(key, "b")
        pipe.lpop(key)
        pipe.execute()
    redis.blpop([key], timeout=1)
    redis.delete(key)
    return "Lists, blocking reads and transactions work."


def _info(redis: Redis, section: str) -> dict[str, Any]:
    found: Any = redis.info(section)
    return dict(found)
