"""A chat job: what was asked, where it stands, and what came of it.

Times are Unix milliseconds (`…_ms`), money is whole micro-dollars (`…_micros`); `core.public`
turns them into ISO 8601 and dollars.
"""

from __future__ import annotations

import re
import secrets
from datetime import UTC, datetime
from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct, field, structs

from core import events
from core.chat import Usage
from core.money import Savings
from core.options import CacheControl, RouteRequest

#: Users are spread over this many shards; one shard's keys share one Redis Cluster slot.
SHARDS: Final = tuple("0123456789abcdef")
_JOB_ID = re.compile(r"job_[0-9a-f]{32}")


class JobStatus(StrEnum):
    """Where a job stands, in the words of OpenAI's Responses API."""

    #: Accepted and durable, no worker has it.
    QUEUED = "queued"
    #: A worker holds its lease.
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"
    #: Ended by its deadline or token limit, with what existed then.
    INCOMPLETE = "incomplete"


TERMINAL: Final = frozenset(
    {JobStatus.COMPLETED, JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE}
)

#: Which status may follow which; a lost worker's job goes back to the queue.
NEXT_STATUS: Final[dict[JobStatus, frozenset[JobStatus]]] = {
    JobStatus.QUEUED: frozenset({JobStatus.IN_PROGRESS}),
    JobStatus.IN_PROGRESS: frozenset({JobStatus.QUEUED}) | TERMINAL,
    JobStatus.COMPLETED: frozenset(),
    JobStatus.FAILED: frozenset(),
    JobStatus.CANCELLED: frozenset(),
    JobStatus.INCOMPLETE: frozenset(),
}

TERMINAL_EVENT: Final[dict[JobStatus, str]] = {
    JobStatus.COMPLETED: events.JOB_COMPLETED,
    JobStatus.FAILED: events.JOB_FAILED,
    JobStatus.CANCELLED: events.JOB_CANCELLED,
    JobStatus.INCOMPLETE: events.JOB_INCOMPLETE,
}

Mode = Literal["optimized", "quick", "stream", "multi_agent"]
Strategy = Literal["parallel", "debate"]

CacheLayer = Literal["memory", "session", "redis"]

#: Whom a job may ask for; who they are is for `agents` to know.
AGENT_NAMES: Final = ("dev", "luna", "atlas", "quinn", "sage")


def new_user_id() -> str:
    """Return a random user id; its first digit is the user's shard."""
    return f"usr_{secrets.token_hex(16)}"


def new_job_id(user_id: str) -> str:
    """Return a random job id in the shard of its user (124 random bits)."""
    return f"job_{shard_of(user_id)}{secrets.token_hex(16)[1:]}"


def is_job_id(value: str) -> bool:
    return _JOB_ID.fullmatch(value) is not None


def shard_of(identifier: str) -> str:
    """Return the shard of a user or job id."""
    return identifier[4]


class TeamRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How several agents are to answer together.

    Attributes:
        agents: who; None to let relevance decide.
        rounds: how often they are asked; from the second time on each sees the others' replies.
        quorum: how many have to answer for the job to count.
        agent_deadline_s: how long each may take in a round; None for what the deadline allows.
    """

    agents: tuple[str, ...] | None = None
    strategy: Strategy = "parallel"
    rounds: int = 1
    quorum: int = 1
    agent_deadline_s: float | None = None
    synthesis: bool = True


class JobSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was accepted; it never changes.

    Attributes:
        agent: the persona asked for, None to let relevance decide.
        deadline_ms: when the job ends as incomplete if it has not ended before.
        reserved_micros: what its user's budget holds for it until it is settled.
        request_id: of the HTTP request that submitted it, for the logs of every process.
    """

    id: str
    user_id: str
    mode: Mode
    message: str
    created_ms: int
    deadline_ms: int
    max_tokens: int
    temperature: float | None = None
    agent: str | None = None
    team: TeamRequest | None = None
    route: RouteRequest = RouteRequest()
    conversation_id: str | None = None
    cache: CacheControl = CacheControl()
    metadata: dict[str, str] = field(default_factory=dict)
    reserved_micros: int = 0
    request_id: str | None = None


class Spent(Struct, frozen=True, omit_defaults=True):
    """What the model calls of earlier attempts used."""

    usage: Usage = Usage()
    cost_micros: int = 0


class JobError(Struct, frozen=True):
    """Why a job or an agent did not complete; `code` is stable."""

    code: str
    message: str


#: Why a job has no answer, or not all of it.
CANCELLED: Final = JobError("cancelled", "The job was cancelled.")
OUT_OF_TIME: Final = JobError(
    "deadline_exceeded", "The job's deadline passed before its answer was complete."
)
#: The error code of a job whose workers died on it too often: a dead letter.
WORKER_LOST: Final = "worker_lost"


class Draft(Struct, frozen=True, kw_only=True):
    """A quick answer that a cascade asked for and that no reader saw."""

    model: str
    usage: Usage
    cost_micros: int


class AgentReport(Struct, frozen=True, kw_only=True):
    """What one agent did in a job.

    Attributes:
        text: its own reply, where it is one of several; the answer says it where it is alone.
        rounds: how often it was asked.
        drafts: quick answers that were not served; they are part of `usage` and the cost.
        fallback_from: the model in whose place another one answered.
    """

    name: str
    status: Literal["completed", "failed", "cancelled", "incomplete"]
    tier: str
    model: str
    reason: str
    usage: Usage = Usage()
    cost_micros: int = 0
    timing_ms: dict[str, int | None] = field(default_factory=dict)
    error: JobError | None = None
    text: str | None = None
    rounds: int = 1
    drafts: tuple[Draft, ...] = ()
    fallback_from: str | None = None


class Route(Struct, frozen=True, kw_only=True):
    """Which class of model answers, and why.

    Attributes:
        score: how hard the router found the question, from 0 to 1; None where it was not asked.
    """

    tier: str
    model: str
    reason: str
    score: float | None = None


class Answer(Struct, frozen=True, kw_only=True):
    """The job's final text and who contributed to it."""

    text: str
    finish_reason: str
    agents: tuple[str, ...]


class CacheUse(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the cache had to do with a job; `coalesced`: another job's call answered it too."""

    status: Literal["hit", "miss", "bypass", "coalesced"] = "bypass"
    layer: CacheLayer | None = None
    age_s: float | None = None


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a job; written once, with its terminal status.

    Attributes:
        synthesis: how several agents' replies became one answer; None where that was not tried.
        usage: of every call, the synthesis included.
        baseline_micros: what it would have cost without routing and caches.
        savings: the difference between that and the cost, by where it comes from.
        degraded: some agent, or the synthesis, failed.
    """

    answer: Answer | None = None
    agents: tuple[AgentReport, ...] = ()
    synthesis: AgentReport | None = None
    usage: Usage = Usage()
    cost_micros: int = 0
    baseline_micros: int = 0
    savings: Savings = Savings()
    route: Route | None = None
    timing_ms: dict[str, int | None] = field(default_factory=dict)
    error: JobError | None = None
    degraded: bool = False
    cache: CacheUse = CacheUse()

    def with_spent(self, spent: Spent) -> Outcome:
        """Add what attempts spent that this outcome does not know of."""
        usage, cost_micros = self.usage + spent.usage, self.cost_micros + spent.cost_micros
        return structs.replace(self, usage=usage, cost_micros=cost_micros)


class Job(Struct, frozen=True, kw_only=True):
    """A job as it stands; `cursor` is the number of its latest event."""

    spec: JobSpec
    status: JobStatus
    attempt: int = 0
    cursor: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    outcome: Outcome | None = None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL


def public_usage(usage: Usage) -> dict[str, int]:
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }


def to_usd(micros: int) -> float:
    return micros / 1_000_000


def iso_time(unix_ms: int | None) -> str | None:
    """Return UTC with milliseconds, `2026-11-23T10:00:00.000Z`; None stays None."""
    if unix_ms is None:
        return None
    second = datetime.fromtimestamp(unix_ms // 1000, UTC).replace(tzinfo=None)
    return f"{second.isoformat()}.{unix_ms % 1000:03d}Z"
