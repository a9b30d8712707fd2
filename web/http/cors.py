"""Which web pages of other origins may read what the API answers (the Fetch standard, CORS)."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from flask import Response, request

if TYPE_CHECKING:
    from collections.abc import Collection

    from flask import Flask

_METHODS: Final = "GET, HEAD, POST, PUT, PATCH, DELETE"
#: What a page may read beside the headers that every page may.
_EXPOSED: Final = (
    "Location, Retry-After, X-Request-ID, Idempotency-Replayed, Preference-Applied, "
    "RateLimit, RateLimit-Policy, Allow, WWW-Authenticate"
)
#: How long a browser keeps the answer to a preflight, in seconds.
_KEPT_S: Final = 600
_HEADER_NAMES: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~, -]{1,2000}")


def allow_origins(app: Flask, origins: Collection[str]) -> None:
    """Answer preflights, and let pages of these origins read every answer, errors included.

    Sessions are bearer tokens in a header, so no page is allowed to send cookies.
    """
    if not origins:
        return

    def answer_preflight() -> Response | None:
        is_preflight = (
            request.method == "OPTIONS" and "Access-Control-Request-Method" in request.headers
        )
        return Response(status=204) if is_preflight else None

    def add_headers(response: Response) -> Response:
        response.vary.add("Origin")
        origin = request.headers.get("Origin")
        if origin not in origins:
            return response
        response.headers["Access-Control-Allow-Origin"] = origin
        if request.method != "OPTIONS":
            response.headers["Access-Control-Expose-Headers"] = _EXPOSED
            return response
        response.headers["Access-Control-Allow-Methods"] = _METHODS
        response.headers["Access-Control-Max-Age"] = str(_KEPT_S)
        response.vary.add("Access-Control-Request-Headers")
        wanted = request.headers.get("Access-Control-Request-Headers", "")
        if _HEADER_NAMES.fullmatch(wanted):
            response.headers["Access-Control-Allow-Headers"] = wanted
        return response

    app.before_request(answer_preflight)
    app.after_request(add_headers)
