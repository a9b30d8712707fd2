"""What jobs used and how they went, in sums that can be added: the figures of analytics.

A day's sums of a user are one document; see `storage/records/usage.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct, field

from core.histogram import bucket_of, merged, quantile
from core.jobs import Job
from core.outcome import AgentReport, Outcome

#: Of a day no more models and agents are told apart; the others count as this.
OTHER: Final = "other"
MOST_GROUPS: Final = 40
#: Which percentiles are shown.
PERCENTILES: Final = (0.5, 0.95, 0.99)


class Tally(Struct, omit_defaults=True):
    """Sums over jobs; of a model or an agent, over the jobs in which it took part.

    Attributes:
        statuses, cache, feedback: how many jobs, by status, use of the cache and rating.
        latency, first_token: seconds in the buckets of `core.histogram`, of completed jobs.
    """

    statuses: dict[str, int] = field(default_factory=dict)
    input_tokens: int = 0
    cached_input_tokens: int = 0
    output_tokens: int = 0
    cost_micros: int = 0
    saved_by_cache_micros: int = 0
    saved_by_routing_micros: int = 0
    saved_by_prompt_cache_micros: int = 0
    cache: dict[str, int] = field(default_factory=dict)
    feedback: dict[str, int] = field(default_factory=dict)
    latency: dict[int, int] = field(default_factory=dict)
    first_token: dict[int, int] = field(default_factory=dict)

    @property
    def jobs(self) -> int:
        return sum(self.statuses.values())

    def add(self, other: Tally) -> None:
        """Add what the other one sums up."""
        for name in self.__struct_fields__:
            mine, theirs = getattr(self, name), getattr(other, name)
            if isinstance(mine, dict):
                setattr(self, name, merged((mine, theirs)))
            else:
                setattr(self, name, mine + theirs)

    def percentile(self, name: str, part: float) -> float | None:
        """Return a percentile of `latency` or `first_token` in seconds; None without values."""
        return quantile(getattr(self, name), part)


class Usage(Struct):
    """The sums of some jobs: of all, and apart by model, agent and mode."""

    total: Tally = field(default_factory=Tally)
    model: dict[str, Tally] = field(default_factory=dict)
    agent: dict[str, Tally] = field(default_factory=dict)
    mode: dict[str, Tally] = field(default_factory=dict)

    def add(self, other: Usage) -> None:
        """Add what the other one sums up."""
        self.total.add(other.total)
        for name in ("model", "agent", "mode"):
            mine: dict[str, Tally] = getattr(self, name)
            for group, tally in getattr(other, name).items():
                is_room = group in mine or len(mine) < MOST_GROUPS
                mine.setdefault(group if is_room else OTHER, Tally()).add(tally)


def usage_of(jobs: Iterable[Job]) -> Usage:
    """Return the sums over jobs that have ended; others are passed over."""
    found = Usage()
    for job in jobs:
        if job.is_terminal:
            found.add(_usage_of_one(job))
    return found


def _usage_of_one(job: Job) -> Usage:
    outcome = job.outcome or Outcome()
    whole = _whole(job, outcome)
    return Usage(
        total=whole,
        model=_parts(job, outcome, ((report.model, report) for report in _reports(outcome))),
        agent=_parts(job, outcome, ((report.name, report) for report in _reports(outcome))),
        mode={job.spec.mode: whole},
    )


def _whole(job: Job, outcome: Outcome) -> Tally:
    tally = _of_every_part(job, outcome)
    tally.input_tokens = outcome.usage.input_tokens
    tally.cached_input_tokens = outcome.usage.cached_input_tokens
    tally.output_tokens = outcome.usage.output_tokens
    tally.cost_micros = outcome.cost_micros
    tally.saved_by_cache_micros = outcome.savings.cache_micros
    tally.saved_by_routing_micros = outcome.savings.routing_micros
    tally.saved_by_prompt_cache_micros = outcome.savings.prompt_cache_micros
    if outcome.cache.status != "bypass":
        tally.cache = {outcome.cache.status: 1}
    return tally


def _of_every_part(job: Job, outcome: Outcome) -> Tally:
    """Return what counts for the job, and for each model and agent that took part in it."""
    tally = Tally(statuses={job.status.value: 1})
    if job.feedback is not None:
        tally.feedback = {job.feedback.rating: 1}
    if job.status.value == "completed" and job.finished_ms is not None:
        took_s = (job.finished_ms - job.spec.created_ms) / 1000
        tally.latency = {bucket_of(max(took_s, 0.0)): 1}
        first_ms = outcome.timing_ms.get("first_token")
        if first_ms is not None:
            tally.first_token = {bucket_of(first_ms / 1000): 1}
    return tally


def _reports(outcome: Outcome) -> Iterator[AgentReport]:
    # A kept answer says who once gave it; nobody was called for it now.
    if outcome.cache.status not in ("hit", "coalesced"):
        yield from outcome.agents
        if outcome.synthesis is not None:
            yield outcome.synthesis


def _parts(
    job: Job, outcome: Outcome, reports: Iterator[tuple[str, AgentReport]]
) -> dict[str, Tally]:
    """Return each group's part; what no report names, as lost attempts, is that of `other`."""
    found: dict[str, Tally] = {}
    rest = Counter(
        input_tokens=outcome.usage.input_tokens,
        cached_input_tokens=outcome.usage.cached_input_tokens,
        output_tokens=outcome.usage.output_tokens,
        cost_micros=outcome.cost_micros,
    )
    for group, report in reports:
        tally = found.setdefault(group, _of_every_part(job, outcome))
        part = {
            "input_tokens": report.usage.input_tokens,
            "cached_input_tokens": report.usage.cached_input_tokens,
            "output_tokens": report.usage.output_tokens,
            "cost_micros": report.cost_micros,
        }
        rest.subtract(part)
        for name, amount in part.items():
            setattr(tally, name, getattr(tally, name) + amount)
    if any(amount > 0 for amount in rest.values()):
        other = found.setdefault(OTHER, Tally())
        for name, amount in rest.items():
            setattr(other, name, getattr(other, name) + max(0, amount))
    return found
