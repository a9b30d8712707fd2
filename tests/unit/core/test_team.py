"""What several agents' replies come to."""

from __future__ import annotations

import pytest

from core.chat import Usage
from core.jobs import TeamRequest
from core.outcome import AgentReport, JobError
from core.team import (
    Member,
    MemberReply,
    Slot,
    TeamPlan,
    best_reply,
    calls_of,
    end_of,
    gather,
    parse_slot,
    quorum_missed,
    round_deadline_ms,
)

GONE = JobError("no_reply", "The agent gave no reply.")
DOWN = JobError("model_unavailable", "Down.")
LONG = JobError("token_limit", "Too long.")
PLAN = TeamPlan(
    members=tuple(
        Member(agent=name, tier="standard", model="m", reason="r") for name in ("dev", "luna")
    ),
    reason="r",
    rounds=2,
    quorum=1,
    started_ms=0,
    timing_ms={},
)


def reply(agent, text="words", *, number=1, status="completed", error=None, finish_reason="stop"):
    report = AgentReport(
        name=agent,
        status=status,
        tier="standard",
        model="m",
        reason="r",
        usage=Usage(input_tokens=10, cached_input_tokens=4, output_tokens=5),
        cost_micros=3,
        timing_ms={"queue": 1, "first_token": 20, "total": 100},
        error=error,
    )
    return MemberReply(round=number, text=text, finish_reason=finish_reason, report=report)


def test_a_report_adds_up_the_calls_when_there_were_several_rounds():
    replies = [reply("dev"), reply("luna"), reply("dev", number=2), reply("luna", number=2)]

    gathered = gather(PLAN, replies, GONE)

    assert [report.usage for report in gathered.reports] == [Usage(20, 8, 10)] * 2
    assert [report.cost_micros for report in gathered.reports] == [6, 6]
    assert [report.rounds for report in gathered.reports] == [2, 2]
    assert gathered.reports[0].timing_ms == {"queue": 2, "first_token": 20, "total": 200}


def test_latest_usable_reply_counts_when_a_revision_failed():
    replies = [reply("dev", "first"), reply("dev", "", number=2, status="failed", error=DOWN)]

    gathered = gather(PLAN, replies, GONE)

    assert [own.text for own in gathered.contributions] == ["first"]
    assert gathered.reports[0].text == "first"
    assert gathered.reports[0].error == DOWN
    assert gathered.degraded


@pytest.mark.parametrize(
    ("own", "is_usable"),
    [
        (reply("dev"), True),
        (reply("dev", ""), False),
        (reply("dev", status="incomplete", error=LONG), True),
        (reply("dev", status="incomplete", error=JobError("deadline_exceeded", "Late.")), False),
        (reply("dev", status="failed", error=DOWN), False),
    ],
)
def test_reply_is_usable_when_it_is_whole_or_cut_by_tokens(own, is_usable):
    assert own.is_usable is is_usable


def test_agent_without_a_reply_is_shown_as_failed():
    gathered = gather(PLAN, [reply("luna")], GONE)

    assert [(r.name, r.status, r.error) for r in gathered.reports] == [
        ("dev", "failed", GONE),
        ("luna", "completed", None),
    ]
    assert gathered.degraded


def test_quorum_is_missed_when_too_few_answered():
    failed = gather(PLAN, [reply("dev", "", status="failed", error=DOWN)], GONE)

    error = quorum_missed(PLAN, failed)

    assert error is not None
    assert error.code == "quorum_not_met"
    assert "0 of 2" in error.message
    assert "model_unavailable" in error.message
    assert quorum_missed(PLAN, gather(PLAN, [reply("dev")], GONE)) is None


def test_slots_are_read_as_they_are_written():
    for slot in (Slot(1, "dev"), Slot(12, "luna"), end_of(2)):
        assert parse_slot(slot.name) == slot
    assert end_of(1).speaker == "synthesis"


@pytest.mark.parametrize(
    ("rounds_left", "agent_deadline_s", "is_synthesized", "deadline_ms"),
    [
        (1, None, True, 1_000 + 75_000),
        (1, None, False, 1_000 + 100_000),
        (2, None, True, 1_000 + 37_500),
        (1, 2.5, True, 1_000 + 2_500),
        (1, 99.0, True, 1_000 + 75_000),
    ],
)
def test_agents_are_cut_in_time_for_what_follows(
    rounds_left, agent_deadline_s, is_synthesized, deadline_ms
):
    found = round_deadline_ms(
        1_000,
        101_000,
        rounds_left=rounds_left,
        agent_deadline_s=agent_deadline_s,
        is_synthesized=is_synthesized,
    )

    assert found == deadline_ms


def test_calls_are_counted_for_the_reservation():
    assert calls_of(TeamRequest(agents=("dev", "luna"), rounds=2)) == (4, 1)
    assert calls_of(TeamRequest(synthesis=False)) == (4, 0)


def test_best_reply_is_the_most_relevant_one_that_the_model_ended():
    cut = reply("dev", text="a very long reply that has no end", finish_reason="length")
    whole = [reply("atlas", text="Postgres"), reply("quinn", text="a longer reply")]

    assert best_reply([cut, *whole]).report.name == "atlas"


def test_best_reply_is_the_longest_when_a_limit_cut_them_all():
    cut = [
        reply(name, text=text, finish_reason="length")
        for name, text in (("dev", "a"), ("luna", "ab"))
    ]

    assert best_reply(cut).report.name == "luna"
