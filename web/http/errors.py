"""Every error as the client sees it: problem details (RFC 9457), one table, one shape."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import structlog
from flask import Response, g
from werkzeug.exceptions import HTTPException

from core.account_errors import UnknownPlan
from core.errors import (
    AetherError,
    InvalidConcurrency,
    InvalidPriority,
    InvalidRequest,
    InvalidTime,
    MethodNotAllowed,
    NotFound,
    PayloadTooLarge,
    Unauthenticated,
    UnsupportedMediaType,
)
from web.http.schemas import ResponseBody

if TYPE_CHECKING:
    from flask import Flask
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

logger = structlog.get_logger(__name__)

MEDIA_TYPE: Final = "application/problem+json"
_MAX_FIELD_CHARS: Final = 120

#: What Flask and Werkzeug raise by themselves, by status.
_HTTP_ERRORS: Final[dict[int | None, type[AetherError]]] = {
    kind.status: kind
    for kind in (InvalidRequest, NotFound, MethodNotAllowed, PayloadTooLarge, UnsupportedMediaType)
}
#: Fields whose errors have a code of their own.
_KINDS: Final[dict[str, type[InvalidRequest]]] = {
    "plan": UnknownPlan,
    "priority": InvalidPriority,
    "concurrency_key": InvalidConcurrency,
    "concurrency_limit": InvalidConcurrency,
    "run_at": InvalidTime,
    "expires_at": InvalidTime,
}
#: How a sentence about a field goes on, by pydantic's type of error.
_REASONS: Final = {
    "missing": "is required",
    "extra_forbidden": "is not a field of this request",
    "string_type": "must be text",
    "string_unicode": "must be valid Unicode",
    "string_too_short": "must be at least {min_length} characters long",
    "string_too_long": "must be at most {max_length} characters long",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "int_parsing": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "greater_than": "must be greater than {gt}",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "bool_type": "must be true or false",
    "literal_error": "must be {expected}",
    "enum": "must be {expected}",
    "dict_type": "must be an object",
    "model_type": "must be an object",
    "list_type": "must be a list",
    "too_short": "must have at least {min_length} entries",
    "too_long": "must have at most {max_length} entries",
}
#: How pydantic names the branches of a union in the path of an error.
_UNION_BRANCHES: Final = ("list[", "literal[")


class Problem(ResponseBody):
    """Why a request was refused (RFC 9457)."""

    type: str
    """`urn:aether:error:` and the code."""
    title: str
    """The status in words."""
    status: int
    detail: str
    """What is wrong and what to do: a sentence for people."""
    code: str
    """Stable; see the list of errors."""
    request_id: str | None
    """As in the header `X-Request-ID`."""
    field: str | None = None
    """The path of the field, parameter or header that is wrong; absent where it is not one."""
    limit: str | None = None
    """Which limit is reached, where one is."""
    resets_at: str | None = None
    """When that limit has room again (ISO 8601); absent where only other jobs' ends give it."""


def register_errors(app: Flask) -> None:
    """Turn every exception that leaves a view into a problem; nothing outside of this catches."""
    app.register_error_handler(Exception, to_response)


def to_response(error: Exception) -> Response:
    if isinstance(error, AetherError):
        _log(error)
        return _respond(error)
    if isinstance(error, HTTPException):
        return _from_http(error)
    logger.error("request failed", exc_info=error)
    return _respond(AetherError())


def to_invalid_request(error: ValidationError) -> InvalidRequest:
    """Return the first thing wrong with the input as a sentence, without repeating the input."""
    first = error.errors(include_url=False, include_input=False)[0]
    field, reason = _path(first)[:_MAX_FIELD_CHARS], _reason(first)
    if field:
        is_no_field = first["type"] == "extra_forbidden"
        kind = InvalidRequest if is_no_field else _KINDS.get(field, InvalidRequest)
        return kind(f"`{field}` {reason}.", field=field)
    is_sentence = first["type"] == "value_error"
    return InvalidRequest(f"{reason}." if is_sentence else "A JSON body is required.")


def refuse_invalid(error: ValidationError) -> Response:
    """Raise what is wrong with the input; flask-openapi3 would abort with what this returns."""
    raise to_invalid_request(error) from None


def _path(fault: ErrorDetails) -> str:
    parts = (str(part) for part in fault["loc"] if part != "[key]")
    return ".".join(part for part in parts if not part.startswith(_UNION_BRANCHES))


def _reason(fault: ErrorDetails) -> str:
    context = {name: _plain(value) for name, value in fault.get("ctx", {}).items()}
    if context.get("min_length") == 1:
        return "must not be empty"
    if fault["type"] not in _REASONS:
        return fault["msg"].removeprefix("Value error, ")
    return _REASONS[fault["type"]].format(**context)


def _plain(value: Any) -> Any:
    """Return a bound as people write it: 2 instead of 2.0."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _log(error: AetherError) -> None:
    if error.status == 500:
        logger.error("request failed", exc_info=error)
    elif error.status > 500:
        cause = error.__cause__
        logger.warning("request refused", code=error.code, cause=cause and repr(cause))


def _from_http(error: HTTPException) -> Response:
    kind = _HTTP_ERRORS.get(error.code)
    if kind is None:
        status = HTTPStatus(error.code or 500)
        code = status.phrase.lower().replace(" ", "_")
        return _to_problem(status, code, f"The server answered {status}: {status.phrase}.")
    response = _respond(kind())
    for name, value in error.get_headers():
        if name == "Allow":
            response.headers[name] = value
    return response


def _respond(error: AetherError) -> Response:
    more = {name: getattr(error, name, None) for name in ("field", "limit", "resets_at")}
    # What is measured of the request says it, too.
    g.limit = more["limit"] or error.code
    response = _to_problem(HTTPStatus(error.status), error.code, error.message, more)
    response.headers.extend(dict(_headers(error)))
    return response


def _to_problem(
    status: HTTPStatus, code: str, detail: str, more: Mapping[str, str | None] | None = None
) -> Response:
    problem = Problem(
        type=f"urn:aether:error:{code}",
        title=status.phrase,
        status=status,
        detail=detail,
        code=code,
        request_id=g.get("request_id"),
        **{name: value for name, value in (more or {}).items() if value is not None},
    )
    return Response(problem.model_dump_json(exclude_unset=True), status, mimetype=MEDIA_TYPE)


def _headers(error: AetherError) -> Iterator[tuple[str, str]]:
    retry_after_s: Any = getattr(error, "retry_after_s", None)
    if retry_after_s is not None:
        yield "Retry-After", str(max(1, math.ceil(retry_after_s)))
    elif isinstance(error, Unauthenticated):
        yield "WWW-Authenticate", 'Bearer realm="aether"'
