"""Numbers with and without units."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

_SECONDS: Final = {"ms": 0.001, "s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400}
_BYTES: Final = {
    "": 1,
    "b": 1,
    "k": 1024,
    "kb": 1000,
    "kib": 1024,
    "m": 1 << 20,
    "mb": 10**6,
    "mib": 1 << 20,
    "g": 1 << 30,
    "gb": 10**9,
    "gib": 1 << 30,
}
_NUMBER: Final = re.compile(r"([+-]?\d{1,18}(?:_\d{3})*(?:\.\d{1,6})?)\s*([a-zA-Z]*)", re.ASCII)


def read_port(given: Any) -> Any:
    """Return a port's number; `:8001` is one too.

    Raises:
        ValueError: the text is no number.
    """
    return _whole(given.removeprefix(":"), "a port") if isinstance(given, str) else given


def read_count(given: Any) -> Any:
    """Return a whole number; its thousands may be set apart by underscores.

    Raises:
        ValueError: the text is no number.
    """
    return _whole(given, "a whole number") if isinstance(given, str) else given


def read_usd(given: Any) -> Any:
    """Return dollars, from `250`, `$250` or `1_000.50`.

    Raises:
        ValueError: the text is no number.
    """
    text = given.removeprefix("$") if isinstance(given, str) else given
    return _scaled(text, {"": 1, "usd": 1}, "dollars such as 250 or 99.50")


def read_seconds(given: Any) -> Any:
    """Return a time in seconds, from `90`, `90s`, `1.5 min`, `2h`, `500ms` or `1d`.

    Raises:
        ValueError: the text is no time.
    """
    return _scaled(given, _SECONDS | {"": 1}, "a time such as 90, 90s, 2min or 1h")


def read_bytes(given: Any) -> Any:
    """Return a size in bytes, from `262144`, `256k`, `256KiB` or `4MB`.

    Raises:
        ValueError: the text is no size.
    """
    return _scaled(given, _BYTES, "a size in bytes such as 262144 or 256KiB")


def _scaled(given: Any, units: Mapping[str, float], what: str) -> Any:
    if not isinstance(given, str):
        return given
    found = _NUMBER.fullmatch(given)
    factor = units.get(found[2].lower()) if found else None
    if found is None or factor is None:
        raise ValueError(f"must be {what}")
    value = float(found[1].replace("_", "")) * factor
    return int(value) if value.is_integer() else value


def _whole(text: str, what: str) -> int:
    found = _NUMBER.fullmatch(text)
    if found is None or found[2] or "." in found[1]:
        raise ValueError(f"must be {what}, in digits alone")
    return int(found[1].replace("_", ""))
