"""The metrics of all processes, for Prometheus."""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from typing import Any

from flask import Response, request

from core.errors import CoordinatorUnavailable, Forbidden
from monitoring.exposition import CONTENT_TYPE, Gauge, exposition
from web.accounts.auth import current_user
from web.http.openapi import returns, routes
from web.services import WebServices, current_services

metrics_api = routes("metrics", __name__, "Metrics for Prometheus.")


@metrics_api.before_request
def require_scraper() -> None:
    """Let in whoever has the deployment's token for metrics, and administrators.

    Raises:
        Unauthenticated, Forbidden: neither.
    """
    wanted = current_services().settings.metrics_token.get_secret_value()
    given = request.headers.get("Authorization", "")
    if wanted and hmac.compare_digest(given.encode(), f"Bearer {wanted}".encode()):
        return
    if request.method != "OPTIONS" and current_user().role != "admin":
        raise Forbidden


@metrics_api.get(
    "/metrics",
    **returns(
        {200: (None, "Text of version 0.0.4.")},
        Forbidden,
        CoordinatorUnavailable,
        text_type="text/plain",
    ),
)
def get_metrics() -> Any:
    """Return what all processes have measured since Redis lost its data last, and what waits.

    With `AETHER_METRICS_TOKEN` as bearer token, or as an administrator.
    """
    services = current_services()
    text = exposition(services.readings.since_ever(), _gauges(services))
    return Response(text, content_type=CONTENT_TYPE)


def _gauges(services: WebServices) -> Iterator[Gauge]:
    kinds, _ = services.overview.lines()
    for name, help_, values in (
        ("aether_queue_depth", "Units that wait, by kind of work.", [k.waiting for k in kinds]),
        ("aether_queue_running", "Units that workers hold.", [k.running for k in kinds]),
        (
            "aether_queue_oldest_age_seconds",
            "Since the oldest job that waits was taken in; 0 where none does.",
            [k.oldest_s or 0.0 for k in kinds],
        ),
    ):
        queues = [(("queue", kind.name),) for kind in kinds]
        yield Gauge(name, help_, dict(zip(queues, values, strict=True)))
