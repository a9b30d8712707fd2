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
    """What `job.queued` says."""

    mode: Mode
    restored: bool
    """Whether Redis lost the job and its record brought it back."""


class JobStartedData(ResponseBody):
    """What `job.started` says."""

    attempt: int


class JobRetryingData(ResponseBody):
    """What `job.retrying` says."""

    reason: str
    attempt: int
    agent: str | None
    round: int | None
    retry_after_s: float | None
    """When the next attempt begins; null where it begins at once."""


class CacheHitData(ResponseBody):
    """What `cache.hit` says."""

    layer: CacheLayer | None
    age_s: float | None
    saved_usd: float
    coalesced: bool
    """Whether it is the answer of another job that ran at the same time."""


class RouteSelectedData(ResponseBody):
    """What `route.selected` says."""

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
    """What `agent.started` says."""

    agent: str
    round: int
    model: str
    attempt: int


class AgentDeltaData(ResponseBody):
    """What `agent.delta` says."""

    agent: str
    round: int
    text: str


class AgentEndedData(ResponseBody):
    """What `agent.completed` and `agent.failed` say."""

    agent: str
    round: int
    status: Literal["completed", "failed", "cancelled", "incomplete"]
    usage: Usage
    cost_usd: float
    timing_ms: AgentTiming
    error: JobError | None


class SynthesisStartedData(ResponseBody):
    """What `synthesis.started` says."""

    model: str
    contributors: list[str]
    attempt: int


class AnswerDeltaData(ResponseBody):
    """What `answer.delta` says."""

    agent: str
    """Who writes it: an agent, `synthesis`, or several agents joined by commas."""
    text: str


class JobEndedData(ResponseBody):
    """What a job's last event says."""

    status: JobStatus
    finish_reason: str | None
    usage: Usage
    cost_usd: float
    degraded: bool
    timing_ms: JobTiming | None
    error: JobError | None


#: When each type comes and what its data are; the snapshot is no entry of a log.
EVENTS: Final[dict[str, tuple[str, type[ResponseBody]]]] = {
    events.JOB_QUEUED: ("The job is accepted.", JobQueuedData),
    events.JOB_STARTED: ("A worker begins an attempt.", JobStartedData),
    events.ROUTE_SELECTED: ("An agent is asked with this tier and model.", RouteSelectedData),
    events.CACHE_HIT: ("A kept answer answers the job.", CacheHitData),
    events.AGENT_STARTED: ("An agent's turn begins.", AgentStartedData),
    events.AGENT_DELTA: ("The next piece of the reply of one of several agents.", AgentDeltaData),
    events.AGENT_COMPLETED: ("An agent's turn ends with a whole or cut reply.", AgentEndedData),
    events.AGENT_FAILED: ("An agent's turn ends without a reply to use.", AgentEndedData),
    events.SYNTHESIS_STARTED: (
        "The replies of these agents are being made into one answer.",
        SynthesisStartedData,
    ),
    events.ANSWER_DELTA: ("The next piece of the job's answer.", AnswerDeltaData),
    events.JOB_RETRYING: (
        "Text so far is void: of one agent, or of the whole job where `agent` is null.",
        JobRetryingData,
    ),
    events.JOB_COMPLETED: ("The job has its answer. No event follows.", JobEndedData),
    events.JOB_FAILED: ("An error ends the job. No event follows.", JobEndedData),
    events.JOB_CANCELLED: ("The job ends because it was cancelled.", JobEndedData),
    events.JOB_INCOMPLETE: (
        "The deadline or the token limit ends the job, with what exists.",
        JobEndedData,
    ),
    events.JOB_SNAPSHOT: (
        "Only in a stream, in place of events that are no longer kept: the whole job.",
        Job,
    ),
}


def _to_event(type_: str, meaning: str, data: type[ResponseBody]) -> type[ResponseBody]:
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
        __doc__=meaning,
        **fields,
    )


_MODELS: Final = tuple(_to_event(type_, *event) for type_, event in EVENTS.items())
#: The `data:` of each frame of a stream, and each entry of a poll's `events`.
Event: Final = create_model(
    "Event",
    __base__=RootModel[Annotated[Union[_MODELS], Field(discriminator="type")]],  # type: ignore[valid-type]  # noqa: UP007
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
