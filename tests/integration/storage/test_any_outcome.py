"""Whatever an adapter makes of an upstream: the job ends, is charged, recorded and listed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.exceptions import ResponseError

from core.chat import Usage
from core.jobs import Job, JobStatus
from core.outcome import AgentReport, Answer, Draft, JobError, Outcome, Savings
from core.public import to_public
from storage import keys
from storage.jobs.bounds import MOST_MICROS, MOST_TOKENS
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import QUESTION, ROOMY, make_spec
from workers.upkeep.records import RecordWriter

numbers = st.one_of(
    st.integers(),
    st.sampled_from([2**31, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1, 10**30, -(10**30), -1]),
)
texts = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(["\0", "\ud800", "\udfff\ud800", "a\x1b[31m", "\u2028", "x" * 200_000, "$a.b"]),
)
usages = st.builds(Usage, numbers, numbers, numbers)
errors = st.none() | st.builds(JobError, texts, texts)
reports = st.builds(
    AgentReport,
    name=texts,
    status=st.sampled_from(["completed", "failed"]),
    tier=texts,
    model=texts,
    reason=texts,
    usage=usages,
    cost_micros=numbers,
    timing_ms=st.dictionaries(st.sampled_from(["queue", "total"]), st.none() | numbers),
    error=errors,
    text=st.none() | texts,
    rounds=numbers,
    drafts=st.tuples(st.builds(Draft, model=texts, usage=usages, cost_micros=numbers)),
)
outcomes = st.builds(
    Outcome,
    answer=st.none() | st.builds(Answer, text=texts, finish_reason=texts, agents=st.tuples(texts)),
    agents=st.tuples(reports),
    synthesis=st.none() | reports,
    usage=usages,
    cost_micros=numbers,
    savings=st.builds(
        Savings, routing_micros=numbers, cache_micros=numbers, prompt_cache_micros=numbers
    ),
    timing_ms=st.dictionaries(st.sampled_from(["queue", "total"]), st.none() | numbers),
    error=errors,
)


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(outcome=outcomes, is_in_conversation=st.booleans())
def test_any_outcome_is_stored_charged_recorded_and_listed(
    outcome, is_in_conversation, redis_client, mongo_database
):
    store, attempts = AcceptingStore(redis_client), ClaimingAttempts(redis_client)
    records = JobRecords(mongo_database)
    spec = make_spec(conversation_id="plans" if is_in_conversation else None)
    store.accept(spec, QUESTION, ROOMY, None)
    records.insert(Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=QUESTION))

    assert attempts.finish(attempts.claim(spec.id), JobStatus.COMPLETED, outcome)
    RecordWriter(RecordStream(redis_client, store), records).run()

    live = store.get(spec.id)
    assert live is not None
    (listed,) = records.list_of_user(spec.user_id, limit=10)
    assert listed == msgspec.structs.replace(live, question=QUESTION)
    assert records.set_aside.count() == 0
    assert msgspec.json.encode(to_public(listed))
    usage, cost = listed.outcome.usage, listed.outcome.cost_micros
    assert 0 <= usage.cached_input_tokens <= usage.input_tokens <= MOST_TOKENS
    assert 0 <= cost <= MOST_MICROS
    spend = redis_client.hgetall(keys.spend(spec.user_id, spec.created_ms))
    assert spend == {b"reserved": b"0", b"spent": b"%d" % cost, b"known": b"1"}


def everything_in(redis_client):
    """Return each key with its content; a dump of a hash has its fields in any order."""
    return {
        key: redis_client.hgetall(key)
        if redis_client.type(key) == b"hash"
        else redis_client.dump(key)
        for key in redis_client.keys("*")
    }


@pytest.mark.parametrize("name", ["events", "spend", "records", "active"])
def test_nothing_is_changed_when_the_script_that_ends_a_job_fails(name, redis_client):
    store, attempts = AcceptingStore(redis_client), ClaimingAttempts(redis_client)
    spec = make_spec(conversation_id="plans")
    key_names = {
        "events": keys.events(spec.id),
        "spend": keys.spend(spec.user_id, spec.created_ms),
        "records": keys.records(spec.id[4]),
        "active": keys.active(spec.user_id),
    }
    store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(spec.id)
    redis_client.delete(key_names[name])
    redis_client.set(key_names[name], "of another type")
    before = everything_in(redis_client)
    answer = Answer(text="ab", finish_reason="stop", agents=("dev",))

    with pytest.raises(ResponseError, match="WRONGTYPE"):
        attempts.finish(claim, JobStatus.COMPLETED, Outcome(answer=answer, cost_micros=30))

    assert everything_in(redis_client) == before
    redis_client.delete(key_names[name])
    assert attempts.finish(claim, JobStatus.COMPLETED, Outcome(answer=answer, cost_micros=30))
