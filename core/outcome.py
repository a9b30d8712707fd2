"""What came of a job: its answer, each agent's report, the route, the cost and the time.

Money is whole micro-dollars (`…_micros`), times are milliseconds (`…_ms`).
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct, field

from core.chat import Usage

CacheLayer = Literal["memory", "session", "redis"]


class Spent(Struct, frozen=True, omit_defaults=True):
    """What model calls used, and what that cost."""

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
EXPIRED: Final = JobError("expired", "The job waited for its start until it expired.")
#: The error code of an answer that its token limit cut.
CUT_BY_TOKENS: Final = "token_limit"
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
        exchanges: how many earlier ones of the conversation it was given.
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
    exchanges: int = 0


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


class Savings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What one job saved, in micro-dollars, by where it comes from."""

    routing_micros: int = 0
    cache_micros: int = 0
    prompt_cache_micros: int = 0

    @property
    def total_micros(self) -> int:
        return self.routing_micros + self.cache_micros + self.prompt_cache_micros


class Outcome(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What came of a job; written once, with its terminal status.

    Attributes:
        synthesis: how several agents' replies became one answer; None where that was not tried.
        usage, cost_micros: of a stored outcome, those of every call for the job; of one that an
            attempt is about to store, those of this attempt's own calls.
        degraded: some agent, or the synthesis, failed.
    """

    answer: Answer | None = None
    agents: tuple[AgentReport, ...] = ()
    synthesis: AgentReport | None = None
    usage: Usage = Usage()
    cost_micros: int = 0
    savings: Savings = Savings()
    route: Route | None = None
    timing_ms: dict[str, int | None] = field(default_factory=dict)
    error: JobError | None = None
    degraded: bool = False
    cache: CacheUse = CacheUse()

    @property
    def baseline_micros(self) -> int:
        """What the job would have cost without routing and caches."""
        return self.cost_micros + self.savings.total_micros


def public_usage(usage: Usage) -> dict[str, int]:
    """Return the token counts as every surface shows them."""
    return {
        "input_tokens": usage.input_tokens,
        "cached_input_tokens": usage.cached_input_tokens,
        "output_tokens": usage.output_tokens,
        "total_tokens": usage.total_tokens,
    }
