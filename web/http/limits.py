"""What a client may still submit, as response headers (draft-ietf-httpapi-ratelimit-headers-10)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from core.budgets import WINDOW_S

if TYPE_CHECKING:
    from flask import Response

    from core.budgets import Window


def add_limits(response: Response, windows: Sequence[Window]) -> None:
    """Say each limit in `RateLimit-Policy` and what is left of it in `RateLimit`.

    `q` is the limit, `w` the window's length in seconds, `r` what is left of it.
    """
    if not windows:
        return
    response.headers["RateLimit-Policy"] = ", ".join(
        f'"{_name(window)}";q={window.limit};w={WINDOW_S[window.name]}' for window in windows
    )
    response.headers["RateLimit"] = ", ".join(
        f'"{_name(window)}";r={window.left}' for window in windows
    )


def _name(window: Window) -> str:
    return f"key_{window.name}" if window.key_id else window.name
