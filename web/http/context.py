"""What every request gets: an id, a log line, security headers, and JSON by msgspec."""

from __future__ import annotations

import re
import secrets
import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, TypeVar

import flask
import msgspec
import structlog
from flask import g, request
from flask.json.provider import JSONProvider
from pydantic import ValidationError
from structlog.contextvars import bind_contextvars, clear_contextvars

from core.errors import InvalidRequest, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from monitoring import families
from monitoring.metrics import OTHER
from web.http.errors import to_invalid_request
from web.http.schemas import Headers

if TYPE_CHECKING:
    from flask import Flask

    from monitoring.metrics import Metrics

HeadersModel = TypeVar("HeadersModel", bound=Headers)

logger = structlog.get_logger(__name__)

_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{8,64}")
_HEADERS: Final = (("X-Content-Type-Options", "nosniff"), ("Referrer-Policy", "no-referrer"))
#: Set unless a view sets its own, as an event stream or a page does.
_DEFAULT_HEADERS: Final = (
    ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'"),
    ("Cache-Control", "no-store"),
)
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})
#: Levels of objects and lists in a body, itself included.
_MAX_DEPTH: Final = 16
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def wrap_requests(app: Flask, metrics: Metrics) -> None:
    """Install request class, JSON provider and the hooks before and after each request."""
    app.request_class = JsonRequest
    app.json = MsgspecProvider(app)
    app.before_request(_begin)
    app.after_request(partial(_end, metrics))


def _begin() -> None:
    given = request.environ.get("HTTP_X_REQUEST_ID", "")
    request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    g.request_id = request_id
    g.began = time.perf_counter()
    # The next request of a kept-alive connection runs in the same context.
    clear_contextvars()
    bind_contextvars(request_id=request_id)


def _end(metrics: Metrics, response: flask.Response) -> flask.Response:
    headers = response.headers
    headers.extend(_HEADERS)
    headers.add("X-Request-ID", g.request_id)
    for name, value in _DEFAULT_HEADERS:
        if name not in headers:
            headers.add(name, value)
    rule, took_s = request.url_rule, time.perf_counter() - g.began
    logger.info(
        "request",
        method=request.method,
        route=rule.rule if rule else None,
        status=response.status_code,
        duration_ms=round(took_s * 1000, 2),
    )
    _measure(metrics, rule.rule if rule else "", response.status_code, took_s)
    return response


def _measure(metrics: Metrics, route: str, status: int, took_s: float) -> None:
    method = request.method
    # What a client may send as a method is not bounded.
    if method not in _METHODS:
        method = OTHER
    metrics.count(families.HTTP_REQUESTS, method, route, f"{status // 100}xx")
    metrics.observe(families.HTTP_DURATION, method, route, value=took_s)
    if status == HTTPStatus.TOO_MANY_REQUESTS:
        metrics.count(families.RATELIMIT_REJECTIONS, g.get("limit") or "")


def read_headers(model: type[HeadersModel]) -> HeadersModel:
    """Return what the request says in the model's headers.

    flask-openapi3's own reading copies every header of the request first, which takes 0.1 ms.

    Raises:
        InvalidRequest: one of them is not valid.
    """
    found = {name: request.headers.get(name) for name in model.names()}
    try:
        return model.model_validate(found)
    except ValidationError as error:
        raise to_invalid_request(error) from None


class JsonRequest(flask.Request):
    """A request whose body is a JSON object."""

    def get_json(self, *args: Any, **kwargs: Any) -> Any:
        """Return the object, or None without a body; `silent=True` does not hide errors.

        Raises:
            InvalidRequest: the body is no JSON object.
            PayloadTooLarge: it is longer than the limit.
            UnsupportedMediaType: it is not sent as JSON.
        """
        data = self._whole_body()
        self._refuse_cut_off(data)
        if not data:
            return None
        if self.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise UnsupportedMediaType("The body must not be compressed.")
        if not self.is_json:
            raise UnsupportedMediaType
        try:
            body = _decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise InvalidRequest("The body is not valid JSON.") from error
        if not isinstance(body, dict):
            raise InvalidRequest("The body must be a JSON object.")
        # Without so many brackets it cannot be that deep, and nothing has to be walked.
        if data.count(b"{") + data.count(b"[") > _MAX_DEPTH and is_deeper(body, _MAX_DEPTH):
            raise InvalidRequest(f"The body is nested more than {_MAX_DEPTH} levels deep.")
        return body

    def _whole_body(self) -> bytes:
        data = self.get_data()
        # The server's socket ends a body that does not arrive in time.
        if getattr(self.environ.get("gunicorn.socket"), "is_late", False):
            raise RequestTimeout
        return data

    def _refuse_cut_off(self, data: bytes) -> None:
        """Refuse a body of unsaid length that goes on: Werkzeug ends it silently at the limit."""
        limit = self.max_content_length
        is_full = self.content_length is None and limit is not None and len(data) >= limit
        if is_full and self.environ["wsgi.input"].read(1):
            raise PayloadTooLarge


def is_deeper(value: Any, levels: int) -> bool:
    """Say whether objects and lists are nested more than `levels` deep; linear in their number."""
    nested = [value]
    for _ in range(levels):
        nested = [
            child
            for outer in nested
            for child in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(child, dict | list)
        ]
    return bool(nested)


class MsgspecProvider(JSONProvider):
    """JSON by msgspec, which encodes Aether's structs."""

    def dumps(self, obj: Any, **kwargs: Any) -> str:
        return _encode(obj).decode()

    def loads(self, s: str | bytes, **kwargs: Any) -> Any:
        return _decode(s)

    def response(self, *args: Any, **kwargs: Any) -> flask.Response:
        body = _encode(self._prepare_response_obj(args, kwargs))
        return flask.Response(body, mimetype="application/json")
