"""The client of our own API: one user's logins, jobs and event streams over HTTP."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from typing import Any, Final, Self

import httpx

from core.events import JOB_POSITION, JOB_SNAPSHOT, TERMINAL_TYPES
from core.jobs import TERMINAL
from core.public import JOBS_PATH

CHAT_PATH: Final = "/api/ai/v4/chat"
_CONNECT_S: Final = 5.0
#: Longest silence of the API; an event stream sends a heartbeat every 10 s.
_TIMEOUT_S: Final = 30.0
#: How long `follow` tries to reach an API that has gone away.
_RESUME_WITHIN_S: Final = 60.0
_FIRST_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 2.0


class ClientError(Exception):
    """The API did not answer or refused; the message is one sentence that a person can act on.

    Attributes:
        status: the refusal's HTTP status; None when there was no answer.
        code: the stable code of the refusal's problem document; empty without one.
    """

    def __init__(self, message: str, status: int | None = None, code: str = "") -> None:
        super().__init__(message)
        self.status = status
        self.code = code

    @property
    def is_transient(self) -> bool:
        """Whether the same request may succeed later."""
        return self.status is None or self.status >= 500 or self.status == 429


class ApiClient:
    """One user's client; threads may share it.

    Every method raises ClientError when the API does not answer. A method that returns a response
    returns refusals too; all others raise ClientError for them.

    Attributes:
        http: the HTTP client underneath, for routes without a method; it raises httpx's own errors.
        refresh_token: traded for new tokens when the access token has expired; empty without one.

    Args:
        token: an access token; without it, a login has to come first.
        timeout_s: longest silence of the API; has to exceed every wait that a request asks for.
    """

    def __init__(
        self, url: str, token: str | None = None, *, timeout_s: float = _TIMEOUT_S
    ) -> None:
        self._id = self.refresh_token = ""
        self.http = httpx.Client(
            base_url=url,
            auth=_Refresh(self),
            headers={"Authorization": f"Bearer {token}"} if token else {},
            timeout=httpx.Timeout(timeout_s, connect=_CONNECT_S),
            limits=httpx.Limits(max_connections=None),
            trust_env=False,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.http.close()

    @property
    def authorization(self) -> str:
        """The value of the Authorization header."""
        return self.http.headers["Authorization"]

    @property
    def id(self) -> str:
        """The user's id, from the login or, with a given token, from the API."""
        self._id = self._id or self._get("/api/auth/me", {})["id"]
        return self._id

    def login(self, email: str, password: str) -> None:
        body = {"email": email, "password": password}
        with self._errors():
            self.use(checked(self.http.post("/api/auth/login", json=body, auth=httpx.Auth())))

    def demo_login(self) -> None:
        """Log in as a fresh trial user."""
        with self._errors():
            self.use(checked(self.http.post("/api/auth/demo-login", auth=httpx.Auth())))

    def submit(
        self,
        message: str,
        *,
        path: str = "optimized",
        headers: Mapping[str, str] | None = None,
        **fields: Any,
    ) -> httpx.Response:
        """Submit a job on the chat route `path`.

        `headers` may ask to wait for the job's end (`Prefer: wait=S`) and make a repeat return the
        same job (`Idempotency-Key`).
        """
        body = {"message": message, **fields}
        with self._errors():
            return self.http.post(f"{CHAT_PATH}/{path}", json=body, headers=headers)

    def job(self, job_id: str, **query: Any) -> dict[str, Any]:
        """Return the job; `after` and `wait` (seconds) hold the answer back until it has news."""
        return self._get(f"{JOBS_PATH}/{job_id}", query)

    def find(self, job_id: str) -> dict[str, Any] | None:
        """Return the job, or None when the API knows no such job."""
        try:
            return self.job(job_id)
        except ClientError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise

    def jobs(self, **query: Any) -> list[dict[str, Any]]:
        """Return the first page of the user's jobs, newest first."""
        found: list[dict[str, Any]] = self._get(JOBS_PATH, query)["data"]
        return found

    def cancel(self, job_id: str) -> httpx.Response:
        """Ask for the job's end; the answer is 409 when it has ended already."""
        with self._errors():
            return self.http.delete(f"{JOBS_PATH}/{job_id}")

    def stream(
        self, job_id: str, *, after: int = 0, **query: Any
    ) -> Iterator[dict[str, Any] | None]:
        """Yield the job's events above `after` until the connection ends; None per heartbeat.

        When nothing can follow, a `job.snapshot` of the ended job is the one event.
        """
        url, headers = f"{JOBS_PATH}/{job_id}/events", {"Last-Event-ID": str(after)}
        with (
            self._errors(),
            self.http.stream("GET", url, headers=headers, params=query) as response,
        ):
            if not response.is_success:
                response.read()
                raise _refusal(response)
            yield from filter(_is_of_log, read_events(response.iter_lines()))
        if response.status_code == HTTPStatus.NO_CONTENT:
            yield {"sequence": after, "type": JOB_SNAPSHOT, "data": self.job(job_id)}

    def follow(self, job_id: str) -> Iterator[dict[str, Any]]:
        """Yield the job's events up to its end; a stream that breaks is resumed where it broke.

        The last event is the terminal one, or a `job.snapshot` of the ended job.
        """
        cursor, answered_s, pause_s = 0, time.monotonic(), _FIRST_PAUSE_S
        while True:
            try:
                for event in self.stream(job_id, after=cursor):
                    answered_s, pause_s = time.monotonic(), _FIRST_PAUSE_S
                    if event is not None:
                        cursor = event["sequence"]
                        yield event
                        if _is_last(event):
                            return
                    elif self.job(job_id)["status"] in TERMINAL:
                        # A stream whose log Redis lost stays silent; a new one has a snapshot.
                        break
            except ClientError as error:
                if not error.is_transient or time.monotonic() - answered_s > _RESUME_WITHIN_S:
                    raise
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)

    def use(self, tokens: dict[str, Any]) -> None:
        """Send these tokens from now on; `tokens` is the answer to a login or a refresh."""
        self.http.headers["Authorization"] = f"Bearer {tokens['access_token']}"
        self.refresh_token = tokens["refresh_token"]
        self._id = tokens["user"]["id"]

    def _get(self, path: str, query: dict[str, Any]) -> dict[str, Any]:
        with self._errors():
            return checked(self.http.get(path, params=query))

    @contextmanager
    def _errors(self) -> Iterator[None]:
        url = self.http.base_url
        try:
            yield
        except httpx.ConnectError as error:
            raise ClientError(f"Nothing answers at {url}; is the stack up?") from error
        except httpx.HTTPError as error:
            raise ClientError(f"The connection to {url} broke: {error!r}.") from error
        except (ValueError, KeyError, TypeError) as error:
            raise ClientError(f"What answers at {url} is not Aether: {error!r}.") from error


class _Refresh(httpx.Auth):
    """Trades a client's refresh token for new tokens when its access token has expired."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self._lock = threading.Lock()

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        response = yield request
        client = self._client
        if response.status_code != HTTPStatus.UNAUTHORIZED or not client.refresh_token:
            return
        # A second use of a refresh token ends the session, so one thread refreshes for all.
        with self._lock:
            if request.headers["Authorization"] == client.authorization:
                body = {"refresh_token": client.refresh_token}
                answer = yield client.http.build_request("POST", "/api/auth/refresh", json=body)
                answer.read()
                if answer.is_success:
                    client.use(answer.json())
        request.headers["Authorization"] = client.authorization
        yield request


def checked(response: httpx.Response) -> dict[str, Any]:
    """Return the JSON object of an answer.

    Raises:
        ClientError: it is a refusal.
        ValueError: it is not JSON.
    """
    if not response.is_success:
        raise _refusal(response)
    found: dict[str, Any] = response.json()
    return found


def read_events(lines: Iterable[str]) -> Iterator[dict[str, Any] | None]:
    """Decode server-sent events; None for each comment, which shows that the server is alive.

    Raises:
        ValueError: an event is not JSON, or its frame has another number or type than its body.
    """
    frame: dict[str, str] = {}
    for line in lines:
        if line.startswith(":"):
            yield None
        elif line:
            name, _, value = line.partition(":")
            frame[name] = value.removeprefix(" ")
        else:
            # A frame that the connection cut off has no empty line at its end and is left out.
            if "data" in frame:
                event: dict[str, Any] = json.loads(frame["data"])
                # A job's position in line has no number: it is no event of the log.
                number = None if event["type"] == JOB_POSITION else str(event["sequence"])
                if (frame.get("id"), frame["event"]) != (number, event["type"]):
                    raise ValueError(f"frame {frame.get('id')} holds event {number}")
                yield event
            frame = {}


def _is_of_log(event: dict[str, Any] | None) -> bool:
    """Say whether an event has a number; a job's position in line has none."""
    return event is None or event["type"] != JOB_POSITION


def _is_last(event: dict[str, Any]) -> bool:
    is_snapshot = event["type"] == JOB_SNAPSHOT
    return event["type"] in TERMINAL_TYPES or (is_snapshot and event["data"]["status"] in TERMINAL)


def _refusal(response: httpx.Response) -> ClientError:
    """Return what the problem document says; the status alone when it is no problem document."""
    status = response.status_code
    try:
        problem = response.json()
        detail, code, field = problem["detail"], problem["code"], problem.get("field")
    except (ValueError, KeyError, TypeError):
        return ClientError(f"{response.url} answered {status}: it is no API of Aether.", status)
    return ClientError(f"{detail} ({code}{f': {field}' if field else ''})", status, code)
