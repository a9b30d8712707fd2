"""Speaks to a running API as one user."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx

from core.events import answer_text
from tests.services import wait_until

TERMINAL = {"completed", "failed", "cancelled", "incomplete"}
CHAT = "/api/ai/v4/chat"
JOBS = "/api/ai/v4/jobs"


class ApiClient:
    """The client of a user, a fresh demo user unless `authorization` is one's header.

    `http` is there for what has no method.
    """

    def __init__(self, url: str, authorization: str = "") -> None:
        self.http = httpx.Client(base_url=url, timeout=60)
        if not authorization:
            login = self.http.post("/api/auth/demo-login").raise_for_status().json()
            authorization = f"Bearer {login['access_token']}"
        self.http.headers["Authorization"] = authorization

    def close(self) -> None:
        self.http.close()

    def submit(
        self,
        message: str,
        *,
        path: str = "optimized",
        headers: dict[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        return self.http.post(
            f"{CHAT}/{path}", json={"message": message, **fields}, headers=headers or {}
        )

    def ask(self, message: str, **fields: Any) -> dict[str, Any]:
        """Submit and return the finished job."""
        answer = self.submit(message, headers={"Prefer": "wait=60"}, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()

    def job(self, job_id: str, **query: Any) -> dict[str, Any]:
        return self.http.get(f"{JOBS}/{job_id}", params=query).raise_for_status().json()

    def end_of(self, job_id: str, timeout_s: float = 60) -> dict[str, Any]:
        """Poll until the job has ended."""
        wait_until(
            lambda: self.job(job_id, wait=5)["status"] in TERMINAL,
            timeout_s,
            f"the end of {job_id}",
        )
        return self.job(job_id)

    def cancel(self, job_id: str) -> httpx.Response:
        return self.http.delete(f"{JOBS}/{job_id}")

    def events(
        self,
        job_id: str,
        *,
        after: int | None = None,
        stop_after: int | None = None,
        stop_at: str = "",
        **query: Any,
    ) -> list[dict[str, Any]]:
        """Read the stream from behind `after` to its end.

        It is dropped after `stop_after` events, or at the first of the type `stop_at`.
        """
        headers = {} if after is None else {"Last-Event-ID": str(after)}
        path = f"{JOBS}/{job_id}/events"
        with self.http.stream("GET", path, headers=headers, params=query) as response:
            response.raise_for_status()
            seen = []
            for event in read_events(response.iter_lines()):
                seen.append(event)
                if len(seen) == stop_after or event["type"] == stop_at:
                    break
            return seen


def read_events(lines: Iterator[str]) -> Iterator[dict[str, Any]]:
    """Decode server-sent events; the frame's id and name have to agree with its body."""
    frame: dict[str, str] = {}
    for line in lines:
        if not line and "data" in frame:
            event = json.loads(frame["data"])
            assert (frame["id"], frame["event"]) == (str(event["sequence"]), event["type"])
            yield event
        if not line:
            frame = {}
        elif not line.startswith(":"):
            name, _, value = line.partition(": ")
            frame[name] = value


def text_of(events: list[dict[str, Any]]) -> str:
    """Return the answer that the events add up to."""
    return answer_text((event["type"], event["data"]) for event in events)
