"""The drill hostile-upstream: answers as servers were seen to send them, beside jobs of others."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Final, NamedTuple

import psutil

from ops.drills.evidence import Violation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.drills.load import Load, Tracked
    from ops.drills.target import Target

#: What all worker processes together may hold; one body of an error is 100 MB or unpacks to that.
_MOST_WORKER_BYTES: Final = 1 << 30


class Row(NamedTuple):
    """How the stub upstream answers a job, and how that job has to end."""

    directive: str
    status: str
    error: str = ""


_WHOLE: Final = (
    *("null_delta", "null_choices", "null_data", "empty_data", "ping", "bom", "cr", "split_data"),
    *("bom cr split_data", "parts", "message", "text", "done_only", "plain_json", "no_usage"),
    *("null_delta null_data empty_data parts cr", "not_utf8", "finish=end_turn", "reset=soon"),
    *("usage=negative", "usage=cached", "usage=huge", "usage=text", "usage=float", "usage=null"),
    *("reset=6ms", "reset=99999999999", "reset=-5", "head_first stall_before=1"),
    *("once 400 code=model_decommissioned", "once 400 code=tool_use_failed", "once finish=abort"),
    *("once error_json=503", "once 429 retry_after=1", "once 429 retry_after=0"),
    *("once 429 retry_after=-5", "once 503 retry_after=1.5", "once 529 retry_after=date:1"),
    *("once 498 retry_after=1", "once 500 body=gzip", "once 500 body=long", "once html"),
)
_REFUSED: Final = (
    *("error_line=400", "error_data=422", "error_json=400", "400", "400 body=gzip", "307"),
    "413 code=rate_limit_exceeded",
)
ROWS: Final = (
    *(Row(f"tokens=5 {directive}", "completed") for directive in _WHOLE),
    *(Row(directive, "failed", "model_refused") for directive in _REFUSED),
    Row("no_text", "failed", "model_no_answer"),
    Row("only_reasoning", "failed", "model_no_answer"),
    Row("only_tool_calls", "failed", "model_no_answer"),
    Row("429 retry_after=0", "failed", "model_rate_limited"),
    Row("ignore_max tokens=5000", "incomplete", "token_limit"),
)


def face_hostile_upstream(
    target: Target, load: Load, _: random.Random
) -> Iterator[str | Violation]:
    """Answer as hostile and broken servers were seen to do, beside jobs of other users."""
    others = tuple(load.jobs)
    messages = [f"Row {n}: {row.directive} [[stub:{row.directive}]]" for n, row in enumerate(ROWS)]
    jobs = load.start(messages)
    load.wait_for_end()
    for row, job in zip(ROWS, jobs, strict=True):
        yield from _check(row, job)
    for job in others:
        if (status := job.user.job(job.job_id)["status"]) != "completed":
            yield Violation(job.job_id, f"is another user's, and is {status}")
    yield f"{len(ROWS)} hostile answers beside {len(others)} others"
    held = sum(psutil.Process(pid).memory_info().rss for pid in _workers(target))
    yield f"workers hold {held >> 20} MiB"
    if held > _MOST_WORKER_BYTES:
        yield Violation("the workers", f"hold {held >> 20} MiB")


def _check(row: Row, job: Tracked) -> Iterator[Violation]:
    shown = job.user.job(job.job_id)
    error = (shown["error"] or {}).get("code", "")
    if (shown["status"], error) != (row.status, row.error):
        due = f"{row.status} {row.error}".strip()
        yield Violation(row.directive, f"ended {shown['status']} {error}, not {due}")
    if not 0 <= shown["cost"]["usd"] < 1:
        yield Violation(row.directive, f"costs ${shown['cost']['usd']}")


def _workers(target: Target) -> list[int]:
    return [pid for name, pid in target.pids().items() if name.startswith("worker-")]
