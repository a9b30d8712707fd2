"""What the routes about jobs return: a job in its public form, as `core.public` makes it.

Parts that do not apply are null. Money is in dollars, durations are in milliseconds unless the name
says otherwise.
"""

from __future__ import annotations

from typing import Literal

from core.jobs import JobStatus, Mode, Rating, Strategy
from core.models import Tier
from core.outcome import CacheLayer
from web.http.schemas import ResponseBody, Time


class Usage(ResponseBody):
    """Tokens, as the provider counts them."""

    input_tokens: int
    cached_input_tokens: int
    """The part of `input_tokens` that the provider's prompt cache held."""
    output_tokens: int
    total_tokens: int


class JobError(ResponseBody):
    """Why a job or an agent did not complete."""

    code: str
    """Stable; see the list of job errors."""
    message: str
    """A sentence for people."""


class _Asked(ResponseBody):
    message: str | None
    """The question; null in polls with `after`, which do not load it."""
    max_tokens: int
    temperature: float | None


class AskedOfAgent(_Asked):
    """A request to one agent, as it was accepted."""

    agents: list[str] | None
    """The agent that the request named; null where relevance decides."""
    tier: Tier | None
    model: str | None
    max_cost_usd: float | None
    routing: Literal["auto", "cascade"]


class AskedOfTeam(_Asked):
    """A request to several agents, as it was accepted."""

    agents: list[str] | Literal["auto"]
    strategy: Strategy
    rounds: int
    quorum: int
    agent_deadline_s: float | None
    synthesis: bool


class Answer(ResponseBody):
    """The job's final text."""

    text: str
    finish_reason: str
    """`stop` where the model ended by itself, `length` where its token limit cut the text."""
    agents: list[str]
    """Who contributed."""


class AgentTiming(ResponseBody):
    """Where one agent's time went, in milliseconds; empty where it did not begin."""

    queue: int = 0
    """From the round's beginning to the claim; only in a team."""
    first_token: int | None = None
    """From the call to the first text."""
    total: int | None = None


class Draft(ResponseBody):
    """A quick answer of a cascade that was not served."""

    model: str
    usage: Usage
    cost_usd: float


class AgentReport(ResponseBody):
    """What one agent did in a job."""

    name: str
    status: Literal["completed", "failed", "cancelled", "incomplete"]
    tier: str
    model: str
    reason: str
    """Why this agent with this model."""
    usage: Usage
    """Drafts included."""
    cost_usd: float
    timing_ms: AgentTiming
    error: JobError | None
    text: str | None
    """The agent's reply where it is one of several; null where it is alone."""
    rounds: int
    """How often the agent was asked."""
    drafts: list[Draft]


class Savings(ResponseBody):
    """What was saved, by where it comes from; a negative part cost more than it saved."""

    routing_usd: float
    cache_usd: float
    prompt_cache_usd: float


class Cost(ResponseBody):
    """What a job costs."""

    usd: float
    reserved_usd: float
    """What the job most likely costs, which its budgets hold until it has ended; a longer answer
    has more held."""
    saved_usd: float
    """Against the same usage at the strongest tier without any cache."""
    saved: Savings


class Route(ResponseBody):
    """Which class of model answers, and why."""

    tier: str
    model: str
    reason: str
    score: float | None
    """How hard the router found the question, from 0 to 1; null where it was not asked."""


class CacheUse(ResponseBody):
    """What the answer cache had to do with a job."""

    status: Literal["hit", "miss", "bypass", "coalesced"]
    """`coalesced`: the call of another job with the same question answered it."""
    layer: CacheLayer | None
    """Where a hit was found."""
    age_s: float | None
    """How old the answer was, in seconds."""


class JobTiming(ResponseBody):
    """Where the job's time went; all parts but `first_token` add up to `total`."""

    accept: int
    """Until the job was accepted, or answered in the submit."""
    queue: int
    """Until a worker claimed it."""
    route: int
    cache: int
    model: int
    synthesis: int
    persist: int
    """Everything else: writing events, waiting for a processor."""
    first_token: int | None
    """A point in time: from the call of the model to the first text."""
    total: int


class Schedule(ResponseBody):
    """When and in what order the job starts."""

    priority: int
    """Higher goes first, among the user's own jobs that wait."""
    run_at: Time | None
    """When it may start; null for at once."""
    expires_at: Time | None
    """When it is given up unless it has begun."""
    concurrency_key: str | None
    """Jobs with the same key run `concurrency_limit` at a time."""
    concurrency_limit: int


class QueuePlace(ResponseBody):
    """Where a waiting job stands."""

    position: int | None
    estimated_start_s: float | None


class Feedback(ResponseBody):
    """What the user said of an ended job."""

    rating: Rating
    comment: str | None
    at: Time


class Links(ResponseBody):
    """Paths of this job."""

    self: str
    events: str
    cancel: str
    """Send DELETE to it."""
    retry: str
    """Send POST to it when the job has ended, to ask the same again."""
    feedback: str
    """Send POST to it when the job has ended; DELETE takes the feedback back."""


class History(ResponseBody):
    """How much of its branch of the conversation an agent was told."""

    given: int
    """Earlier exchanges, whole; of several agents the least."""
    left_out: int
    """Earlier messages that had no answer or did not fit."""


class Job(ResponseBody):
    """One chat job as it stands."""

    id: str
    object: Literal["job"]
    status: JobStatus
    mode: Mode
    """The route that submitted it."""
    created_at: Time
    started_at: Time | None
    """When a worker first claimed it."""
    finished_at: Time | None
    cursor: int
    """The number of the job's latest event."""
    attempt: int
    """How often a worker claimed the job."""
    conversation_id: str | None
    parent_id: str | None
    """The job that this one goes on with, of the same conversation."""
    history: History | None
    """How much of its conversation was told; null outside of one, and until it is known."""
    retry_of: str | None
    """The ended job that this one asks again."""
    title_of: str | None
    """The conversation that this job finds a title for."""
    webhook: str | None
    """The URL that is told of the job's end."""
    metadata: dict[str, str]
    degraded: bool
    """Whether an agent or the synthesis failed and the answer does without."""
    request: AskedOfAgent | AskedOfTeam
    schedule: Schedule
    answer: Answer | None
    """What exists; a failed, cancelled or incomplete job may have a part of it."""
    agents: list[AgentReport]
    """What each agent did, once the job has ended."""
    synthesis: AgentReport | None
    """How several replies became one answer."""
    usage: Usage
    """The tokens of every call."""
    cost: Cost
    route: Route | None
    """Which tier and model gave the answer."""
    cache: CacheUse
    timing_ms: JobTiming | None
    """Set when the job has ended."""
    queue: QueuePlace
    error: JobError | None
    """Why the job did not complete."""
    feedback: Feedback | None
    """The latest; null where there is none."""
    content_removed_at: Time | None
    """Since when its question, answer and events are not kept any more."""
    links: Links


class JobList(ResponseBody):
    """One page of a user's jobs, newest first."""

    object: Literal["list"]
    data: list[Job]
    next_cursor: str | None
    """Where the next page begins; null on the last one."""
