"""The fields of a job's hash in Redis, and how they become a `Job` and its `Question`.

Numbers are decimal text; times are Unix milliseconds (ms), money is whole micro-dollars (micros); a
flag is 1 or missing. The writers are the scripts of `storage/lua/`.

| Field | Type | Written by | Meaning |
|---|---|---|---|
| spec | JSON | accept, accept_answered, restore | `core.jobs.JobSpec`; never changes |
| question | JSON | accept, accept_answered, restore | `core.jobs.Question`; read by claims, take-overs and the record only |
| status | text | accept, accept_answered, claim_next, defer, finish, put_back, release, restore, single_flight_enter, take_over, wait_for_parent | `core.jobs.JobStatus` |
| attempt | number | accept, accept_answered, claim_next, defer, put_back, release, restore, single_flight_enter, wait_for_parent | attempts that count: a deferral and a parking take theirs back |
| seq | number | accept, accept_answered, append, defer, finish, put_back, report, restore, start_round | the latest event's number |
| accepted | ms | accept, accept_answered, restore | when it was taken in, or brought back |
| line | text | accept, restore | where it is to stand: see `storage/jobs/script_values.py:to_line` |
| number | number | accept, restore | when it was taken in, in ms times 256, and a count: its place among its user's |
| lane | text | enter, enter_due, put_back, release, restore, single_flight_end | the lane in which it stands; missing when it stands in none |
| queued | ms | enter, enter_due, put_back, release, restore, single_flight_end | since when it stands in its line, or when it is to; missing until it is durable |
| allowed | ms | accept, restore | how long it may take from its first start |
| deadline | ms | claim_next | when it is to end; missing until it has begun |
| expires | ms | accept, restore | when it is given up unless it has begun; missing for never |
| started | ms | accept_answered, claim_next | when it was first claimed |
| finished | ms | accept_answered, finish | when it ended |
| budgets | text | accept, restore | what pays for it, a line `<limit in micros> <key>` each: see `storage/lua/money.lua` |
| reserved | micros | accept, accept_answered, append, extend, restore | what its budgets hold for it until it ends |
| held | micros | accept, restore | the same before more was held: equal shares for its likely calls |
| units | number | accept, restore | how often it counts as unfinished: its model calls at a time |
| fence | text | claim_next, take_over | random token of the current attempt at the whole job; missing when nobody has it |
| lease | ms | claim_next, renew, take_over | until when that attempt's worker counts as alive |
| cancel | ms | cancel | when its end was asked for; missing when it was not, or has come |
| parked | flag | single_flight_enter | it waits for the job that answers the same question |
| alone | flag | single_flight_enter | that answer was not shareable: it never waits for another's again |
| used_input | number | defer, put_back, report | the account: input tokens of deferred attempts and of agents' replies |
| used_cached | number | defer, put_back, report | the same, input tokens that the provider had cached, part of used_input |
| used_output | number | defer, put_back, report | the same, output tokens |
| used_micros | micros | defer, put_back, report | the same, cost |
| outcome | JSON | accept_answered, finish | `core.outcome.Outcome` without what the next four fields hold |
| total_input | number | accept_answered, finish | input tokens of the ended job: the account and the finisher's own |
| total_cached | number | accept_answered, finish | the same, cached input tokens |
| total_output | number | accept_answered, finish | the same, output tokens |
| total_micros | micros | accept_answered, finish | the same, cost: what the user paid |
| feedback | JSON | rate | `core.jobs.Feedback`, as MongoDB has it; missing where the user has said nothing |
| team | JSON | start_round | `core.team.TeamPlan` |
| slots | text | start_round | the names of its slots, separated by blanks; missing until it has a team |
| withdrawn | flag | withdraw | it was given up before its 202; the only field then |

Of a team's job each slot (`core.team.Slot`) has fields whose names begin with its own, `<slot>:<field>`. `batch`, `granted` and `paid`, without
a name in front, are the job's own.

| Slot field | Type | Written by | Meaning |
|---|---|---|---|
| state | text | claim_next, defer, finish, put_back, release, report, start_round, take_over, take_slot, wait_for_parent | queued, running or done |
| lane | text | enter_due, put_back, release, report, start_round | the lane in which it stands; missing when it stands in none |
| attempt | number | claim_next, defer, put_back, release, start_round, take_slot, wait_for_parent | as of the job |
| fence | text | claim_next, take_slot | as of the job |
| lease | ms | claim_next, renew, take_slot | as of the job |
| batch | number | append, claim_next, take_slot | as of the job |
| queued | ms | enter_due, put_back, release, report, start_round | since when it stands in its line |
| deadline | ms | start_round | when the agent is cut; a round's end has none |
| granted | micros | append, extend | what is held for its turn, once more is than its share |
| paid | micros | defer, put_back | what attempts at it have used that gave it back |
| next | text | start_round | the round's last slot, which follows when all agents have reported |
| left | number | report, start_round | of a round's end: agents that are still to report |
| reply | JSON | report | `core.team.MemberReply` |
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from core.chat import Usage
from core.errors import JobUnreadable
from core.jobs import TERMINAL, Feedback, Job, JobSpec, JobStatus, Question
from core.outcome import Outcome

_TOTALS: Final = ("total_input", "total_cached", "total_output", "total_micros")
#: What `to_job` reads.
JOB: Final = (
    "spec",
    "status",
    "attempt",
    "seq",
    "started",
    "finished",
    "outcome",
    "feedback",
    *_TOTALS,
)
#: The same with the question.
WHOLE_JOB: Final = (*JOB, "question")
#: What `to_question` reads.
QUESTION: Final = ("question", "spec")
#: What the sweeper asks of a job, and of whoever works: on the whole job, or on one slot.
SWEPT: Final = (*JOB, "cancel", "slots", "deadline", "expires")
WORK: Final = ("lease", "attempt", "state", "deadline", "queued")
#: What a team's replies are found by: its plan, its slots, and of each slot one of the others.
TEAM: Final = ("team", "slots")
REPLY, END_ATTEMPTS = "reply", "attempt"

_spec_decoder = msgspec.json.Decoder(JobSpec)
_question_decoder = msgspec.json.Decoder(Question)
_outcome_decoder = msgspec.json.Decoder(Outcome)
_feedback_decoder = msgspec.json.Decoder(Feedback)


class _SpecWithQuestion(Struct):
    """A spec as the version before wrote it: the question was part of it."""

    message: str


_old_question_decoder = msgspec.json.Decoder(_SpecWithQuestion)


def of_slot(slot: str, name: str) -> str:
    """Return the name of a slot's field; the empty slot is the job itself."""
    return f"{slot}:{name}" if slot else name


class UnreadableEnd(Struct, frozen=True, kw_only=True):
    """What a hash still says of an ended job that this version cannot read.

    Attributes:
        status: failed where even that cannot be read.
        fault: the class of the error, without content.
    """

    status: JobStatus = JobStatus.FAILED
    finished_ms: int | None = None
    cost_micros: int = 0
    fault: str = ""


def to_job(fields: Mapping[str, bytes | None]) -> Job | None:
    """Build a job from the fields `JOB` or `WHOLE_JOB`; None when there is no spec among them.

    Raises:
        JobUnreadable: another version wrote them, or they are broken.
    """
    try:
        return _to_job(fields)
    except (ValueError, TypeError) as error:
        fault = type(error).__name__
    # Not chained: the parser's message may quote what the user wrote.
    raise JobUnreadable(fault)


def to_unreadable_end(fields: Mapping[str, bytes | None], fault: str) -> UnreadableEnd:
    """Read field by field what the end of a job's record needs."""
    status, cost = fields["status"] or b"", _small_number(fields["total_micros"])
    ends = {end.value.encode(): end for end in TERMINAL}
    return UnreadableEnd(
        status=ends.get(status, JobStatus.FAILED),
        finished_ms=_small_number(fields["finished"]),
        cost_micros=cost or 0,
        fault=fault,
    )


def _small_number(value: bytes | None) -> int | None:
    is_number = value is not None and value.isdigit() and len(value) <= 15
    return int(value or 0) if is_number else None


def _to_job(fields: Mapping[str, bytes | None]) -> Job | None:
    spec, status = fields["spec"], fields["status"]
    if spec is None or status is None:
        return None
    return Job(
        spec=to_spec(spec),
        status=JobStatus(status.decode()),
        attempt=int(fields["attempt"] or 0),
        cursor=int(fields["seq"] or 0),
        started_ms=_optional_int(fields["started"]),
        finished_ms=_optional_int(fields["finished"]),
        outcome=_to_outcome(fields),
        question=to_question(fields["question"], spec) if "question" in fields else None,
        feedback=_to_feedback(fields.get("feedback")),
    )


def to_spec(spec: bytes) -> JobSpec:
    return _spec_decoder.decode(spec)


def to_question(question: bytes | None, spec: bytes) -> Question:
    """Read the question, or find it in a spec that the version before wrote."""
    if question is None:
        return Question(_old_question_decoder.decode(spec).message)
    return _question_decoder.decode(question)


def _to_feedback(feedback: bytes | None) -> Feedback | None:
    return None if feedback is None else _feedback_decoder.decode(feedback)


def without_totals(outcome: Outcome) -> Outcome:
    """Return what the field `outcome` keeps: all but what the fields of the totals hold."""
    return msgspec.structs.replace(outcome, usage=Usage(), cost_micros=0)


def _to_outcome(fields: Mapping[str, bytes | None]) -> Outcome | None:
    """Read the outcome with its totals; the version before wrote them into the outcome."""
    encoded = fields["outcome"]
    if encoded is None:
        return None
    outcome = _outcome_decoder.decode(encoded)
    if fields["total_micros"] is None:
        return outcome
    tokens_in, cached, tokens_out, micros = (int(fields[name] or 0) for name in _TOTALS)
    return msgspec.structs.replace(
        outcome, usage=Usage(tokens_in, cached, tokens_out), cost_micros=micros
    )


def _optional_int(value: bytes | None) -> int | None:
    return None if value is None else int(value)
