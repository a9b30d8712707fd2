"""The routes about webhooks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from flask import g

from core.errors import StoreUnavailable
from core.timing import iso_time
from core.webhook_errors import DeliveryNotFound, DeliveryUnfinished
from web.accounts.auth import current_user, require_user
from web.http.cursors import read_cursor, to_cursor
from web.http.openapi import returns, routes
from web.services import current_services
from web.webhooks import schemas

if TYPE_CHECKING:
    from core.webhooks import Delivery
    from storage.accounts.webhook_secrets import WebhookSecret

webhooks_api = routes(
    "webhooks", __name__, "Calls that say that jobs have ended.", prefix="/api/ai/v4/webhooks"
)
webhooks_api.before_request(require_user)


@webhooks_api.get(
    "/secret",
    **returns({200: (schemas.WebhookSecret, "What signs your webhooks.")}, StoreUnavailable),
)
def get_secret() -> Any:
    """Return the account's secret; the first look makes it."""
    return _public_secret(current_services().webhook_secrets.of(current_user().id))


@webhooks_api.post(
    "/secret/rotate",
    **returns({200: (schemas.WebhookSecret, "The new secret.")}, StoreUnavailable),
)
def rotate_secret() -> Any:
    """Replace the secret; the one before signs beside it for a day, as receivers change over."""
    services, user_id = current_services(), current_user().id
    services.audit.add(
        *("webhook_secret.rotate", user_id),
        actor=user_id,
        before="",
        after="",
        request_id=g.request_id,
    )
    return _public_secret(services.webhook_secrets.rotate(user_id))


@webhooks_api.get(
    "/deliveries",
    **returns({200: (schemas.DeliveryList, "Deliveries, the newest first.")}, StoreUnavailable),
)
def list_deliveries(query: schemas.DeliveryQuery) -> Any:
    """Return what was sent or is to be sent; ended deliveries are known for 30 days."""
    found = current_services().deliveries.list_of_user(
        current_user().id,
        limit=query.limit,
        before=read_cursor(query.cursor),
        status=query.status,
    )
    last = found[-1] if len(found) == query.limit else None
    return {
        "object": "list",
        "data": [_public(delivery) for delivery in found],
        "next_cursor": to_cursor(last.created_ms, last.id) if last else None,
    }


@webhooks_api.get(
    "/deliveries/<string:delivery_id>",
    **returns({200: (schemas.Delivery, "The delivery.")}, DeliveryNotFound, StoreUnavailable),
)
def get_delivery(path: schemas.DeliveryPath) -> Any:
    """Return one delivery as it stands."""
    found = current_services().deliveries.get(current_user().id, path.delivery_id)
    if found is None:
        raise DeliveryNotFound
    return _public(found)


@webhooks_api.post(
    "/deliveries/<string:delivery_id>/resend",
    **returns(
        {202: (schemas.Delivery, "It is tried again, for a day.")},
        DeliveryNotFound,
        DeliveryUnfinished,
        StoreUnavailable,
    ),
)
def resend_delivery(path: schemas.DeliveryPath) -> Any:
    """Send an ended delivery once more, with its id of before."""
    found = current_services().deliveries.resend(current_user().id, path.delivery_id)
    return _public(found), 202


def _public(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "object": "webhook_delivery",
        "job_id": delivery.job_id,
        "url": delivery.url,
        "type": delivery.type,
        "status": delivery.status,
        "attempts": delivery.attempts,
        "created_at": iso_time(delivery.created_ms),
        "next_attempt_at": iso_time(delivery.due_ms),
        "finished_at": iso_time(delivery.finished_ms),
        "response_status": delivery.response_status,
        "error": delivery.error,
    }


def _public_secret(secret: WebhookSecret) -> dict[str, Any]:
    return {
        "object": "webhook_secret",
        "secret": secret.secret,
        "created_at": iso_time(secret.created_ms),
        "previous_until": iso_time(secret.previous_until_ms),
    }
