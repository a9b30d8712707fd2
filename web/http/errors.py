"""Every error as the client sees it: problem details (RFC 9457), one table, one shape."""

from __future__ import annotations

import math
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog
from flask import Response, g
from msgspec import UNSET, Struct, UnsetType
from msgspec.json import encode
from pydantic import BaseModel
from werkzeug.exceptions import HTTPException

from core.errors import AetherError, InvalidRequest, Unauthenticated

if TYPE_CHECKING:
    from flask import Flask
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

logger = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_LONGEST_FIELD: Final = 120

#: What Flask and Werkzeug raise by themselves: code and detail by status.
_HTTP_ERRORS: Final = {
    400: ("invalid_request", "The request is not valid."),
    404: ("not_found", "There is nothing here."),
    405: ("method_not_allowed", "This resource does not know that method."),
    413: ("payload_too_large", "The request body is too large."),
    415: ("unsupported_media_type", "The body has to be JSON, sent as application/json."),
}


class Problem(Struct, kw_only=True):
    """One error; `field` is the dotted path of what is wrong in the request, if one thing is."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None
    field: str | UnsetType = UNSET


class ProblemModel(BaseModel):
    """The same for the OpenAPI document."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str | None
    field: str | None = None


def register_errors(app: Flask) -> None:
    """Answer every exception that leaves a view, this being the request's outermost shell."""
    app.register_error_handler(Exception, to_response)


def to_response(error: Exception) -> Response:
    if isinstance(error, AetherError):
        _log(error)
        return _respond(error.status, error.code, error.message, error)
    if isinstance(error, HTTPException):
        return _from_http(error)
    logger.error("request failed", exc_info=error)
    return _respond(500, AetherError.code, "Something went wrong.")


def to_invalid_request(error: ValidationError) -> InvalidRequest:
    """Return the first thing wrong with the input, without repeating the input."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    path = ".".join(str(part) for part in first["loc"] if part != "[key]")
    return InvalidRequest(_reason(first), field=path[:_LONGEST_FIELD] or None)


def refuse_invalid(error: ValidationError) -> Response:
    """Raise what is wrong with the input; flask-openapi3 would abort with what this returns."""
    raise to_invalid_request(error) from None


def _reason(details: ErrorDetails) -> str:
    if details["type"] == "missing":
        return "It is required."
    if details["type"] == "extra_forbidden":
        return "There is no such field."
    return details["msg"].removeprefix("Value error, ") + "."


def _log(error: AetherError) -> None:
    if error.status == 500:
        logger.error("request failed", exc_info=error)
    elif error.status > 500:
        cause = error.__cause__
        logger.warning("request refused", code=error.code, cause=cause and repr(cause))


def _from_http(error: HTTPException) -> Response:
    status = error.code or 500
    if status not in _HTTP_ERRORS:
        phrase = HTTPStatus(status).phrase
        return _respond(status, phrase.lower().replace(" ", "_"), f"{phrase}.")
    response = _respond(status, *_HTTP_ERRORS[status])
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _respond(status: int, code: str, detail: str, error: AetherError | None = None) -> Response:
    problem = Problem(
        type=f"urn:aether:error:{code}",
        title=HTTPStatus(status).phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=g.get("request_id"),
    )
    if isinstance(error, InvalidRequest) and error.field:
        problem.field = error.field
    response = Response(encode(problem), status, mimetype=MEDIA_TYPE)
    for name, value in _headers(error).items():
        response.headers[name] = value
    return response


def _headers(error: AetherError | None) -> dict[str, str]:
    retry_after_s: Any = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        return {"Retry-After": str(max(1, math.ceil(retry_after_s)))}
    if isinstance(error, Unauthenticated):
        return {"WWW-Authenticate": 'Bearer realm="aether"'}
    return {}
