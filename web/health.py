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


@health_api.get("/healthz", **returns({200: (Alive, "The process answers.")}))
def healthz() -> dict[str, Any]:
    """Say whether this process is alive."""
    return {"status": "ok"}


@health_api.get(
    "/readyz", **returns({200: (Ready, "Redis and MongoDB answer too.")}, ServiceUnavailable)
)
def readyz() -> dict[str, Any]:
    """Say whether everything that a job needs answers."""
    dependencies = current_services().dependencies
    missing = [name for name, is_up in dependencies.items() if not is_up()]
    if missing:
        raise ServiceUnavailable(f"These servers do not answer: {', '.join(missing)}.")
    return {"status": "ok", "dependencies": dict.fromkeys(dependencies, "ok")}
