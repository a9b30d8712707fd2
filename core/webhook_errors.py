"""The errors about webhooks; core/errors.py says how they are written.

InvalidRequest
  InvalidWebhook                 400
  WebhookNotHttps                400
  WebhookNotPublic               400
NotFound
  DeliveryNotFound               404
AetherError
  DeliveryUnfinished             409
"""

from __future__ import annotations

from typing import Final

from core.errors import AetherError, InvalidRequest, NotFound


class InvalidWebhook(InvalidRequest):
    """`webhook` must be a URL that names a host."""

    code = "invalid_webhook"


class WebhookNotHttps(InvalidRequest):
    """`webhook` must begin with https://."""

    code = "webhook_not_https"


class WebhookNotPublic(InvalidRequest):
    """`webhook` must be reachable from the internet: private addresses are not called."""

    code = "webhook_not_public"


#: What is wrong with the URL of a request.
WEBHOOK_ERRORS: Final = (InvalidWebhook, WebhookNotHttps, WebhookNotPublic)


class DeliveryNotFound(NotFound):
    """No delivery of this account has this id."""

    code = "delivery_not_found"


class DeliveryUnfinished(AetherError):
    """This delivery is still being tried; there is nothing to send again yet."""

    code = "delivery_unfinished"
    status = 409
