"""Log lines: one JSON object each, with the ids of the request and the job, without secrets.

Never log what a user wrote or a model answered.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, BinaryIO, Final

import msgspec
import structlog
from structlog.typing import ExcInfo, Processor

REDACTED: Final = "[redacted]"
_SECRET_NAMES: Final = re.compile(
    r"passw(or)?d|secret|token|authorization|api_?key|cookie|credential", re.IGNORECASE
)
#: Names that look secret and are not.
_PLAIN_NAMES: Final = frozenset(
    {"max_tokens", "input_tokens", "output_tokens", "total_tokens", "cached_input_tokens"}
)
#: Each pattern with what stays of it; the first two take a secret by its place, the rest by shape.
_SECRETS: Final = (
    (re.compile(r"(?<=://)[^\s/]*@"), f"{REDACTED}@"),
    (
        re.compile(
            # No pattern for the name's beginning: it would be read again from each of its parts.
            r"((?:passw(?:or)?d|secret|token|api[_-]?key|authorization)"
            r"[\"']?\s*[=:]\s*)(?:(?:bearer|basic)\s+)?(?:\"[^\"]*\"|'[^']*'|[^\s\"',;&})\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{REDACTED}",
    ),
    (re.compile(r"\b(bearer|basic)\s+[\w.~+/=-]{6,}", re.IGNORECASE), rf"\1 {REDACTED}"),
    (re.compile(r"\b(?:gsk_|ak-)[\w-]+"), REDACTED),
    (re.compile(r"\beyJ[\w-]{1,1000}\.[\w-]+(?:\.[\w-]*)*"), REDACTED),
)

#: Without any of these no pattern above can match.
_SIGNS: Final = re.compile(
    r"://|passw|secret|token|api[_-]?key|authorization|bearer|basic|gsk_|ak-|eyJ", re.IGNORECASE
)

_encode = msgspec.json.Encoder().encode
_LEVELS: Final = {"warn": "warning", "exception": "error", "fatal": "critical"}


def configure_logs(level: str, service: str, stream: BinaryIO | None = None) -> None:
    """Send every log line of the process to `stream` as JSON; a repeat replaces the former.

    Warnings and errors of libraries, which use the standard logging, become the same lines.

    Args:
        level: least level of Aether's own lines: debug, info, warning or error.
        service: which process kind this is: api, worker, beat, …
        stream: standard error unless given.
    """
    out = stream or sys.stderr.buffer
    processors = _processors(service)
    structlog.configure(
        processors=processors,
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.BytesLoggerFactory(out),
        cache_logger_on_first_use=True,
    )
    root = logging.getLogger()
    for handler in root.handlers[:]:
        root.removeHandler(handler)
    root.addHandler(_Bridge(processors, structlog.BytesLogger(out)))
    root.setLevel(logging.WARNING)
    logging.captureWarnings(True)


def _processors(service: str) -> list[Processor]:
    def render(_logger: Any, method: str, event: MutableMapping[str, Any]) -> bytes:
        """Put the common fields first and encode; they cannot hold a secret unless scrubbed."""
        line = {
            "ts": datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": _LEVELS.get(method, method),
            "event": redact_text(str(event.pop("event", ""))),
            "service": service,
        }
        for name, value in event.items():
            line[name] = redact(name, value)
        return _encode(line)

    return [
        structlog.contextvars.merge_contextvars,
        structlog.processors.format_exc_info,
        render,
    ]


def redact(name: str, value: Any) -> Any:
    """Return the value as it may be logged under that name, made of JSON's types alone."""
    if value is None or isinstance(value, bool | int | float):
        return value
    if _is_secret(name):
        return REDACTED
    if isinstance(value, str):
        return redact_text(value)
    if isinstance(value, Mapping):
        return {redact_text(str(key)): redact(str(key), item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [redact(name, item) for item in value]
    return redact_text(str(value))


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return name not in _PLAIN_NAMES and _SECRET_NAMES.search(name) is not None


def redact_text(text: str) -> str:
    """Return the text without what looks like a key, a token, or a password."""
    if _SIGNS.search(text):
        for pattern, rest in _SECRETS:
            text = pattern.sub(rest, text)
    # A lone surrogate, as in a file name, is no JSON.
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


class _Bridge(logging.Handler):
    """Takes records of the standard logging through the same processors."""

    def __init__(self, processors: list[Processor], out: structlog.BytesLogger) -> None:
        super().__init__(logging.WARNING)
        self._processors = processors
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._out.msg(self._to_line(record))
        except Exception:  # a log line must not break what it tells about
            self.handleError(record)

    def _to_line(self, record: logging.LogRecord) -> bytes:
        event: Any = {"event": record.getMessage(), "logger": record.name}
        exc_info: ExcInfo | None = record.exc_info  # type: ignore[assignment]
        if exc_info and exc_info[0] is not None:
            event["exc_info"] = exc_info
        for process in self._processors:
            event = process(None, record.levelname.lower(), event)
        line: bytes = event
        return line
