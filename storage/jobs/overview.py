"""Who waits and who runs, for operators: by queue and by user."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct

from core.timing import now_ms
from storage import keys
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis

KINDS: Final = ("finish", "agent", "quick", "run")
#: As in `storage/lua/lines.lua`: a unit's score is its rank times this, and its job's number,
#: which is the time of its accept in ms times 256 and a count.
_RANK: Final = 2**49
_RANKS: Final = 13


class Line(Struct, frozen=True):
    """How much waits and runs somewhere, and since when the oldest waits.

    Attributes:
        name: a kind of work, or a user's id.
        oldest_s: since the accept of the oldest job that waits; None where nothing waits.
    """

    name: str
    waiting: int
    running: int
    oldest_s: float | None


class Overview:
    """Reads the lines; raises CoordinatorUnavailable when Redis is away."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    def waiting(self) -> dict[str, int]:
        """Return how many units of each kind wait in lines."""
        with coordinator_errors():
            found: Any = self._redis.hgetall(f"{keys.LINES}waiting")
        counts = Counter(dict.fromkeys(KINDS, 0))
        for lane, count in found.items():
            counts[_kind_of(lane.decode())] += int(count)
        return dict(counts)

    def lines(self) -> tuple[list[Line], list[Line]]:
        """Return what waits and runs by kind, and by user, those first of whom the most waits."""
        waits = list(self._waits())
        running = list(self._running())
        by_kind = _summed(
            KINDS, [(kind, count, oldest) for kind, _, count, oldest in waits], _firsts(running)
        )
        users = {user for _, user, *_ in waits} | {user for _, user in running}
        by_user = _summed(
            sorted(users),
            [(user, count, oldest) for _, user, count, oldest in waits],
            Counter(user for _, user in running),
        )
        return by_kind, sorted(by_user, key=lambda line: -line.waiting)

    def _waits(self) -> Iterator[tuple[str, str, int, float]]:
        """Yield of each line that is not empty: kind, user, length, seconds of the oldest."""
        with coordinator_errors():
            members: Any = self._redis.smembers(f"{keys.LINES}all")
            lines = [member.decode().split(" ", 2) for member in members]
            with self._redis.pipeline(transaction=False) as pipe:
                for line in lines:
                    name = f"{keys.LINES}units:{':'.join(line)}"
                    pipe.zcard(name)
                    for rank in range(_RANKS):
                        low, high = rank * _RANK, f"({(rank + 1) * _RANK}"
                        pipe.zrangebyscore(name, low, high, start=0, num=1, withscores=True)
                answers: list[Any] = pipe.execute()
        now = now_ms()
        for number, (lane, user, _) in enumerate(lines):
            count, *firsts = answers[number * (_RANKS + 1) : (number + 1) * (_RANKS + 1)]
            taken_in = [int(row[0][1]) % _RANK / 256 for row in firsts if row]
            if taken_in:
                yield _kind_of(lane), user, count, (now - min(taken_in)) / 1000

    def _running(self) -> Iterator[tuple[str, str]]:
        """Yield kind and user of each unit that a live worker holds."""
        prefix = f"{keys.LINES}running:"
        with coordinator_errors():
            names = [name.decode() for name in self._redis.scan_iter(f"{prefix}*", count=1000)]
            with self._redis.pipeline(transaction=False) as pipe:
                for name in names:
                    pipe.zrangebyscore(name, now_ms(), "+inf")
                held = pipe.execute()
            units = [
                (unit.decode(), name.removeprefix(prefix))
                for name, found in zip(names, held, strict=True)
                for unit in found
            ]
            with self._redis.pipeline(transaction=False) as pipe:
                for unit, _ in units:
                    pipe.hget(keys.job(unit.partition("/")[0]), "line")
                texts = pipe.execute()
        for (unit, user), text in zip(units, texts, strict=True):
            yield _kind_of_unit(unit, text), user


def _kind_of(lane: str) -> str:
    return lane.split(":", 2)[1]


def _kind_of_unit(unit: str, line: bytes | None) -> str:
    if "/" in unit:
        return "finish" if unit.endswith(".end") else "agent"
    return "run" if line is None else line.decode().split(" ")[4]


def _firsts(running: Iterable[tuple[str, str]]) -> Counter[str]:
    return Counter(kind for kind, _ in running)


def _summed(
    names: Iterable[str], waits: Iterable[tuple[str, int, float]], running: Counter[str]
) -> list[Line]:
    found = list(waits)
    return [
        Line(
            name,
            sum(count for own, count, _ in found if own == name),
            running[name],
            max((oldest for own, _, oldest in found if own == name), default=None),
        )
        for name in names
    ]
