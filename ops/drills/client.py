"""One demo user of the API, as any client would be one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from http import HTTPStatus
from typing import Any, Final

import httpx

from core.events import JOB_SNAPSHOT

_CHAT: Final = "/api/ai/v4/chat/optimized"
_JOBS: Final = "/api/ai/v4/jobs"
#: Longer than the silence between two heartbeats of an event stream.
_SILENCE_S: Final = 20.0


class DrillUser:
    """A user, a fresh demo user unless `authorization` is one's header; any thread may use it.

    Methods raise httpx.HTTPError when the API is away or refuses, but where they say otherwise.
    """

    def __init__(self, api_url: str, authorization: str = "") -> None:
        self._http = httpx.Client(
            base_url=api_url,
            timeout=httpx.Timeout(_SILENCE_S, connect=5.0),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )
        if not authorization:
            login = self._http.post("/api/auth/demo-login").raise_for_status().json()
            authorization = f"Bearer {login['access_token']}"
        self._http.headers["Authorization"] = authorization
        self.id: str = self._http.get("/api/auth/me").raise_for_status().json()["id"]

    def close(self) -> None:
        self._http.close()

    @property
    def authorization(self) -> str:
        return self._http.headers["Authorization"]

    def submit(
        self, message: str, *, key: str, max_tokens: int, metadata: dict[str, str]
    ) -> httpx.Response:
        """Submit under an Idempotency-Key, so that a repeat is the same job; any status returns."""
        # Every job has to go all the way.
        anew = {"mode": "bypass"}
        body = {"message": message, "max_tokens": max_tokens, "metadata": metadata, "cache": anew}
        return self._http.post(_CHAT, json=body, headers={"Idempotency-Key": key})

    def job(self, job_id: str) -> dict[str, Any] | None:
        """Return the job as the API shows it; None when the API knows no such job."""
        answer = self._http.get(f"{_JOBS}/{job_id}")
        if answer.status_code == 404:
            return None
        found: dict[str, Any] = answer.raise_for_status().json()
        return found

    def cancel(self, job_id: str) -> int:
        """Ask for the job's end and return the status, whichever it is."""
        return self._http.delete(f"{_JOBS}/{job_id}").status_code

    def events(self, job_id: str, *, after: int) -> Iterator[dict[str, Any] | None]:
        """Yield the job's events above `after` as they come; None for each sign of life.

        Where the server says that the client has seen the end, a snapshot of the job is the one
        event.
        """
        headers = {"Last-Event-ID": str(after)}
        with self._http.stream("GET", f"{_JOBS}/{job_id}/events", headers=headers) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith("data:"):
                    event: dict[str, Any] = json.loads(line.removeprefix("data:"))
                    yield event
                elif line.startswith(":"):
                    yield None
        if response.status_code == HTTPStatus.NO_CONTENT:
            yield {"sequence": after, "type": JOB_SNAPSHOT, "data": self.job(job_id)}
