"""What is measured: every metric, with its labels and unit, in one table.

Names are those of Prometheus: a prefix, base units, `_total` for what only grows. Labels have few
values: routes, models, queues, outcomes; never a user, a job or a text.
"""

from __future__ import annotations

from typing import Final, Literal

from msgspec import Struct

Kind = Literal["counter", "histogram"]


class Family(Struct, frozen=True):
    """One metric.

    Attributes:
        labels: names of its labels, in the order in which values are given.
        scale: by how much a whole number that is kept is larger than the unit of the name.
    """

    name: str
    kind: Kind
    labels: tuple[str, ...]
    help: str
    scale: int = 1


def _histogram(name: str, labels: tuple[str, ...], help_: str) -> Family:
    # Sums of seconds are kept in microseconds.
    return Family(name, "histogram", labels, help_, 1_000_000)


def _counter(name: str, labels: tuple[str, ...], help_: str, scale: int = 1) -> Family:
    return Family(name, "counter", labels, help_, scale)


HTTP_REQUESTS: Final = _counter(
    "aether_http_requests_total",
    ("method", "route", "status_class"),
    "Requests answered, by route template.",
)
HTTP_DURATION: Final = _histogram(
    "aether_http_request_duration_seconds",
    ("method", "route"),
    "From a request's head to its answer's; for a stream, to its beginning.",
)
JOBS_SUBMITTED: Final = _counter(
    "aether_jobs_submitted_total", ("mode",), "Jobs taken in, answers from the cache among them."
)
JOBS_FINISHED: Final = _counter(
    "aether_jobs_finished_total", ("mode", "outcome"), "Jobs that have ended, by how."
)
JOB_QUEUE_WAIT: Final = _histogram(
    "aether_job_queue_wait_seconds", ("mode",), "From a job's submission to its first start."
)
JOB_RUN: Final = _histogram(
    "aether_job_run_seconds", ("mode",), "From a job's first start to its end."
)
JOB_END_TO_END: Final = _histogram(
    "aether_job_end_to_end_seconds", ("mode",), "From a job's submission to its end."
)
JOB_PART: Final = _histogram(
    "aether_job_part_seconds", ("part",), "Where the time of ended jobs went."
)
JOB_ERRORS: Final = _counter(
    "aether_job_errors_total", ("code", "model"), "Jobs that did not complete, by error and model."
)
LLM_REQUESTS: Final = _counter(
    "aether_llm_requests_total", ("model", "outcome"), "Calls of models; `ok` or the error's code."
)
LLM_DURATION: Final = _histogram(
    "aether_llm_duration_seconds", ("model",), "From a model call's beginning to its end."
)
LLM_FIRST_CHUNK: Final = _histogram(
    "aether_llm_time_to_first_chunk_seconds",
    ("model",),
    "From a model call's beginning to its first text.",
)
LLM_TOKENS_PER_SECOND: Final = _histogram(
    "aether_llm_output_tokens_per_second",
    ("model",),
    "Output tokens a second of calls, from the first text on.",
)
LLM_TOKENS: Final = _counter(
    "aether_llm_tokens_total",
    ("model", "type"),
    "Tokens: `input` (with cached ones), `cached`, `output`.",
)
LLM_COST: Final = _counter(
    "aether_llm_cost_usd_total", ("model",), "What calls of models cost.", 1_000_000
)
LLM_SAVED: Final = _counter(
    "aether_llm_cost_saved_usd_total",
    ("reason",),
    "What was saved: cache, routing, prompt_cache.",
    1_000_000,
)
CACHE_LOOKUPS: Final = _counter(
    "aether_cache_lookups_total", ("result",), "How the cache served jobs that have ended."
)
CACHE_STORED: Final = _counter("aether_cache_stored_total", (), "Answers that were kept.")
CACHE_STORED_BYTES: Final = _counter(
    "aether_cache_stored_bytes_total", (), "Bytes of answers that were kept."
)
CACHE_ERRORS: Final = _counter(
    "aether_cache_errors_total", (), "Commands that the cache's Redis did not answer."
)
#: By the names under which the cache counts.
CACHE_COUNTS: Final = {
    "cache.stored": CACHE_STORED,
    "cache.stored_bytes": CACHE_STORED_BYTES,
    "cache.errors": CACHE_ERRORS,
}
RATELIMIT_REJECTIONS: Final = _counter(
    "aether_ratelimit_rejections_total", ("limit",), "Requests refused with 429, by limit."
)
DB_DURATION: Final = _histogram(
    "aether_db_operation_duration_seconds",
    ("system", "operation"),
    "Commands of MongoDB and Redis, as their clients see them; waits that are asked for left out.",
)
DB_ERRORS: Final = _counter(
    "aether_db_errors_total", ("system", "operation"), "Commands that failed."
)
WEBHOOKS: Final = _counter(
    "aether_webhook_attempts_total",
    ("outcome",),
    "Deliveries: `delivered`, `failed` for an attempt that is repeated, `dead` for the last one.",
)
WEBHOOK_DELAY: Final = _histogram(
    "aether_webhook_delay_seconds", (), "From a job's end to its delivery."
)
FEEDBACK: Final = _counter("aether_feedback_total", ("rating",), "Ratings of jobs: up or down.")

FAMILIES: Final = {
    family.name: family
    for family in (
        *(HTTP_REQUESTS, HTTP_DURATION),
        *(JOBS_SUBMITTED, JOBS_FINISHED, JOB_QUEUE_WAIT, JOB_RUN, JOB_END_TO_END, JOB_PART),
        *(JOB_ERRORS, LLM_REQUESTS, LLM_DURATION, LLM_FIRST_CHUNK, LLM_TOKENS_PER_SECOND),
        *(LLM_TOKENS, LLM_COST, LLM_SAVED, RATELIMIT_REJECTIONS),
        *(CACHE_LOOKUPS, CACHE_STORED, CACHE_STORED_BYTES, CACHE_ERRORS),
        *(DB_DURATION, DB_ERRORS, FEEDBACK, WEBHOOKS, WEBHOOK_DELAY),
    )
}
