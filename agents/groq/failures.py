"""What a provider's failure means, by its status and code, wherever it was told.

An error of HTTP and an error in the middle of a stream are judged by the same table.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct

from core.model_errors import (
    ModelError,
    ModelMissing,
    NoAnswer,
    PermanentModelError,
    RateLimited,
    TransientModelError,
)

#: A provider's error message is cut to this length, in characters.
_MESSAGE_CHARS: Final = 300
_NAME_CHARS: Final = 64
#: Fields that hold an error's message.
_MESSAGES: Final = ("message", "detail")
_KEY: Final = re.compile(r"\b(?:gsk|sk|pk|key)[-_][\w*.-]{6,}|\bBearer\s+\S+", re.IGNORECASE)

_Kind = type[ModelError]
#: By code or type, as providers name them; a code says more than its status.
_CODES: Final[Mapping[str, _Kind]] = {
    "model_decommissioned": ModelMissing,
    "model_not_found": ModelMissing,
    "model_not_available": ModelMissing,
    "model_terms_required": ModelMissing,
    # The model's own output was no valid call or JSON; another sample may be.
    "tool_use_failed": NoAnswer,
    "json_validate_failed": NoAnswer,
    "output_parse_failed": NoAnswer,
    "rate_limit_exceeded": RateLimited,
    "rate_limit_error": RateLimited,
    "rate_limited": RateLimited,
    "too_many_requests": RateLimited,
    "insufficient_quota": RateLimited,
    "overloaded_error": TransientModelError,
    "server_error": TransientModelError,
    "internal_server_error": TransientModelError,
    "internal_error": TransientModelError,
    "service_unavailable": TransientModelError,
    "unavailable_error": TransientModelError,
    "capacity_exceeded": TransientModelError,
    "timeout": TransientModelError,
    "invalid_request_error": PermanentModelError,
    "badrequesterror": PermanentModelError,
    "context_length_exceeded": PermanentModelError,
    "exceed_context_size_error": PermanentModelError,
    "string_above_max_length": PermanentModelError,
    "request_too_large": PermanentModelError,
    "content_filter": PermanentModelError,
    "content_policy_violation": PermanentModelError,
    "authentication_error": PermanentModelError,
    "invalid_api_key": PermanentModelError,
    "permission_error": PermanentModelError,
    "permission_denied": PermanentModelError,
    "not_found_error": ModelMissing,
    "notfounderror": ModelMissing,
}
#: Statuses below 500 worth a repeat; 498 is Groq's "no flex capacity".
_TRANSIENT_STATUSES: Final = frozenset({408, 409, 425, 498})


class Failure(Struct, frozen=True):
    """What a provider said of a failure; `codes` in the order in which they are believed."""

    message: str = ""
    status: int | None = None
    codes: tuple[str, ...] = ()

    def to_error(self, *, retry_after_s: float | None = None) -> ModelError:
        """Return the error that decides what follows."""
        said = "The provider " + (f"answered {self.status}" if self.status else "broke off")
        # With 401, some servers quote the refused key in their message: it must not reach a user.
        is_about_key = self.status == 401 or "invalid_api_key" in self.codes
        message = f"{said}: {self.message}" if self.message and not is_about_key else f"{said}."
        kind = self._kind()
        if issubclass(kind, TransientModelError):
            return kind(message, retry_after_s=retry_after_s)
        return kind(message)

    def _kind(self) -> _Kind:
        status = self.status
        found = next((_CODES[code] for code in self.codes if code in _CODES), None)
        # These say more than any status; the other codes count only where there is none: Groq
        # answers 413 with `rate_limit_exceeded` to a prompt that no wait makes short enough.
        if found in (ModelMissing, NoAnswer):
            return found
        if status is None:
            return found or TransientModelError
        if status == 429:
            return RateLimited
        if status >= 500 or status in _TRANSIENT_STATUSES:
            return TransientModelError
        return ModelMissing if status == 404 else PermanentModelError


def failure_in(body: object, *, status: int | None = None) -> Failure | None:
    """Return the failure that a decoded body or chunk tells; None where it tells none.

    Args:
        status: the response's own, where that is an error; what the body says counts otherwise.
    """
    if not isinstance(body, dict):
        return None
    inner = _error_in(body)
    if inner is None and status is not None:
        inner = body
    if inner is None:
        return None
    message = next((text for name in _MESSAGES if (text := inner.get(name))), "")
    return Failure(
        message=clean(message if isinstance(message, str) else json.dumps(message, default=str)),
        status=status or _status_in(inner) or _status_in(body),
        codes=tuple(_names_in(inner)),
    )


def _error_in(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the part of a body that describes an error, wherever the provider puts it."""
    extra = body.get("x_groq")
    error = body.get("error") or (extra.get("error") if isinstance(extra, dict) else None)
    if isinstance(error, list):
        error = next((part for part in error if part), None)
    if isinstance(error, dict):
        return error
    if error:
        return {**body, "message": error if isinstance(error, str) else body.get("message")}
    is_error = body.get("object") == "error" or body.get("type") == "error"
    is_bare = isinstance(body.get("message"), str) and _status_in(body) is not None
    return body if is_error or is_bare else None


def clean(text: str) -> str:
    """Return a provider's words as one short line without control characters and API keys."""
    text = "".join(char if char.isprintable() else " " for char in text[: 4 * _MESSAGE_CHARS])
    return _KEY.sub("[key]", " ".join(text.split()))[:_MESSAGE_CHARS]


def _status_in(error: dict[str, Any]) -> int | None:
    for name in ("status_code", "status", "code", "http_status"):
        value = error.get(name)
        if isinstance(value, str) and re.fullmatch(r"[45]\d\d", value.strip(), re.ASCII):
            value = int(value)
        if isinstance(value, int | float) and 400 <= value < 600:
            return int(value)
    return None


def _names_in(error: dict[str, Any]) -> list[str]:
    found = (error.get(name) for name in ("code", "type", "status"))
    return [name.strip().lower()[:_NAME_CHARS] for name in found if isinstance(name, str)]
