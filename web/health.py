"""Whether this process lives, and whether it can work."""

from __future__ import annotations

from typing import Any

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from core.errors import ServiceUnavailable
from web.http.openapi import PUBLIC
from web.services import current_services

health_api = APIBlueprint("health", __name__, abp_tags=[Tag(name="health")], abp_security=PUBLIC)


@health_api.get("/healthz")
def healthz() -> dict[str, Any]:
    """Alive: the process answers."""
    return {"status": "ok"}


@health_api.get("/readyz")
def readyz() -> dict[str, Any]:
    """Ready: everything a job needs answers too."""
    dependencies = current_services().dependencies
    missing = [name for name, is_up in dependencies.items() if not is_up()]
    if missing:
        raise ServiceUnavailable(f"Not answering: {', '.join(missing)}.")
    return {"status": "ok", "dependencies": dict.fromkeys(dependencies, "ok")}
