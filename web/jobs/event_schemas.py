"""The events of a job as streams and polls return them: one schema per type.

The data of each type is what its constructor in `core.events` makes.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Union

from pydantic import Field, RootModel, create_model

from core import events
from core.jobs import JobStatus, Mode
from core.outcome import CacheLayer
from web.http.schemas import ResponseBody, Time
from web.jobs.response_schemas import AgentTiming, Job, JobError, JobTiming, Usage


class JobQueuedData(ResponseBody):
    """The job is accepted."""

    mode: Mode
    restored: bool
    """Whether Redis lost the job and its record brought it back."""


class JobStartedData(ResponseBody):
    """A worker begins an attempt."""

    attempt: int


class JobRetryingData(ResponseBody):
    """Text so far is void: of one agent, or of the whole job where `agent` is null."""

    reason: str
    attempt: int
    agent: str | None
    round: int | None
    retry_after_s: float | None
    """When the next attempt begins; null where it begins at once."""


class CacheHitData(ResponseBody):
    """A kept answer answers the job."""

    layer: CacheLayer | None
    age_s: float | None
    saved_usd: float
    coalesced: bool
    """Whether it is the answer of another job that ran at the same time."""


class RouteSelectedData(ResponseBody):
    """An agent is asked with this tier and model."""

    agent: str
    round: int
    tier: str
    model: str
    reason: str
    score: float | None
    """How hard the router found the question, from 0 to 1."""
    fallback_from: str | None
    """The model that did not answer, where this one replaces it."""


class AgentStartedData(ResponseBody):
    """An agent's turn begins."""

    agent: str
    round: int
    model: str
    attempt: int


class AgentDeltaData(ResponseBody):
    """The next piece of the reply of one of several agents."""

    agent: str
    round: int
    text: str


class AgentEndedData(ResponseBody):
    """An agent's turn is over: `agent.completed` with a whole or cut reply, or `agent.failed`."""

    agent: str
    round: int
    status: Literal["completed", "failed", "cancelled", "incomplete"]
    usage: Usage
    cost_usd: float
    timing_ms: AgentTiming
    error: JobError | None


class SynthesisStartedData(ResponseBody):
    """The replies of these agents are being made into one answer."""

    model: str
    contributors: list[str]
    attempt: int


class AnswerDeltaData(ResponseBody):
    """The next piece of the job's answer."""

    agent: str
    """Who writes it: an agent, `synthesis`, or several agents joined by commas."""
    text: str


class JobEndedData(ResponseBody):
    """The job has ended; no event follows."""

    status: JobStatus
    finish_reason: str | None
    usage: Usage
    cost_usd: float
    degraded: bool
    timing_ms: JobTiming | None
    error: JobError | None


#: The data of each type; the snapshot is no entry of a log.
DATA: Final[dict[str, type[ResponseBody]]] = {
    events.JOB_QUEUED: JobQueuedData,
    events.JOB_STARTED: JobStartedData,
    events.ROUTE_SELECTED: RouteSelectedData,
    events.CACHE_HIT: CacheHitData,
    events.AGENT_STARTED: AgentStartedData,
    events.AGENT_DELTA: AgentDeltaData,
    events.AGENT_COMPLETED: AgentEndedData,
    events.AGENT_FAILED: AgentEndedData,
    events.SYNTHESIS_STARTED: SynthesisStartedData,
    events.ANSWER_DELTA: AnswerDeltaData,
    events.JOB_RETRYING: JobRetryingData,
    events.JOB_COMPLETED: JobEndedData,
    events.JOB_FAILED: JobEndedData,
    events.JOB_CANCELLED: JobEndedData,
    events.JOB_INCOMPLETE: JobEndedData,
    events.JOB_SNAPSHOT: Job,
}
_SNAPSHOT: Final = "Only in a stream, in place of events that are no longer kept: the whole job."


def _to_event(type_: str, data: type[ResponseBody]) -> type[ResponseBody]:
    fields: dict[str, Any] = {
        "sequence": Annotated[int, Field(description="The number of the event, from 1 on.")],
        "type": Literal[type_],
        "job_id": str,
        "at": Time,
        "data": data,
    }
    return create_model(
        "".join(word.title() for word in type_.split(".")) + "Event",
        __base__=ResponseBody,
        __doc__=_SNAPSHOT if type_ == events.JOB_SNAPSHOT else data.__doc__,
        **fields,
    )


_EVENTS: Final = tuple(_to_event(type_, data) for type_, data in DATA.items())
#: The `data:` of each frame of a stream, and each entry of a poll's `events`.
Event: Final = create_model(
    "Event",
    __base__=RootModel[Annotated[Union[_EVENTS], Field(discriminator="type")]],  # type: ignore[valid-type]  # noqa: UP007
    __doc__="One numbered event of a job.",
)
JobWithEvents: Final = create_model(
    "JobWithEvents",
    __base__=Job,
    __doc__="A job and its events above `after`, at most 1,000.",
    events=list[Event],
    next_after=Annotated[int, Field(description="What the next poll sends as `after`.")],
)
#: What a poll returns: with events if it has `after`.
JobOrPoll: Final = create_model(
    "JobOrPoll",
    __base__=RootModel[Union[JobWithEvents, Job]],  # noqa: UP007
    __doc__="The job; with its events where the request has `after`.",
)
