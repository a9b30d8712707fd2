"""The stream of ended jobs that are to be written to MongoDB.

An entry is removed only after its job is written, so a job may be written twice but is never lost.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from msgspec import Struct
from redis.exceptions import ResponseError

from core.events import Event
from core.ids import SHARDS, is_job_id
from core.jobs import Job
from storage import keys
from storage.event_rows import from_entries
from storage.failures import coordinator_errors
from storage.jobs.fields import UnreadableEnd
from storage.jobs.store import JobStore

if TYPE_CHECKING:
    from redis import Redis

_GROUP: Final = "upkeep"
#: One name for all readers: the next reader reads the entries of one that died again.
_CONSUMER: Final = "upkeep"
_KEPT_S: Final = 300


class Entry(Struct, frozen=True):
    """One ended job in the stream, with its question.

    Attributes:
        job: what is left of one that this version cannot read; None when its hash is gone.
    """

    shard: str
    entry_id: bytes
    job_id: str
    job: Job | UnreadableEnd | None


class RecordStream:
    """Reads ended jobs in batches and removes those that are written.

    Args:
        kept_s: how long a written job stays in Redis for its readers.
    """

    def __init__(self, redis: Redis, store: JobStore, *, kept_s: int = _KEPT_S) -> None:
        self._kept_s = kept_s
        self._redis = redis
        self._store = store

    def read(self, *, per_shard: int, wait_s: float = 0.0) -> list[Entry]:
        """Return ended jobs, first those that were read before and not let go.

        Args:
            wait_s: how long to wait for one when there is none.
        """
        found = self._entries("0", per_shard) or self._entries(">", per_shard, wait_s)
        # An entry that names no job is let go with the others.
        job_ids = [job_id for _, _, job_id in found if is_job_id(job_id)]
        jobs = dict(zip(job_ids, self._store.get_whole(job_ids), strict=True)) if job_ids else {}
        return [Entry(*row, jobs.get(row[2])) for row in found]

    def let_go(self, entries: list[Entry]) -> None:
        """Remove written entries and let their jobs expire."""
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for entry in entries:
                stream = keys.records(entry.shard)
                pipe.xack(stream, _GROUP, entry.entry_id)
                pipe.xdel(stream, entry.entry_id)
                if is_job_id(entry.job_id):
                    pipe.expire(keys.job(entry.job_id), self._kept_s)
                    pipe.expire(keys.events(entry.job_id), self._kept_s)
            pipe.execute()

    def logs(self, job_ids: Sequence[str]) -> dict[str, list[Event]]:
        """Return the logs of many jobs in one round trip; an empty one of a job without."""
        with coordinator_errors(), self._redis.pipeline(transaction=False) as pipe:
            for job_id in job_ids:
                pipe.xrange(keys.events(job_id))
            logs = pipe.execute()
        return {one: from_entries(entries) for one, entries in zip(job_ids, logs, strict=True)}

    def _entries(
        self, start: str, per_shard: int, wait_s: float = 0.0
    ) -> list[tuple[str, bytes, str]]:
        try:
            return self._read_all(start, per_shard, wait_s)
        except ResponseError as error:
            if "NOGROUP" not in str(error):
                raise
            self._make_groups()
            return self._read_all(start, per_shard, wait_s)

    def _read_all(self, start: str, per_shard: int, wait_s: float) -> list[tuple[str, bytes, str]]:
        shards = {keys.records(shard): shard for shard in SHARDS}
        streams_from: Any = dict.fromkeys(shards, start)
        with coordinator_errors():
            streams: Any = self._redis.xreadgroup(
                _GROUP,
                _CONSUMER,
                streams_from,
                count=per_shard,
                block=int(wait_s * 1000) or None,
            )
        return [
            (shards[name.decode()], entry_id, fields.get(b"id", b"").decode(errors="replace"))
            for name, entries in _pairs(streams)
            for entry_id, fields in entries
            if fields
        ]

    def _make_groups(self) -> None:
        for shard in SHARDS:
            try:
                with coordinator_errors():
                    self._redis.xgroup_create(keys.records(shard), _GROUP, id="0", mkstream=True)
            except ResponseError as error:
                if "BUSYGROUP" not in str(error):
                    raise


def _pairs(streams: Any) -> Any:
    """Return (name, entries) pairs, whichever protocol version shaped the answer."""
    return streams.items() if isinstance(streams, dict) else streams
