"""What calls came to, kept in Redis: per user and model, and per model for all."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from core.errors import CoordinatorUnavailable
from core.lessons import NOTHING_LEARNED, CallSample, Lesson, to_lesson
from core.loops import Loop
from storage import keys
from storage.failures import coordinator_errors
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

_KEPT_S: Final = 30 * 24 * 3600
#: How long a process goes by what it last read of all users, in seconds.
_READ_EVERY_S: Final = 10.0
_FLUSH_EVERY_S: Final = 2.0
#: Of one user and model in one flush; more teach nothing new.
_MOST_SAMPLES: Final = 50


class Lessons:
    """Gathers calls and keeps them now and then; what a process had gathered when it died is lost.

    Args:
        models: ids of the catalogue's models.
    """

    def __init__(
        self, redis: Redis, models: Iterable[str], *, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._redis = redis
        self._models = tuple(models)
        self._learn = Script(redis, "learn")
        self._clock = clock
        self._lock = threading.Lock()
        self._samples: list[CallSample] = []
        self._of_all: dict[str, Lesson] = {}
        self._read_at = float("-inf")
        self.loop = Loop("lessons", self.flush, every_s=_FLUSH_EVERY_S)

    def add(self, sample: CallSample) -> None:
        """Gather one call; `flush` keeps it."""
        with self._lock:
            self._samples.append(sample)

    def flush(self) -> None:
        """Keep what was gathered, in one round trip.

        Raises:
            CoordinatorUnavailable: Redis is away; what was gathered is lost.
        """
        with self._lock:
            samples, self._samples = self._samples, []
        if samples:
            self._learn.run_many(list(_to_calls(samples)))

    def of_all(self, model: str) -> Lesson:
        """Return what all users' calls of the model came to, as of ten seconds ago at most.

        While Redis is away it is what was read last.
        """
        now = self._clock()
        if now - self._read_at >= _READ_EVERY_S:
            self._read_at = now
            with suppress(CoordinatorUnavailable):
                self._read()
        return self._of_all.get(model, NOTHING_LEARNED)

    def _read(self) -> None:
        with coordinator_errors():
            found: Any = self._redis.hmget(keys.LEARNED, self._models)
        self._of_all = dict(zip(self._models, map(to_lesson, found), strict=True))


def _to_calls(samples: Iterable[CallSample]) -> Iterable[tuple[list[str], list[Any]]]:
    gathered: dict[tuple[str, str], list[CallSample]] = defaultdict(list)
    for sample in samples:
        gathered[keys.LEARNED, sample.model].append(sample)
        gathered[keys.learned_of_user(sample.user_id), sample.model].append(sample)
    for (name, model), own in gathered.items():
        numbers = [
            number
            for sample in own[-_MOST_SAMPLES:]
            for number in (
                sample.prompt_chars,
                sample.input_tokens,
                sample.text_chars,
                sample.text_tokens,
                sample.hidden_tokens,
            )
        ]
        yield [name], [model, _KEPT_S, *numbers]
