"""The stub upstream's forms of an answer: what servers were seen to send in place of the usual.

Pure functions from a request's directives to bytes; `HOSTILE` describes the directives.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, Final

HOSTILE: Final = """what servers were seen to send; each may stand beside the directives above:
  [[stub:null_delta]] null_choices null_data empty_data ping    chunks that carry nothing
  [[stub:bom]] [[stub:cr]] [[stub:split_data]]   a BOM; lines that end in CR; an event in two lines
  [[stub:parts]] [[stub:message]] [[stub:text]]  text as a list of parts, in `message`, in `text`
  [[stub:not_utf8]]                          each token ends in a byte that is no UTF-8
  [[stub:finish=abort]]                      any finish reason
  [[stub:done_only]]                         [DONE] without a finish reason
  [[stub:no_text]] only_reasoning only_tool_calls               ends without any text
  [[stub:error_line=400]] error_data=400 error_json=400         an error inside a 200
  [[stub:plain_json]] [[stub:html]]          no stream: a whole completion, a web page
  [[stub:ignore_max tokens=5000]]            sends more tokens than it was asked for
  [[stub:400 code=model_decommissioned]]     an error's code; also tool_use_failed and any other
  [[stub:429 retry_after=date:30]]           Retry-After as a date in 30 s, or any text
  [[stub:reset=1m30s]]                       x-ratelimit headers with this reset
  [[stub:usage=negative]] cached huge text float null           a usage that makes no sense
  [[stub:400 body=gzip]] [[stub:500 body=long]]                 error bodies of 100 MB
  [[stub:head_first stall_before=25]]        sends the head of the response before the silence
"""
_MEGABYTE: Final = b"x" * (1 << 20)
_USAGES: Final[Mapping[str, object]] = {
    "negative": {"prompt_tokens": -500_000, "completion_tokens": -500_000},
    "cached": {
        "prompt_tokens": 10,
        "completion_tokens": 1,
        "prompt_tokens_details": {"cached_tokens": 1_000_000},
    },
    "huge": {"prompt_tokens": 9_300_000_000_000_000_000, "completion_tokens": 10**12},
    "text": {"prompt_tokens": "10", "completion_tokens": "5"},
    "float": {"prompt_tokens": 10.5, "completion_tokens": 10.0},
    "null": {"prompt_tokens": None, "completion_tokens": None},
}
_OPENINGS: Final[Mapping[str, bytes]] = {
    "bom": b"\xef\xbb\xbf",
    "empty_data": b"data:\n\n",
    "null_data": b"data: null\n\n",
    "null_choices": b'data: {"choices": null}\n\n',
    "null_delta": b'data: {"choices": [{"index": 0, "delta": null}]}\n\n',
    "ping": b": ping\n\n",
}
_EMPTY_DELTAS: Final[Mapping[str, dict[str, Any]]] = {
    "no_text": {},
    "only_reasoning": {"reasoning": "hm"},
    "only_tool_calls": {"tool_calls": [{"index": 0, "id": "call_1"}]},
}
Options = Mapping[str, str]


def to_line(choice: dict[str, Any] | None, **extra: object) -> bytes:
    chunk = {
        "id": "chatcmpl-stub",
        "object": "chat.completion.chunk",
        "created": 0,
        "model": "stub",
        "choices": [] if choice is None else [{"index": 0, "finish_reason": None} | choice],
    }
    return b"data: " + json.dumps(chunk | extra).encode() + b"\n\n"


def opening(options: Options) -> bytes:
    """Return what comes before the first token."""
    return b"".join(raw for name, raw in _OPENINGS.items() if name in options)


def token_line(options: Options, token: str) -> bytes:
    """Return a token's chunk in the form of the directives."""
    choice: dict[str, Any] = {"delta": {"content": token}}
    if any(name in options for name in _EMPTY_DELTAS):
        choice = {"delta": next(delta for name, delta in _EMPTY_DELTAS.items() if name in options)}
    elif "parts" in options:
        choice = {"delta": {"content": [{"type": "text", "text": token}]}}
    elif "message" in options:
        choice = {"message": {"content": token}}
    elif "text" in options:
        choice = {"text": token}
    line = to_line(choice)
    if "not_utf8" in options:
        line = line.replace(token.encode(), token.encode() + b"\xff")
    return framed(options, line)


def framed(options: Options, line: bytes) -> bytes:
    """Return a line of the stream with the ends of line that the directives want."""
    if "split_data" in options:
        line = line.replace(b', "choices"', b',\ndata: "choices"')
    return line.replace(b"\n", b"\r") if "cr" in options else line


def usage(options: Options, honest: dict[str, int]) -> object:
    return _USAGES.get(options.get("usage", ""), honest)


def whole_body(options: Options, text: str, honest: dict[str, int]) -> bytes | None:
    """Return the body of a 200 that is no event stream, if the directives want one."""
    if "html" in options:
        return b"<!DOCTYPE html><html><title>Sign in</title></html>"
    if "error_json" in options:
        return json.dumps(_error(options["error_json"])).encode()
    if "error_line" in options:
        return b"error: " + json.dumps(_error(options["error_line"])).encode() + b"\n\n"
    if "error_data" in options:
        return b"data: " + json.dumps(_error(options["error_data"])).encode() + b"\n\n"
    if "plain_json" in options:
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return json.dumps({"choices": [choice], "usage": usage(options, honest)}).encode()
    return None


def refusal(options: Options, status: int) -> tuple[dict[str, str], bytes]:
    """Return the headers and the body of an error."""
    headers = {"content-type": "application/json"}
    if wait := options.get("retry_after"):
        headers["retry-after"] = _as_date(wait) if wait.startswith("date:") else wait
    if options.get("body") == "gzip":
        return headers | {"content-encoding": "gzip"}, gzip.compress(_MEGABYTE * 100, 1)
    if options.get("body") == "long":
        return headers, _MEGABYTE * 100
    error = {"message": f"stub says {status}"}
    if code := options.get("code"):
        error |= {"type": "invalid_request_error", "code": code}
    return headers, json.dumps({"error": error}).encode()


def limit_headers(options: Options) -> dict[str, str]:
    if "reset" not in options:
        return {}
    kinds = ("requests", "tokens")
    return {f"x-ratelimit-{name}-{kind}": value for kind in kinds for name, value in (
        ("limit", "1000000"), ("remaining", "999999"), ("reset", options["reset"])
    )}  # fmt: skip


def _error(code: str) -> dict[str, Any]:
    return {"error": {"message": "stub says no", "code": int(code) if code.isdigit() else code}}


def _as_date(wait: str) -> str:
    seconds = float(wait.removeprefix("date:"))
    return format_datetime(datetime.now(UTC) + timedelta(seconds=seconds), usegmt=True)
