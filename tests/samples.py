"""An outcome with every part set, and events of every type."""

from __future__ import annotations

import msgspec

from core import events
from core.chat import Usage
from core.jobs import TERMINAL_EVENT
from core.outcome import (
    AgentReport,
    Answer,
    CacheUse,
    Draft,
    JobError,
    Outcome,
    Route,
    Savings,
)
from core.timing import TimeAccount

ERROR = JobError("token_limit", "The answer reached its token limit.")
USAGE = Usage(input_tokens=7, cached_input_tokens=2, output_tokens=3)
REPORT = AgentReport(
    name="dev",
    status="incomplete",
    tier="quick",
    model="m",
    reason="named",
    usage=USAGE,
    cost_micros=12,
    timing_ms={"queue": 1, "first_token": None, "total": 9},
    error=ERROR,
    text="A",
    drafts=(Draft(model="m", usage=USAGE, cost_micros=1),),
)
ROUTE = Route(tier="quick", model="m", reason="easy", score=0.2)
OUTCOME = Outcome(
    answer=Answer(text="A", finish_reason="length", agents=("dev",)),
    agents=(REPORT, msgspec.structs.replace(REPORT, timing_ms={}, error=None, text=None)),
    synthesis=REPORT,
    usage=USAGE,
    cost_micros=24,
    savings=Savings(routing_micros=-1, cache_micros=2),
    route=ROUTE,
    timing_ms=TimeAccount(0).close(first_token_ms=4),
    error=ERROR,
    degraded=True,
    cache=CacheUse(status="hit", layer="memory", age_s=1.5),
)
#: At least one event of each type that a log can hold.
EVENTS = (
    events.job_queued("quick"),
    events.job_started(1),
    events.job_retrying("lease_expired", 2, agent="dev", round_number=1, retry_after_s=0.5),
    events.job_retrying("lease_expired", 2),
    events.cache_hit("memory", 1.5, 0.01),
    events.cache_hit(None, None, 0.0, coalesced=True),
    events.route_selected("dev", ROUTE),
    events.agent_started("dev", "m", 1),
    events.agent_delta("dev", "A"),
    events.agent_ended(REPORT),
    events.agent_ended(msgspec.structs.replace(REPORT, status="failed", timing_ms={})),
    events.synthesis_started("m", ("dev", "luna"), 1),
    events.answer_delta("dev", "A"),
    *(
        events.job_ended(kind, status.value, outcome)
        for status, kind in TERMINAL_EVENT.items()
        for outcome in (OUTCOME, Outcome())
    ),
)
