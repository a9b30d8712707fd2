"""Makes jobs and kept answers for tests."""

from __future__ import annotations

import time
from typing import Any

from cache.entry import Entry
from core.comparisons import Comparison
from core.ids import new_job_id, new_user_id
from core.jobs import JobSpec, Question
from core.outcome import Answer
from core.plans import Plan

QUESTION = Question("Help me build a scalable web app")
ROOMY = Plan(name="pro", running=1_000, unfinished=1_000, monthly_budget_micros=1_000_000)


def make_spec(**changes: Any) -> JobSpec:
    """Return a valid spec of a fresh user, created now, with two minutes to run."""
    user_id = changes.pop("user_id", None) or new_user_id()
    now_ms = int(time.time() * 1000)
    fields: dict[str, Any] = {
        "id": new_job_id(user_id),
        "user_id": user_id,
        "mode": "optimized",
        "created_ms": now_ms,
        "allowed_ms": 120_000,
        "plan": "enterprise",
        "max_tokens": 100,
        "reserved_micros": 50,
    }
    return JobSpec(**(fields | changes))


def make_comparison(verdict: Any, **changes: Any) -> Comparison:
    """Return a comparison of a fresh user's job."""
    user_id = new_user_id()
    fields: dict[str, Any] = {
        "job_id": new_job_id(user_id),
        "user_id": user_id,
        "at_ms": 1_795_413_600_000,
        "tier": "quick",
        "model": "small",
        "reason": "quick mode",
        "deep_model": "large",
        "verdict": verdict,
        "cost_micros": 10,
        "deep_cost_micros": 50,
        "judging_cost_micros": 70,
    }
    return Comparison(**(fields | changes))


def make_entry(**changes: Any) -> Entry:
    """Return a kept answer of a fresh user, asked for now."""
    fields: dict[str, Any] = {
        "answer": Answer(text="words", finish_reason="stop", agents=("dev",)),
        "route": None,
        "cost_micros": 7,
        "user_id": new_user_id(),
        "models": ("m",),
        "version": "v1",
        "asked_ms": int(time.time() * 1000),
    }
    return Entry(**(fields | changes))
