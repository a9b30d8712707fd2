"""The routes by which many jobs are cancelled or asked again at once."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from flask import jsonify
from msgspec.structs import replace
from pydantic import Field, StringConstraints

from core.account_errors import TrialEnded
from core.bulk import BulkKind, BulkStatus
from core.errors import InvalidRequest, NotFound, StoreUnavailable
from core.jobs import TERMINAL, JobStatus
from core.limit_errors import TooManyActions
from core.public import ACTIONS_PATH
from core.timing import iso_time
from web.accounts.auth import current_user, require_user
from web.http.cursors import read_cursor, to_cursor
from web.http.openapi import returns, routes
from web.http.schemas import Documented, Query, ResponseBody, Time
from web.jobs.filter_schemas import BulkRequest
from web.jobs.schemas import WHOLE_NUMBER
from web.services import current_services

if TYPE_CHECKING:
    from core.bulk import BulkAction
    from core.job_filter import JobFilter

bulk_api = routes("bulk", __name__, "Acts on many jobs at once.", prefix="/api/ai/v4")
bulk_api.before_request(require_user)


class Action(ResponseBody):
    """An act on many jobs, and how far it has come."""

    id: str
    object: Literal["bulk_action"]
    kind: BulkKind
    status: BulkStatus
    """`expired` where limits kept it from its end for a day."""
    filter: dict[str, Any]
    """What was named of the filter."""
    created_at: Time
    finished_at: Time | None
    done: int
    """Jobs that were cancelled, or asked again."""
    skipped: int
    """Jobs with which there was nothing to do any more."""
    refused: dict[str, int]
    """Jobs that could not be asked again, by the code of the error."""
    waits_for: str | None
    """The code of the limit that it waits for; it goes on when there is room."""
    links: dict[str, str]


class ActionList(ResponseBody):
    """A page of actions."""

    object: Literal["list"]
    data: list[Action]
    next_cursor: str | None
    """Brings the next page; null on the last one."""


class ActionQuery(Query):
    """Which actions."""

    limit: Annotated[int, Field(ge=1, le=100), WHOLE_NUMBER] = 20
    """How many actions a page has at most."""
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """`next_cursor` of the page before."""


class ActionPath(Documented):
    """Which action."""

    action_id: str
    """The action's id."""


_BEGUN = {202: (Action, "It is durable, and upkeep carries it out.")}


@bulk_api.post("/jobs/cancel", **returns(_BEGUN, TooManyActions, StoreUnavailable))
def cancel_jobs(body: BulkRequest) -> Any:
    """Cancel all jobs that meet the filter and have not ended."""
    if body.status in TERMINAL:
        raise InvalidRequest("`status` must be of jobs that have not ended.", field="status")
    return _begin("cancel", replace(body.to_filter(), unfinished=True))


@bulk_api.post("/jobs/retry", **returns(_BEGUN, TrialEnded, TooManyActions, StoreUnavailable))
def retry_jobs(body: BulkRequest) -> Any:
    """Ask again what all jobs that meet the filter have asked; without `status` the failed ones.

    Limits, plan and budgets are those of now; where one is reached it waits, for a day at most.
    """
    if body.status is not None and body.status not in TERMINAL:
        raise InvalidRequest("`status` must be of jobs that have ended.", field="status")
    current_user().plan_in_force()
    return _begin("retry", replace(body.to_filter(), status=body.status or JobStatus.FAILED))


@bulk_api.get(
    "/actions", **returns({200: (ActionList, "Actions, the newest first.")}, StoreUnavailable)
)
def list_actions(query: ActionQuery) -> Any:
    """Return the acts on many jobs; ended ones are known for 30 days."""
    found = current_services().bulk_actions.list_of_user(
        current_user().id, limit=query.limit, before=read_cursor(query.cursor)
    )
    last = found[-1] if len(found) == query.limit else None
    return {
        "object": "list",
        "data": [_public(action) for action in found],
        "next_cursor": to_cursor(last.created_ms, last.id) if last else None,
    }


@bulk_api.get(
    "/actions/<string:action_id>",
    **returns({200: (Action, "The action as it stands.")}, NotFound, StoreUnavailable),
)
def get_action(path: ActionPath) -> Any:
    """Return how far an act on many jobs has come."""
    found = current_services().bulk_actions.get(current_user().id, path.action_id)
    if found is None:
        raise NotFound("No action of this account has this id.")
    return _public(found)


def _begin(kind: BulkKind, wanted: JobFilter) -> Any:
    action = current_services().bulk_actions.begin(current_user().id, kind, wanted)
    response = jsonify(_public(action))
    response.status_code = 202
    response.headers["Location"] = _link(action)
    return response


def _link(action: BulkAction) -> str:
    return f"{ACTIONS_PATH}/{action.id}"


def _public(action: BulkAction) -> dict[str, Any]:
    return {
        "id": action.id,
        "object": "bulk_action",
        "kind": action.kind,
        "status": action.status,
        "filter": _public_filter(action.filter),
        "created_at": iso_time(action.created_ms),
        "finished_at": iso_time(action.finished_ms),
        "done": action.done,
        "skipped": action.skipped,
        "refused": action.refused,
        "waits_for": action.waits_for,
        "links": {"self": _link(action)},
    }


def _public_filter(wanted: JobFilter) -> dict[str, Any]:
    named = {
        "status": wanted.status.value if wanted.status else None,
        "mode": wanted.mode,
        "agent": wanted.agent,
        "model": wanted.model,
        "from": iso_time(wanted.from_ms),
        "to": iso_time(wanted.to_ms),
        "metadata": [f"{name}={value}" for name, value in wanted.metadata] or None,
        "text": " ".join(wanted.words) or None,
    }
    return {name: value for name, value in named.items() if value is not None}
