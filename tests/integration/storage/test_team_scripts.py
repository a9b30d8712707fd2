"""A team's life in Redis: every slot held by one worker at a time, reported once, ended once."""

from __future__ import annotations

import pytest

from core.chat import Usage
from core.errors import SlotUnavailable
from core.events import AGENT_DELTA, NewEvent
from core.jobs import JobStatus, TeamRequest
from core.outcome import AgentReport, JobError, Outcome, Spent
from core.team import Member, MemberReply, Slot, TeamPlan, end_of
from storage import keys
from storage.jobs.cancellation import Cancellation
from storage.jobs.claims import Batch, Hold
from tests.jobs import QUESTION, ROOMY, make_spec

DEV, LUNA, END = Slot(1, "dev"), Slot(1, "luna"), end_of(1)
SPENT = Spent(Usage(input_tokens=7, output_tokens=3), 12)


@pytest.fixture
def job_id(store, attempts, teams):
    """A job that is dev's and luna's for a round."""
    spec = make_spec(team=TeamRequest())
    store.accept(spec, QUESTION, ROOMY, None)
    holder = attempts.claim(spec.id)
    plan = make_plan("dev", "luna")
    held = teams.start_round(holder, plan, [DEV, LUNA], deadline_ms=holder.deadline_ms - 1)
    assert held is Hold.HELD
    return spec.id


def make_plan(*names, rounds=1):
    members = tuple(
        Member(agent=name, tier="quick", model="m", reason="asked for") for name in names
    )
    return TeamPlan(
        members=members, reason="r", rounds=rounds, quorum=1, started_ms=1, timing_ms={}
    )


def reply_of(slot, text="hello", **changes):
    report = AgentReport(
        name=slot.agent,
        status="completed",
        tier="quick",
        model="m",
        reason="asked for",
        usage=Usage(input_tokens=2, output_tokens=3),
        cost_micros=7,
    )
    return MemberReply(round=slot.round, text=text, finish_reason="stop", report=report, **changes)


def expire(redis_client, job_id, slot):
    redis_client.hset(keys.job(job_id), f"{slot.name}:lease", 1)


def due_entries(redis_client, job_id):
    found = redis_client.zrange(keys.WATCH, 0, -1, withscores=True)
    return {entry.decode(): int(score) for entry, score in found}


def test_whole_job_is_nobodys_when_its_team_has_it(job_id, attempts):
    assert attempts.claim(job_id) is None


def test_holder_can_write_no_more_when_it_has_handed_over(store, attempts, teams):
    spec = make_spec(team=TeamRequest())
    store.accept(spec, QUESTION, ROOMY, None)
    holder = attempts.claim(spec.id)
    teams.start_round(holder, make_plan("dev"), [DEV], deadline_ms=holder.deadline_ms)

    assert attempts.renew([holder]) == [Hold.LOST]
    assert not attempts.finish(holder, JobStatus.COMPLETED, Outcome())
    again = teams.start_round(holder, make_plan("dev"), [DEV], deadline_ms=holder.deadline_ms)
    assert again is Hold.LOST


def test_slot_is_refused_when_a_live_worker_has_it(job_id, teams):
    slot_claim = teams.claim_slot(job_id, DEV)

    assert (slot_claim.slot, slot_claim.claim.attempt) == (DEV, 1)
    assert teams.claim_slot(job_id, DEV) is None
    with pytest.raises(SlotUnavailable):
        teams.take_slot(job_id, DEV)
    assert teams.claim_slot(job_id, LUNA) is not None


def test_end_is_refused_when_an_agent_has_not_reported(job_id, teams):
    teams.report(teams.claim_slot(job_id, DEV), reply_of(DEV))

    assert teams.claim_slot(job_id, END) is None
    with pytest.raises(SlotUnavailable):
        teams.take_slot(job_id, END)


def test_end_is_in_line_when_the_last_agent_has_reported(job_id, teams, redis_client):
    first = teams.report(teams.claim_slot(job_id, DEV), reply_of(DEV))
    last = teams.report(teams.claim_slot(job_id, LUNA), reply_of(LUNA))

    assert (first.left, last.left) == (1, 0)
    assert set(due_entries(redis_client, job_id)) == {job_id}
    assert (first.unwoken, last.unwoken) == (0, 1)
    assert [reply.report.name for reply in teams.replies(job_id)] == ["dev", "luna"]
    assert teams.claim_slot(job_id, END).slot.is_end


def test_reply_is_kept_once_when_its_slot_is_sent_again(job_id, teams):
    slot_claim = teams.claim_slot(job_id, DEV)
    teams.report(slot_claim, reply_of(DEV))

    assert teams.report(slot_claim, reply_of(DEV, "another")) is None
    assert teams.claim_slot(job_id, DEV) is None
    assert [reply.text for reply in teams.replies(job_id)] == ["hello"]


def test_late_words_are_refused_when_the_slot_has_another_worker(
    job_id, teams, attempts, redis_client
):
    zombie = teams.claim_slot(job_id, DEV)
    expire(redis_client, job_id, DEV)

    heir = teams.claim_slot(job_id, DEV)

    assert heir.claim.attempt == 2
    words = Batch([NewEvent(AGENT_DELTA, {"text": "late"})], 1)
    assert attempts.append([(zombie.claim, words)]) == [Hold.LOST]
    assert teams.report(zombie, reply_of(DEV)) is None
    assert teams.report(heir, reply_of(DEV)).left == 1


def test_batch_of_a_slot_is_appended_once_when_it_is_sent_again(job_id, teams, attempts, log):
    dev, luna = teams.claim_slot(job_id, DEV), teams.claim_slot(job_id, LUNA)
    words = Batch([NewEvent(AGENT_DELTA, {"text": "a"})], 1)

    attempts.append([(dev.claim, words), (luna.claim, words), (dev.claim, words)])
    teams.report(luna, reply_of(LUNA), unsure=words)

    told = [event.type for event in log.read(job_id, after=0)]
    assert told.count(AGENT_DELTA) == 2


def test_slot_is_sent_again_when_its_worker_is_gone(job_id, teams, sweep, redis_client):
    teams.claim_slot(job_id, DEV)
    expire(redis_client, job_id, DEV)

    assert sweep.release(job_id, DEV) == (True, 1)

    assert teams.claim_slot(job_id, DEV).claim.attempt == 2
    assert sweep.release(job_id, DEV) == (False, 0)


def test_slot_is_closed_when_it_is_out_of_attempts(job_id, teams, redis_client):
    for _ in range(3):
        teams.claim_slot(job_id, DEV)
        expire(redis_client, job_id, DEV)

    assert teams.claim_slot(job_id, DEV) is None
    assert teams.report(teams.take_slot(job_id, DEV), reply_of(DEV)).left == 1


def test_attempt_does_not_count_when_the_slot_is_given_back(job_id, teams, attempts):
    slot_claim = teams.claim_slot(job_id, DEV)

    assert attempts.defer(slot_claim.claim, 5.0, reason="rate_limited", used=SPENT)

    assert teams.claim_slot(job_id, DEV).claim.attempt == 1


def test_sweeper_sees_each_slot_by_itself(job_id, teams, sweep, store):
    teams.claim_slot(job_id, DEV)
    far_ms = store.get(job_id).started_ms + 200_000

    due = {entry.entry: entry for entry in sweep.due(far_ms, most=10)}

    assert set(due) == {job_id, f"{job_id}/1.dev", f"{job_id}/1.luna"}
    assert due[f"{job_id}/1.dev"].lease_until_ms > 0 == due[f"{job_id}/1.luna"].lease_until_ms
    assert all(entry.has_team for entry in due.values())
    assert due[job_id].slot is None


def test_job_ends_once_when_its_end_slot_finishes_it(
    job_id, teams, attempts, redis_client, store, log
):
    for slot in (DEV, LUNA):
        teams.report(teams.claim_slot(job_id, slot), reply_of(slot))
    slot_claim = teams.claim_slot(job_id, END)

    assert attempts.finish(slot_claim.claim, JobStatus.COMPLETED, Outcome(cost_micros=5))

    job = store.get(job_id)
    assert (job.status, job.outcome.cost_micros) == (JobStatus.COMPLETED, 7 + 7 + 5)
    assert job.outcome.usage == Usage(input_tokens=4, output_tokens=6)
    assert due_entries(redis_client, job_id) == {}
    assert teams.claim_slot(job_id, END) is None
    assert not attempts.finish(slot_claim.claim, JobStatus.FAILED, Outcome())
    numbers = [event.sequence for event in log.read(job_id, after=0)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_next_round_is_handed_over_by_the_end_of_the_one_before(job_id, teams, redis_client):
    for slot in (DEV, LUNA):
        teams.report(teams.claim_slot(job_id, slot), reply_of(slot))
    end = teams.claim_slot(job_id, END)
    second = [Slot(2, "dev"), Slot(2, "luna")]

    assert teams.start_round(end.claim, end.plan, second, deadline_ms=1) is Hold.HELD

    assert teams.claim_slot(job_id, END) is None
    slot_claim = teams.claim_slot(job_id, Slot(2, "luna"))
    assert teams.report(slot_claim, reply_of(slot_claim.slot)).left == 1
    assert f"{job_id}/2.dev" in due_entries(redis_client, job_id)


def test_cancelled_team_ends_at_once_when_nobody_works(job_id, store, sweep, attempts, teams):
    teams.report(teams.claim_slot(job_id, DEV), reply_of(DEV))

    Cancellation(store, sweep, attempts, teams).cancel(store.get(job_id))

    job = store.get(job_id)
    assert (job.status, job.outcome.cost_micros) == (JobStatus.CANCELLED, 7)
    assert [report.status for report in job.outcome.agents] == ["completed", "cancelled"]


def test_cancelled_team_is_left_to_who_works_on_it(job_id, store, sweep, attempts, teams):
    slot_claim = teams.claim_slot(job_id, DEV)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(job_id))

    assert store.get(job_id).status is JobStatus.IN_PROGRESS
    assert attempts.renew([slot_claim.claim]) == [Hold.CANCELLED]
    assert teams.claim_slot(job_id, LUNA) is None
    state = teams.report(slot_claim, reply_of(DEV))
    assert (state.is_cancelled, state.running) == (True, 0)


def test_agent_that_was_put_off_is_paid_when_its_team_is_cancelled(
    job_id, store, sweep, attempts, teams
):
    attempts.defer(teams.claim_slot(job_id, DEV).claim, 5.0, reason="rate_limited", used=SPENT)

    Cancellation(store, sweep, attempts, teams).cancel(store.get(job_id))

    outcome = store.get(job_id).outcome
    assert (outcome.usage, outcome.cost_micros) == (SPENT.usage, SPENT.cost_micros)


def test_hand_over_says_so_when_the_job_is_to_be_cancelled(store, attempts, teams):
    spec = make_spec(team=TeamRequest())
    store.accept(spec, QUESTION, ROOMY, None)
    holder = attempts.claim(spec.id)
    store.request_cancel(spec.id)

    hold = teams.start_round(holder, make_plan("dev"), [DEV], deadline_ms=holder.deadline_ms)

    assert hold is Hold.CANCELLED
    assert teams.read(spec.id).replies == []


def test_team_is_taken_over_when_no_worker_lives(
    job_id, store, sweep, attempts, teams, redis_client
):
    slot_claim = teams.claim_slot(job_id, DEV)
    assert sweep.take_over(store.get(job_id)) is None
    expire(redis_client, job_id, DEV)

    claim = sweep.take_over(store.get(job_id))

    assert attempts.renew([slot_claim.claim]) == [Hold.LOST]
    late = JobError("deadline_exceeded", "Too late.")
    assert attempts.finish(claim, JobStatus.INCOMPLETE, Outcome(error=late))
