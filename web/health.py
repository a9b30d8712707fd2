"""Whether this process is alive, and whether it can do its work."""

from __future__ import annotations

from typing import Any, Literal

from core.errors import ServiceUnavailable
from web.http.openapi import PUBLIC, returns, routes
from web.http.schemas import ResponseBody
from web.services import current_services

health_api = routes("health", __name__, "For load balancers and supervisors.", security=PUBLIC)


class Alive(ResponseBody):
    """The process answers."""

    status: Literal["ok"]


class Ready(ResponseBody):
    """The process can take jobs."""

    status: Literal["ok"]
    dependencies: dict[str, Literal["ok"]]
    """The servers that it needs, by name."""
    stuck: list[str]
    """Threads of workers that do not turn, as in `worker-1: event-writer stuck since 12 s`."""
    pending_migrations: list[str]
    """What `aether db migrate` has still to do."""
    draining: bool
    """Whether new jobs are refused because the stack is about to be stopped."""


@health_api.get("/healthz", **returns({200: (Alive, "The process answers.")}))
def healthz() -> dict[str, Any]:
    """Say whether this process is alive."""
    return {"status": "ok"}


@health_api.get(
    "/readyz",
    **returns({200: (Ready, "Redis and MongoDB answer, its threads turn.")}, ServiceUnavailable),
)
def readyz() -> dict[str, Any]:
    """Say whether everything that a job needs answers, and which workers' threads do not turn."""
    services = current_services()
    missing = [name for name, is_up in services.dependencies.items() if not is_up()]
    if missing:
        raise ServiceUnavailable(f"These servers do not answer: {', '.join(missing)}.")
    own = [health.name for loop in services.loops if (health := loop.health()).is_stuck]
    if own:
        raise ServiceUnavailable(f"These threads do not turn: {', '.join(own)}.")
    reports = services.loop_reports.read()
    stuck = [f"{report.program}: {words}" for report in reports for words in report.stuck()]
    up = dict.fromkeys(services.dependencies, "ok")
    return {
        "status": "ok",
        "dependencies": up,
        "stuck": stuck,
        "pending_migrations": list(services.format_watch.pending),
        "draining": services.drain_mark.since_s() is not None,
    }
