"""What `aether status` says of threads that do not turn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import httpx

from core.errors import CoordinatorUnavailable
from storage.connections import redis_probe
from storage.loop_reports import LoopReports

if TYPE_CHECKING:
    from core.settings import Settings

_TIMEOUT_S: Final = 3.0


def loop_notes(settings: Settings | None, api_url: str) -> dict[str, str]:
    """Return, by program, which of its threads do not turn, or why it is not ready."""
    notes = _of_workers(settings) if settings else {}
    not_ready = _of_api(api_url)
    return {**notes, "api": not_ready} if not_ready else notes


def _of_workers(settings: Settings) -> dict[str, str]:
    redis = redis_probe(settings)
    try:
        reports = LoopReports(redis).read()
    except CoordinatorUnavailable:
        # The line of the API says so.
        return {}
    finally:
        redis.connection_pool.disconnect()
    return {report.program: ", ".join(words) for report in reports if (words := report.stuck())}


def _of_api(api_url: str) -> str:
    try:
        answer = httpx.get(f"{api_url}/readyz", timeout=_TIMEOUT_S, trust_env=False)
        return "" if answer.is_success else str(answer.json()["detail"])
    except (httpx.HTTPError, ValueError, KeyError):
        return "does not answer"
