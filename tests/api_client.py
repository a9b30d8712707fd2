"""The API's client as tests use it: a fresh user, and what fails a test where it must not fail."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from core.events import answer_text
from core.jobs import TERMINAL
from core.public import JOBS_PATH
from ops import client
from tests.services import wait_until

CHAT = client.CHAT_PATH
JOBS = JOBS_PATH
__all__ = ["CHAT", "JOBS", "TERMINAL", "ApiClient", "read_events", "text_of"]


class ApiClient(client.ApiClient):
    """A fresh demo user's client."""

    def __init__(self, url: str) -> None:
        # Longer than any wait that the API grants.
        super().__init__(url, timeout_s=75)
        self.demo_login()

    def ask(self, message: str, **fields: Any) -> dict[str, Any]:
        """Submit and return the finished job."""
        answer = self.submit(message, headers={"Prefer": "wait=60"}, **fields)
        assert answer.status_code == 200, answer.text
        return client.checked(answer)

    def job(self, job_id: str, **query: Any) -> dict[str, Any]:
        """Return the job; asks again while the API cannot answer."""
        found: list[dict[str, Any]] = []

        def has_answered() -> bool:
            try:
                found.append(super(ApiClient, self).job(job_id, **query))
            except client.ClientError as error:
                if not error.is_transient:
                    raise
            return bool(found)

        wait_until(has_answered, 30, f"the API's answer about {job_id}")
        return found[0]

    def end_of(self, job_id: str, timeout_s: float = 60) -> dict[str, Any]:
        """Poll until the job has ended."""
        wait_until(
            lambda: self.job(job_id, wait=5)["status"] in TERMINAL,
            timeout_s,
            f"the end of {job_id}",
        )
        return self.job(job_id)

    def events(
        self,
        job_id: str,
        *,
        after: int = 0,
        stop_after: int | None = None,
        stop_at: str = "",
        **query: Any,
    ) -> list[dict[str, Any]]:
        """Read the stream from behind `after` to its end.

        It is dropped after `stop_after` events, or at the first of the type `stop_at`.
        """
        seen: list[dict[str, Any]] = []
        for event in self.stream(job_id, after=after, **query):
            seen += [event] if event else []
            if event and (len(seen) == stop_after or event["type"] == stop_at):
                break
        return seen


def read_events(lines: Iterable[str]) -> Iterator[dict[str, Any]]:
    """Decode server-sent events and leave out heartbeats."""
    return (event for event in client.read_events(lines) if event)


def text_of(events: Iterable[dict[str, Any]]) -> str:
    """Return the answer that public events add up to."""
    return answer_text((event["type"], event["data"]) for event in events)
