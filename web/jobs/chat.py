"""Submitting chat jobs."""

from __future__ import annotations

import re
from typing import Any, Final

from flask import Response, g, jsonify, request
from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.tag import Tag

from core.errors import InvalidRequest
from core.jobs import Mode
from core.public import to_public
from web.accounts.auth import current_user, require_user
from web.jobs.jobs import wait_for_end
from web.jobs.schemas import ChatRequest, TeamChatRequest
from web.jobs.stream import event_stream
from web.jobs.submission import Submitted, submit
from web.services import current_services

chat_api = APIBlueprint("chat", __name__, url_prefix="/api/ai/v4/chat", abp_tags=[Tag(name="chat")])
chat_api.before_request(require_user)

#: How long a quick request waits for its answer when it does not say, in seconds.
_QUICK_WAIT_S: Final = 10.0
_MAX_WAIT_S: Final = 60.0
_MAX_KEY_CHARS: Final = 255
_WAIT_PREFERENCE = re.compile(
    r"(?:^|[,;])\s*wait\s*=\s*\"?(\d{1,4})\"?\s*(?=$|[,;])", re.IGNORECASE
)


@chat_api.post("/optimized")
def optimized(body: ChatRequest) -> Any:
    """Have the best-suited agent answer; 202 with the job, or 200 with `Prefer: wait=S`."""
    return _answer(body, "optimized", default_wait_s=0.0)


@chat_api.post("/quick")
def quick(body: ChatRequest) -> Any:
    """Have the quick tier answer; waits up to 10 s unless `Prefer: wait=S` says otherwise."""
    return _answer(body, "quick", default_wait_s=_QUICK_WAIT_S)


@chat_api.post("/multi-agent")
def multi_agent(body: TeamChatRequest) -> Any:
    """Have several agents answer at once, and one answer made of it."""
    return _answer(body, "multi_agent", default_wait_s=0.0)


@chat_api.post("/stream")
def stream(body: ChatRequest) -> Response:
    """Submit and answer with the job's event stream."""
    submitted = _submit(body, "stream")
    response = event_stream(current_services(), submitted.job, after=0)
    response.headers["Location"] = to_public(submitted.job)["links"]["self"]
    return response


def _answer(body: ChatRequest | TeamChatRequest, mode: Mode, *, default_wait_s: float) -> Any:
    wait_s = _preferred_wait_s(default_wait_s)
    submitted = _submit(body, mode)
    job = wait_for_end(current_services(), submitted.job, wait_s)
    public = to_public(job)
    response = jsonify(public)
    response.status_code = 200 if job.is_terminal else 202
    response.headers["Location"] = public["links"]["self"]
    if "Prefer" in request.headers and wait_s:
        response.headers["Preference-Applied"] = f"wait={wait_s:.0f}"
    if submitted.is_repeat:
        response.headers["Idempotency-Replayed"] = "true"
    return response


def _submit(body: ChatRequest | TeamChatRequest, mode: Mode) -> Submitted:
    user = current_user()
    return submit(
        current_services(),
        user,
        body,
        mode=mode,
        idempotency_key=_idempotency_key(),
        request_id=g.request_id,
    )


def _preferred_wait_s(default_s: float) -> float:
    """Read `Prefer: wait=S` (RFC 7240), at most 60 s; an unreadable preference is ignored."""
    found = _WAIT_PREFERENCE.search(request.headers.get("Prefer", ""))
    return min(float(found[1]), _MAX_WAIT_S) if found else default_s


def _idempotency_key() -> str | None:
    key = request.headers.get("Idempotency-Key")
    if key is not None and not (0 < len(key) <= _MAX_KEY_CHARS):
        raise InvalidRequest("It has to have 1 to 255 characters.", field="Idempotency-Key")
    return key
