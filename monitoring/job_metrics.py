"""What the end of a job adds to the metrics."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from monitoring import families

if TYPE_CHECKING:
    from core.jobs import Job
    from core.outcome import Outcome
    from monitoring.metrics import Metrics


def cache_counter(metrics: Metrics) -> Callable[[str, int], None]:
    """Return what the response cache calls for its counts; see `families.CACHE_COUNTS`."""

    def count(name: str, amount: int) -> None:
        metrics.count(families.CACHE_COUNTS[name], amount=amount)

    return count


def measure_ends(metrics: Metrics, jobs: Iterable[Job]) -> None:
    """Add ended jobs, whoever ended them: workers, the cache, a cancel or the sweeper."""
    for job in jobs:
        _measure_end(metrics, job)


def _measure_end(metrics: Metrics, job: Job) -> None:
    spec, outcome = job.spec, job.outcome
    metrics.count(families.JOBS_FINISHED, spec.mode, job.status.value)
    if outcome is None or job.finished_ms is None:
        return
    _measure_time(metrics, job, outcome)
    _measure_cache(metrics, outcome)
    if outcome.error is not None:
        model = outcome.route.model if outcome.route else ""
        metrics.count(families.JOB_ERRORS, outcome.error.code, model)
    for reason, micros in (
        ("cache", outcome.savings.cache_micros),
        ("routing", outcome.savings.routing_micros),
        ("prompt_cache", outcome.savings.prompt_cache_micros),
    ):
        if micros > 0:
            metrics.count(families.LLM_SAVED, reason, amount=micros)


def _measure_time(metrics: Metrics, job: Job, outcome: Outcome) -> None:
    mode, created_ms, finished_ms = job.spec.mode, job.spec.created_ms, job.finished_ms or 0
    metrics.observe(families.JOB_END_TO_END, mode, value=(finished_ms - created_ms) / 1000)
    if job.started_ms is not None:
        metrics.observe(families.JOB_QUEUE_WAIT, mode, value=(job.started_ms - created_ms) / 1000)
        metrics.observe(families.JOB_RUN, mode, value=(finished_ms - job.started_ms) / 1000)
    for part, took_ms in outcome.timing_ms.items():
        if took_ms is not None and part != "total":
            metrics.observe(families.JOB_PART, part, value=took_ms / 1000)


def _measure_cache(metrics: Metrics, outcome: Outcome) -> None:
    use = outcome.cache
    if use.status != "bypass":
        result = f"{use.status}_{use.layer}" if use.layer else use.status
        metrics.count(families.CACHE_LOOKUPS, result)
