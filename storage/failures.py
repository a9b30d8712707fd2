"""Map the drivers' errors to ours, so that no caller above storage knows a driver."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Final

import pymongo
from pymongo.errors import PyMongoError
from redis.exceptions import ConnectionError, ResponseError, TimeoutError

from core.errors import CoordinatorUnavailable, StoreUnavailable

#: Error codes of Redis that blame its state or an operator's change, not the command.
_REFUSALS: Final = frozenset(
    {
        *("BUSY", "CLUSTERDOWN", "DENIED", "LOADING", "MASTERDOWN", "MISCONF", "NOAUTH"),
        *("NOMASTERLINK", "NOPERM", "NOREPLICAS", "OOM", "READONLY", "REDIRECT", "TRYAGAIN"),
        *("UNBLOCKED", "WRONGPASS"),
    }
)
#: redis-py's words in front of what a pipeline's command was answered; they quote its arguments.
_PIPELINE: Final = re.compile(r"Command # \d+ \(.*\) of pipeline caused error: ", re.DOTALL)
#: What stands before the code: Redis 6.2 wraps a command's error within a script, EXEC likewise.
_WRAPPED: Final = re.compile(
    r"Error running script \(call to \w+\): (?:@\w+: ?\d+: )*-?"
    r"|Transaction discarded because of: -?"
)
#: Errors that have no code of their own, by how they begin.
_SENTENCES: Final = {
    "ACL failure in script": "NOPERM",
    "The user executing the script can't": "NOPERM",
    "Script killed by user": "KILLED",
    "max number of clients": "MAXCLIENTS",
}


class RedisRefusal(Exception):
    """Redis is there and refuses; the message is the kind, as in `OOM`, without any content."""


@contextmanager
def coordinator_errors() -> Iterator[None]:
    """Raise CoordinatorUnavailable when Redis cannot serve now; a wrong command stays a bug."""
    try:
        yield
    except (ConnectionError, TimeoutError) as error:
        raise CoordinatorUnavailable from error
    except ResponseError as error:
        kind = refusal_of(error)
        if kind is None:
            raise
        # Not the driver's error: within a pipeline it quotes the arguments, which are content.
        raise CoordinatorUnavailable from RedisRefusal(kind)


def refusal_of(error: ResponseError) -> str | None:
    """Return why Redis cannot serve now, such as `OOM`; None when the command itself is wrong.

    The same for a command alone, in a pipeline, in a transaction and within a script, as Redis 6.2
    says it (`Error running script …: -OOM`) and as later ones do.
    """
    if error.status_code in _REFUSALS:
        return error.status_code
    text = _PIPELINE.sub("", str(error), count=1)
    text = _WRAPPED.sub("", text, count=1) if _WRAPPED.match(text) else text
    code = text.partition(" ")[0]
    if code in _REFUSALS:
        return code
    return next((kind for start, kind in _SENTENCES.items() if text.startswith(start)), None)


@contextmanager
def store_errors(*, within_s: float | None = None) -> Iterator[None]:
    """Raise StoreUnavailable for any failure of the MongoDB driver.

    Args:
        within_s: limit for all of the block's calls together, which also holds for a server that
            took a call and does not answer; None leaves it to the client's own limits.
    """
    try:
        with pymongo.timeout(within_s) if within_s else nullcontext():
            yield
    except PyMongoError as error:
        raise StoreUnavailable from error
