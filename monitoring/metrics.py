"""What this process measures, added to what all processes have measured in Redis.

| Key | Type | Lives |
|---|---|---|
| aether:metrics:total | hash, field by amount, since ever | always |
| aether:metrics:<slots>:<n> | the same of the nth slot since 1970, see `SLOTS` | as `SLOTS` says |
| aether:metrics:batch:<process> | string, the number of its last batch that was added | 1 d |

A field is `<metric>|<label>|<label>…`, and of a histogram that with `#<bucket>` for how many values
a bucket holds, and `#sum` for their sum. Amounts are whole numbers; `Family.scale` says of what.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import structlog
from msgspec import Struct
from redis.exceptions import RedisError

from core.histogram import bucket_of
from core.loops import Loop
from monitoring.families import DB_DURATION, DB_ERRORS

if TYPE_CHECKING:
    from redis import Redis

    from monitoring.families import Family

logger = structlog.get_logger(__name__)


class Slots(Struct, frozen=True):
    """Spans of one length, each counted apart: the finer, the shorter they are kept."""

    name: str
    length_s: int
    kept_s: int


#: A window is made of slots: 15 min and 1 h of the first, 24 h of the second, 7 d of the third.
SLOTS: Final = (
    Slots("1m", 60, 2 * 3600),
    Slots("10m", 600, 26 * 3600),
    Slots("2h", 7200, 8 * 24 * 3600),
)
TOTAL: Final = "aether:metrics:total"
OTHER: Final = "other"
_EVERY_S: Final = 2.0
_BATCH_LIFE_S: Final = 24 * 3600
#: More different values of a metric's labels than these count as `other`, in each process.
_MOST_SERIES: Final = 300
_MERGE: Final = (Path(__file__).parent / "merge.lua").read_text()
#: Stand for something else in the name of a field.
_RESERVED: Final = str.maketrans("|#", "__")


class Metrics:
    """Counts and histograms of this process, merged in Redis every 2 seconds; thread-safe.

    What was measured while Redis is away is added when it is back: nothing is lost and nothing
    counted twice while the process lives. What it measured in its last two seconds is lost unless
    it calls `flush`.
    """

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._merge = redis.register_script(_MERGE)
        self._lock = threading.Lock()
        self._flushing = threading.Lock()
        self._fields: dict[tuple[str, ...], str] = {}
        self._series: Counter[str] = Counter()
        self._pending: Counter[str] = Counter()
        self._batch: dict[str, int] = {}
        self._become_process()
        self.loop = Loop("metrics", self.flush, every_s=_EVERY_S)

    def count(self, family: Family, *labels: str, amount: int = 1) -> None:
        """Add to a counter; never waits for Redis.

        Args:
            labels: values in the order of `family.labels`.
        """
        with self._lock:
            self._pending[self._field(family, labels)] += amount

    def observe(self, family: Family, *labels: str, value: float) -> None:
        """Add a value to a histogram, in the unit of its name; never waits for Redis."""
        bucket = bucket_of(value)
        with self._lock:
            field = self._field(family, labels)
            self._pending[f"{field}#{bucket}"] += 1
            self._pending[f"{field}#sum"] += round(max(value, 0.0) * family.scale)

    def observe_command(self, system: str, operation: str, seconds: float, is_failed: bool) -> None:
        """Add a command of MongoDB or Redis; what their clients call."""
        self.observe(DB_DURATION, system, operation, value=seconds)
        if is_failed:
            self.count(DB_ERRORS, system, operation)

    def flush(self) -> None:
        """Add what was measured here to what all have measured.

        A batch whose answer was lost is sent again under its number, and added once.
        """
        with self._flushing:
            if self._pid != os.getpid():
                self._become_process()
            while self._take_batch():
                if not self._send_batch():
                    return
                self._batch = {}

    def _become_process(self) -> None:
        """Count under a name of one's own, as a forked child, too: the parent adds what it had."""
        self._pid = os.getpid()
        self._key = f"aether:metrics:batch:{secrets.token_hex(8)}"
        self._number = 0
        self._pending, self._batch = Counter(), {}

    def _take_batch(self) -> bool:
        if not self._batch:
            with self._lock:
                self._batch, self._pending = self._pending, Counter()
            self._number += 1
        return bool(self._batch)

    def _send_batch(self) -> bool:
        slots = (part for s in SLOTS for part in (s.name, s.length_s, s.kept_s))
        amounts = (part for pair in self._batch.items() for part in pair)
        args = (self._number, _BATCH_LIFE_S, *slots, "-", *amounts)
        try:
            self._merge(keys=[self._key, TOTAL], args=args)
        except RedisError as error:
            logger.warning("what was measured is kept until Redis takes it", error=repr(error))
            return False
        return True

    def _field(self, family: Family, labels: tuple[str, ...]) -> str:
        name = (family.name, *labels)
        found = self._fields.get(name)
        if found is None:
            self._series[family.name] += 1
            if self._series[family.name] > _MOST_SERIES:
                return "|".join((family.name, *(OTHER for _ in labels)))
            found = "|".join(part.translate(_RESERVED) for part in name)
            self._fields[name] = found
        return found
