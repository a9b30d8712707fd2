"""Runs the Lua scripts of `storage/lua/`, each with the shared prelude in front."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from redis.exceptions import NoScriptError

from storage.failures import coordinator_errors
from storage.observed import name_script

if TYPE_CHECKING:
    from redis import Redis

_FOLDER: Final = Path(__file__).parent / "lua"
#: What stands in front of the scripts that move work into lines or out of them.
WITH_LINES: Final = ("prelude", "lines")
#: In front of those that move money, that count what a user submits, and that do all of it.
WITH_MONEY: Final = ("prelude", "money")
WITH_LIMITS: Final = ("prelude", "limits")
WITH_ALL: Final = ("prelude", "lines", "limits", "money")


class Script:
    """One named script bound to a client; raises CoordinatorUnavailable when Redis is away.

    redis-py's own script object asks before each pipeline whether the server knows the script; that
    round trip is saved here.

    Args:
        name: of the file without its ending.
        behind: files whose text is loaded in front of it.
    """

    def __init__(self, redis: Redis, name: str, *, behind: Sequence[str] = ("prelude",)) -> None:
        self._redis = redis
        self._text = "".join((_FOLDER / f"{part}.lua").read_text() for part in (*behind, name))
        self._sha = hashlib.sha1(self._text.encode(), usedforsecurity=False).hexdigest()
        name_script(name, self._sha, self._text)

    def run(self, keys: Sequence[str], args: Sequence[Any]) -> Any:
        """Run the script and return its answer; the whole of it happens, or nothing."""
        with coordinator_errors():
            try:
                return self._redis.evalsha(self._sha, len(keys), *keys, *args)
            except NoScriptError:
                return self._redis.eval(self._text, len(keys), *keys, *args)

    def run_many(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        """Run the script once per (keys, args), in one round trip."""
        with coordinator_errors():
            try:
                return self._pipeline(calls)
            except NoScriptError:
                # An unknown script fails in every call of the pipeline, so nothing has run yet.
                self._redis.script_load(self._text)
                return self._pipeline(calls)

    def _pipeline(self, calls: Sequence[tuple[Sequence[str], Sequence[Any]]]) -> list[Any]:
        with self._redis.pipeline(transaction=False) as pipe:
            for keys, args in calls:
                pipe.evalsha(self._sha, len(keys), *keys, *args)
            return pipe.execute()
