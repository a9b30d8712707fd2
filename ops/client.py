"""One question to several agents over HTTP, followed to its end."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, Self

import httpx

from ops.cli.lanes import SNAPSHOT, is_last

_JOBS: Final = "/api/ai/v4/jobs"
#: Longest silence of the event stream; it sends a heartbeat every 10 s.
_SILENCE_S: Final = 30.0
#: How long a broken stream is resumed in vain.
_PATIENCE_S: Final = 60.0
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 2.0
#: How long a cancelled job is waited for.
_CANCELLED_WITHIN_S: Final = 15.0


class AskFailed(Exception):
    """The server was not reached or refused; the message is a sentence for who asked.

    Attributes:
        status: what the server answered; None when no answer came.
    """

    def __init__(self, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status

    @property
    def may_pass(self) -> bool:
        return self.status is None or self.status >= 500 or self.status == 429


class ChatApi:
    """The API as one user sees it; without a token, as a fresh demo user.

    Every method raises `AskFailed`.
    """

    def __init__(self, url: str, token: str | None) -> None:
        self._url = url
        self._http = httpx.Client(
            base_url=url, timeout=httpx.Timeout(_SILENCE_S, connect=5.0), trust_env=False
        )
        access = token or self._call("POST", "/api/auth/demo-login")["access_token"]
        self._http.headers["Authorization"] = f"Bearer {access}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._http.close()

    def submit(self, message: str, agents: list[str] | None, strategy: str) -> str:
        """Submit the question and return the job's id; None lets relevance choose the agents."""
        body = {"message": message, "agents": agents or "auto", "strategy": strategy}
        job_id: str = self._call("POST", "/api/ai/v4/chat/multi-agent", json=body)["id"]
        return job_id

    def job(self, job_id: str, *, wait_s: float = 0) -> dict[str, Any]:
        return self._call("GET", f"{_JOBS}/{job_id}", params={"wait": wait_s})

    def cancel(self, job_id: str) -> dict[str, Any]:
        """Ask for the job's end and return the job as it is then, or as it had ended before."""
        try:
            self._call("DELETE", f"{_JOBS}/{job_id}")
        except AskFailed as error:
            if error.status != HTTPStatus.CONFLICT:
                raise
        return self.job(job_id, wait_s=_CANCELLED_WITHIN_S)

    def events(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Yield the job's events up to the last; a stream that breaks is taken up again."""
        cursor, heard_s, wait_s = 0, time.monotonic(), _FIRST_WAIT_S
        while True:
            try:
                for event in self._stream(job_id, cursor):
                    heard_s, wait_s = time.monotonic(), _FIRST_WAIT_S
                    if event is not None:
                        cursor = event["sequence"]
                        yield event
                        if is_last(event):
                            return
            except AskFailed as error:
                if not error.may_pass:
                    raise
            if time.monotonic() - heard_s > _PATIENCE_S:
                raise AskFailed(f"{self._url} tells nothing of {job_id} any more; it may go on.")
            time.sleep(wait_s)
            wait_s = min(2 * wait_s, _LONGEST_WAIT_S)

    def _stream(self, job_id: str, after: int) -> Iterator[dict[str, Any] | None]:
        """Yield events above `after` until the stream breaks; None for each sign of life."""
        headers = {"Last-Event-ID": str(after)}
        with (
            self._errors(),
            self._http.stream("GET", f"{_JOBS}/{job_id}/events", headers=headers) as response,
        ):
            if not response.is_success:
                response.read()
                raise _refusal(response)
            for line in response.iter_lines():
                if line.startswith("data:"):
                    yield json.loads(line.removeprefix("data:"))
                elif line.startswith(":"):
                    yield None
        if response.status_code == HTTPStatus.NO_CONTENT:
            yield {"sequence": after, "type": SNAPSHOT, "data": self.job(job_id)}

    def _call(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        with self._errors():
            response = self._http.request(method, path, **request)
            if not response.is_success:
                raise _refusal(response)
            answer: dict[str, Any] = response.json()
            return answer

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except httpx.ConnectError:
            raise AskFailed(f"Nothing answers at {self._url}; is the stack up?") from None
        except httpx.HTTPError as error:
            raise AskFailed(f"The connection to {self._url} broke: {error!r}.") from error
        except json.JSONDecodeError as error:
            raise AskFailed(f"What answers at {self._url} is not Aether.") from error


def _refusal(response: httpx.Response) -> AskFailed:
    """Return what a problem document says, or the status where something else answered."""
    status = response.status_code
    try:
        problem = response.json()
        said = f"{problem['detail']} ({problem['code']})"
    except (ValueError, KeyError, TypeError):
        return AskFailed(f"{response.url} answered {status}: it is no API of Aether.", status)
    if problem.get("field"):
        said = f"{problem['field']}: {said}"
    if status == HTTPStatus.UNAUTHORIZED:
        said += " Is the token right, and not older than it lives?"
    if problem["code"] == "demo_disabled":
        said += " Give a token."
    return AskFailed(said, status)
