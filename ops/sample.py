"""One chat job over HTTP, as any client would send it; shows that the whole stack works."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import httpx

MESSAGE: Final = "Help me build a scalable web app"
MAX_TOKENS: Final = 120
#: Longest silence of the event stream; it sends a heartbeat every 10 s.
_SILENCE_S: Final = 30.0


class SampleFailed(Exception):
    """The sample job was not answered; the message says how far it came."""


@dataclass(frozen=True, slots=True)
class SampleResult:
    """What the finished job says of itself."""

    status: str
    model: str
    total_tokens: int
    cost_usd: float
    first_token_ms: float | None
    total_ms: float | None
    error: str | None


def run_sample(api_url: str, show: Callable[[str], None]) -> SampleResult:
    """Submit a job as a fresh demo user, pass its answer to `show` piece by piece, return it.

    Raises:
        SampleFailed: the API refused, broke off, or said what it never should.
    """
    timeout = httpx.Timeout(_SILENCE_S, connect=5.0)
    try:
        with httpx.Client(base_url=api_url, timeout=timeout, trust_env=False) as client:
            login = client.post("/api/auth/demo-login").raise_for_status().json()
            client.headers["Authorization"] = f"Bearer {login['access_token']}"
            body = {"message": MESSAGE, "max_tokens": MAX_TOKENS}
            job = client.post("/api/ai/v4/chat/optimized", json=body).raise_for_status().json()
            for text in _answer_of(client, job["id"]):
                show(text)
            return _result(client.get(f"/api/ai/v4/jobs/{job['id']}").raise_for_status().json())
    except httpx.HTTPStatusError as error:
        said = error.response.text[:300] if error.response.is_closed else ""
        raise SampleFailed(
            f"{error.request.url} said {error.response.status_code} {said}"
        ) from None
    except httpx.HTTPError as error:
        raise SampleFailed(f"{type(error).__name__}: {error}") from error
    except (KeyError, ValueError) as error:
        raise SampleFailed(f"An unexpected answer: {error!r}") from error


def _answer_of(client: httpx.Client, job_id: str) -> Iterator[str]:
    """Yield the answer's pieces from the job's event stream, which ends with the job."""
    with client.stream("GET", f"/api/ai/v4/jobs/{job_id}/events") as response:
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data:"):
                event: dict[str, Any] = json.loads(line.removeprefix("data:"))
                if event["type"] == "answer.delta":
                    yield event["data"]["text"]


def _result(job: dict[str, Any]) -> SampleResult:
    timing, error = job["timing_ms"] or {}, job["error"] or {}
    return SampleResult(
        status=job["status"],
        model=(job["route"] or {}).get("model") or "",
        total_tokens=(job["usage"] or {}).get("total_tokens", 0),
        cost_usd=(job["cost"] or {}).get("usd") or 0.0,
        first_token_ms=timing.get("first_token"),
        total_ms=timing.get("total"),
        error=f"{error.get('code')}: {error.get('message')}" if error else None,
    )
