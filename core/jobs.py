"""A chat job: what was asked, and where it stands.

Times are Unix milliseconds (`…_ms`), money is whole micro-dollars (`…_micros`); `core.public`
turns them into ISO 8601 and dollars.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Final, Literal

from msgspec import Struct, field

from core import events
from core.budgets import Budget
from core.models import TIERS, Tier
from core.outcome import Outcome
from core.plans import PLANS, PlanName

#: Of a job whose caller names none; between the least and the greatest.
LEAST_PRIORITY, DEFAULT_PRIORITY, GREATEST_PRIORITY = 0, 5, 10
#: Nobody waits longer for an answer; batches wait as long as it takes.
_INTERACTIVE_WAITS_MS: Final = 15 * 60 * 1000
Mode = Literal["optimized", "quick", "stream", "multi_agent"]
Strategy = Literal["parallel", "debate"]
Rating = Literal["up", "down"]


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


class RouteRequest(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Who is to answer, as far as the caller, his plan and his limit of cost say.

    Attributes:
        tier, model: asked for; None to let the router choose.
        max_tier: the strongest that the router may choose.
        max_cost_micros: the limit that `max_tier` keeps.
        is_cascade: the quick tier answers first, a stronger one where that answer fails a check.
    """

    tier: Tier | None = None
    model: str | None = None
    max_tier: Tier = TIERS[-1]
    max_cost_micros: int | None = None
    is_cascade: bool = False


class CacheControl(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far an answer that was given before may serve.

    Attributes:
        mode: `refresh` asks anew and keeps the answer, `bypass` has nothing to do with the cache.
        ttl_s: the longest that this job's answer is to be kept.
        max_age_s: the oldest answer that may serve.
    """

    mode: Literal["use", "refresh", "bypass"] = "use"
    ttl_s: int | None = None
    max_age_s: int | None = None


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


class Question(Struct, frozen=True):
    """What the user asks; kept apart from the spec, so that status and polls never load it."""

    message: str


class JobSpec(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was accepted, without the question; it never changes.

    Attributes:
        agent: the persona asked for, None to let relevance decide.
        allowed_ms: how long after its first start the job ends as incomplete.
        plan: of the user when it was accepted; gives its share and how much may run.
        is_batch: it came by a surface for batches, whose jobs leave most starts to the others.
        priority: from 0 to 10 (the first), among the jobs of its user alone.
        run_at_ms: when it may start; None for at once.
        expires_at_ms: when it is given up unless it has begun; None for never.
        concurrency_key: jobs of the user with the same one run `concurrency_limit` at a time, in
            order.
        reserved_micros: what it most likely costs; its budgets hold that until it is settled.
        least_micros: what it costs at least, if a model is called at all.
        budgets: what pays for it; empty for its user's month alone.
        parent_id: the job that it goes on with, of the same conversation; None for a first message.
        turn: how many messages its branch of the conversation has, with it; 0 outside of one.
        retry_of: the ended job that was asked again.
        webhook: the URL that is told of its end; None for nobody.
        title_of: the conversation that it finds a title for; nobody submitted such a job.
        api_key_id: of the key with which it was submitted.
        units: how many model calls it makes at a time; a team's agents, else 1.
        request_id: of the HTTP request that submitted it, for the logs of every process.
        cache_secret: its user's, which kept answers are named with; never shown, never logged.
    """

    id: str
    user_id: str
    mode: Mode
    created_ms: int
    allowed_ms: int = 120_000
    max_tokens: int
    temperature: float | None = None
    agent: str | None = None
    team: TeamRequest | None = None
    route: RouteRequest = RouteRequest()
    conversation_id: str | None = None
    parent_id: str | None = None
    turn: int = 0
    retry_of: str | None = None
    title_of: str | None = None
    webhook: str | None = None
    cache: CacheControl = CacheControl()
    metadata: dict[str, str] = field(default_factory=dict)
    reserved_micros: int = 0
    least_micros: int = 0
    budgets: tuple[Budget, ...] = ()
    api_key_id: str | None = None
    units: int = 1
    request_id: str | None = None
    plan: PlanName = "trial"
    is_batch: bool = False
    priority: int = DEFAULT_PRIORITY
    run_at_ms: int | None = None
    expires_at_ms: int | None = None
    concurrency_key: str | None = None
    concurrency_limit: int = 1
    cache_secret: str = ""

    def __repr__(self) -> str:
        """Return what a log may hold: neither the secret nor what the user wrote."""
        return f"JobSpec(id={self.id!r}, user_id={self.user_id!r}, mode={self.mode!r})"

    @property
    def budgets_in_force(self) -> tuple[Budget, ...]:
        """What pays for the job; where it was not said, its user's month by his plan."""
        return self.budgets or (Budget("user", PLANS[self.plan].monthly_budget_micros),)


def default_expiry_ms(from_ms: int, *, is_batch: bool) -> int | None:
    """Return when a job is given up that may start at `from_ms`, unless its caller says; ms."""
    return None if is_batch else from_ms + _INTERACTIVE_WAITS_MS


class Place(Struct, frozen=True):
    """Where a job that waits stands.

    Attributes:
        position: among what of its user waits, from 1; None for one that waits for a time.
        estimated_start_s: by how many started lately; None where that is not known.
    """

    position: int | None = None
    estimated_start_s: float | None = None


NO_PLACE: Final = Place()


class Feedback(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the user says of an ended job; `at_ms` is when he said it."""

    rating: Rating
    at_ms: int
    comment: str | None = None


class Job(Struct, frozen=True, kw_only=True):
    """A job as it stands.

    Attributes:
        cursor: the number of its latest event.
        question: None where it was not loaded.
        feedback: the user's latest; None where there is none.
        content_removed_ms: since when its texts are not kept any more; None while they are.
    """

    spec: JobSpec
    status: JobStatus
    attempt: int = 0
    cursor: int = 0
    started_ms: int | None = None
    finished_ms: int | None = None
    outcome: Outcome | None = None
    question: Question | None = None
    feedback: Feedback | None = None
    content_removed_ms: int | None = None

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def is_terminal(self) -> bool:
        return self.status in TERMINAL
