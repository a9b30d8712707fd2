"""One check's result, and the way in which checks are run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

Level = Literal["ok", "warn", "FAIL"]
#: A check that raises one of these has failed by it; anything else is a bug.
Fault = type[Exception]


@dataclass(frozen=True, slots=True)
class Result:
    """What one check found; `text` says what is missing and how to get it."""

    area: str
    level: Level
    text: str


class Missing(Exception):
    """What a check looked for is not there; the text says what, and how to get it."""


class Weak(Exception):
    """It works, and an operator should know something about it."""


@dataclass(frozen=True, slots=True)
class Check:
    """One question; `run` returns what was found, or raises Missing or Weak."""

    area: str
    run: Callable[[], str]


#: What to look at when a server does not do what was asked.
_HINTS: Final = {
    "redis": "AETHER_REDIS_URL, its password and TLS",
    "broker": "AETHER_BROKER_URL, its password and TLS",
    "mongodb": "AETHER_MONGO_URL, its password and TLS",
}


def run_checks(checks: Iterable[Check], faults: tuple[Fault, ...]) -> Iterator[Result]:
    """Yield each check's result; after a driver's error the rest of its area is left out.

    Args:
        faults: the drivers' errors.
    """
    broken: set[str] = set()
    for check in checks:
        if check.area in broken:
            continue
        try:
            yield Result(check.area, "ok", check.run())
        except Weak as weak:
            yield Result(check.area, "warn", str(weak))
        except Missing as missing:
            yield Result(check.area, "FAIL", str(missing))
        except faults as error:
            broken.add(check.area)
            # Without its text: a driver's may hold an address with its password.
            name = type(error.__cause__ or error).__name__
            hint = _HINTS.get(check.area, "what is set for it")
            text = f"It does not do what Aether needs ({name}); look at {hint}."
            yield Result(check.area, "FAIL", text)
