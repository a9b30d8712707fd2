"""Writing ended jobs to MongoDB."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from core.jobs import Job
from storage.jobs.fields import UnreadableEnd
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream

_PER_SHARD: Final = 100
#: Jobs whose events are in memory at a time; those of a very long answer take megabytes.
_AT_ONCE: Final = 64


class RecordWriter:
    """Moves ended jobs from the stream in Redis to their records in MongoDB.

    Args:
        on_written: gets the jobs whose ends are on record now, each once.
    """

    def __init__(
        self,
        stream: RecordStream,
        records: JobRecords,
        *,
        on_written: Callable[[Sequence[Job]], None] | None = None,
    ) -> None:
        self._stream = stream
        self._records = records
        self._on_written = on_written

    def run(self, *, wait_s: float = 0.0) -> None:
        """Write ended jobs until none is left; what fails stays for the next run.

        Args:
            wait_s: how long to wait for the first one.

        What cannot be stored or read is set aside, so that no record waits for another.

        Raises:
            CoordinatorUnavailable, StoreUnavailable: Redis or MongoDB is away.
        """
        while entries := self._stream.read(per_shard=_PER_SHARD, wait_s=wait_s):
            wait_s = 0.0
            jobs = [entry.job for entry in entries if isinstance(entry.job, Job)]
            for start in range(0, len(jobs), _AT_ONCE):
                some = jobs[start : start + _AT_ONCE]
                self._records.write_finished(some, self._stream.logs([job.id for job in some]))
            for entry in entries:
                if isinstance(entry.job, UnreadableEnd):
                    self._records.set_unreadable_aside(entry.job_id, entry.job)
            # Let go only after the write: an entry may be written twice, but never lost.
            self._stream.let_go(entries)
            if self._on_written is not None:
                self._on_written(jobs)
