"""pytest-celery's nodes over child processes, where the plug-in itself would run containers."""

from __future__ import annotations

from typing import Any

from pymongo.database import Database
from redis import Redis

from core.jobs import Job, JobSpec, JobStatus
from ops.stack.own import Child
from storage.jobs.lines import Lines
from storage.records.jobs import JobRecords
from tests.acceptance import AcceptingStore
from tests.jobs import QUESTION, ROOMY, make_spec
from tests.services import wait_until


class ProcessContainer:
    """What a node asks of its container, done with a child process."""

    def __init__(self, name: str, server: Child) -> None:
        self.name = name
        self._server = server

    @property
    def id(self) -> str:
        return str(self._server.process.pid)

    @property
    def status(self) -> str:
        return "running" if self._server.process.poll() is None else "exited"

    @property
    def celeryconfig(self) -> dict[str, Any]:
        return {"url": self._server.url, "host_url": self._server.url}

    def ready(self) -> bool:
        return self._server.answers

    def logs(self) -> str:
        return self._server.log.read_text()

    def kill(self, signal: str | int) -> None:
        """End it as a crash would, whatever the signal."""
        self._server.kill()

    def restart(self, timeout: float) -> None:
        self._server.restart()

    def reload(self) -> None:
        """Do nothing: a process's state is never a copy."""

    def teardown(self) -> None:
        self._server.stop()


class Jobs:
    """Accepts jobs as the API does, and reads how they end."""

    def __init__(self, redis: Redis, database: Database[dict[str, Any]]) -> None:
        self._store, self._lines = AcceptingStore(redis), Lines(redis, lease_s=15)
        self._records = JobRecords(database)

    def accept(self) -> JobSpec:
        spec = make_spec()
        self._store.accept(spec, QUESTION, ROOMY, None)
        self._records.insert(Job(spec=spec, question=QUESTION, status=JobStatus.QUEUED, cursor=1))
        self._lines.enter([spec])
        return spec

    def end_of(self, spec: JobSpec) -> Job:
        """Wait until the job has ended."""

        def has_ended() -> bool:
            job = self._store.get(spec.id)
            return job is not None and job.is_terminal

        wait_until(has_ended, 60, f"the end of {spec.id}")
        job = self._store.get(spec.id)
        assert job is not None
        return job
