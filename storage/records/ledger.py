"""The entries of the ledger, a document of MongoDB each."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from core.jobs import Job
from core.outcome import Outcome


def to_settlement(job: Job) -> dict[str, Any]:
    """Return the ledger's entry for an ended job: what was held, and what was paid."""
    end_ms, outcome = job.finished_ms or job.spec.created_ms, job.outcome or Outcome()
    held = {"reserved_micros": job.spec.reserved_micros}
    return settlement(job.id, job.spec.user_id, end_ms, outcome) | held


def settlement(job_id: str, user_id: str, end_ms: int, outcome: Outcome) -> dict[str, Any]:
    """Return the entry of a job for which nothing was held any more."""
    return {
        "_id": f"{job_id}:settlement",
        "kind": "settlement",
        "job_id": job_id,
        "user_id": user_id,
        "at": datetime.fromtimestamp(end_ms / 1000, UTC),
        "reserved_micros": 0,
        "cost_micros": outcome.cost_micros,
        "baseline_micros": outcome.baseline_micros,
        "saved_by_routing_micros": outcome.savings.routing_micros,
        "saved_by_cache_micros": outcome.savings.cache_micros,
        "saved_by_prompt_cache_micros": outcome.savings.prompt_cache_micros,
    }
