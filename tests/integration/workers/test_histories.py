"""What a message of a conversation goes on with, read from real servers."""

from __future__ import annotations

from types import SimpleNamespace

import msgspec
import pytest

from core.chat import Message
from core.jobs import JobStatus, Question
from core.outcome import Answer, Outcome
from core.settings import Settings
from storage import keys
from storage.connections import close_all
from storage.connections import mongo_database as connect
from storage.jobs.ancestors import Ancestors
from storage.jobs.exchanges import Exchange
from storage.jobs.lines import Lines, Waiter
from storage.jobs.user_keys import UserKeys
from storage.records.conversations import Conversations
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import ROOMY, make_spec
from workers.history import Histories, HistoryNotReady
from workers.upkeep.records import RecordWriter

USER = make_spec().user_id


@pytest.fixture
def runtime(redis_client, mongo_database):
    store, records = AcceptingStore(redis_client), JobRecords(mongo_database, insert_s=10)
    conversations = Conversations(mongo_database)
    return SimpleNamespace(
        store=store,
        records=records,
        attempts=ClaimingAttempts(redis_client),
        conversations=conversations,
        histories=Histories(Ancestors(redis_client), conversations, UserKeys(redis_client)),
        writer=RecordWriter(RecordStream(redis_client, store), records),
    )


@pytest.fixture
def say(runtime):
    """Return what answers a message behind a parent, unless it is left unanswered."""

    def say(question, parent=None, *, answer="", **changes):
        spec = make_spec(
            user_id=USER,
            conversation_id="plans",
            parent_id=parent.id if parent else None,
            turn=(parent.turn if parent else 0) + 1,
            created_ms=make_spec().created_ms + (parent.turn if parent else 0),
            **changes,
        )
        runtime.store.accept(spec, Question(question), ROOMY, None)
        runtime.records.insert(runtime.store.get_whole([spec.id])[0])
        if answer:
            said = Answer(text=answer, finish_reason="stop", agents=("dev",))
            claim = runtime.attempts.claim(spec.id)
            runtime.attempts.finish(claim, JobStatus.COMPLETED, Outcome(answer=said))
        return spec

    return say


def texts(history):
    return [message.content for message in history]


@pytest.mark.parametrize("is_recorded", [False, True])
@pytest.mark.parametrize("lost", [0, 1, 3])
def test_a_branch_is_read_wherever_its_messages_are(is_recorded, lost, runtime, say, redis_client):
    first = say("one", answer="1")
    second = say("two", first, answer="2")
    other = say("other", first, answer="o")
    third = say("three", second, answer="3")
    if is_recorded or lost:
        runtime.writer.run()
    for spec in (first, second, third)[:lost]:
        redis_client.delete(keys.job(spec.id))

    history = runtime.histories.of(say("now", third))

    assert texts(history) == ["one", "1", "two", "2", "three", "3"]
    assert history[0] == Message("user", "one")
    assert history[1] == Message("assistant", "1")
    assert texts(runtime.histories.of(say("then", other))) == ["one", "1", "other", "o"]


def test_a_message_without_an_answer_is_left_out(runtime, say):
    first = say("one", answer="1")
    failed = say("two", first)
    runtime.attempts.finish(runtime.attempts.claim(failed.id), JobStatus.FAILED, Outcome())

    assert texts(runtime.histories.of(say("three", failed))) == ["one", "1"]


def test_a_message_waits_for_the_one_before(runtime, say):
    first = say("one")

    with pytest.raises(HistoryNotReady):
        runtime.histories.of(say("two", first))


def test_a_message_waits_for_one_that_redis_lost_and_that_has_not_ended(runtime, say, redis_client):
    first = say("one")
    second = say("two", first)
    redis_client.delete(keys.job(first.id))

    with pytest.raises(HistoryNotReady):
        runtime.histories.of(second)


def test_a_message_waits_while_mongodb_is_away_and_needed(runtime, say, redis_client):
    database = connect(Settings(mongo_url="mongodb://127.0.0.1:1"), selection_timeout_s=0.2)
    away = Histories(Ancestors(redis_client), Conversations(database), UserKeys(redis_client))
    first = say("one", answer="1")
    second = say("two", first, answer="2")
    third = say("three", second)

    assert texts(away.of(third)) == ["one", "1", "two", "2"]
    redis_client.delete(keys.job(first.id))
    with pytest.raises(HistoryNotReady):
        away.of(third)
    close_all(database)


def test_what_an_older_version_kept_comes_first(runtime, say, redis_client):
    name = keys.conversation(USER, "plans")
    for exchange in (Exchange("old", "o"), Exchange("one", "1")):
        redis_client.rpush(name, msgspec.json.encode(exchange))
    first = say("one", answer="1")

    assert texts(runtime.histories.of(say("alone"))) == ["old", "o", "one", "1"]
    assert texts(runtime.histories.of(say("two", first))) == ["old", "o", "one", "1"]


def test_long_branches_are_bounded(runtime, say, monkeypatch):
    monkeypatch.setattr("workers.history.MOST_ANCESTORS", 3)
    last = None
    for number in range(6):
        last = say(f"q{number}", last, answer=f"a{number}")

    assert texts(runtime.histories.of(say("now", last))) == ["q3", "a3", "q4", "a4", "q5", "a5"]


def test_another_users_conversation_of_the_same_name_is_not_read(runtime, say):
    first = say("one", answer="1")
    stranger = make_spec(conversation_id="plans", turn=1)
    runtime.store.accept(stranger, Question("mine"), ROOMY, None)

    assert first.user_id != stranger.user_id
    assert runtime.histories.of(stranger) == []


@pytest.fixture
def claim_next(redis_client):
    lines = Lines(redis_client, lease_s=15)
    return lambda: lines.claim_next(Waiter(name="t"))


def test_messages_of_a_conversation_run_one_after_another(runtime, say, redis_client, claim_next):
    lines = Lines(redis_client, lease_s=15)
    first = say("one")
    second = say("two", first)
    lines.enter([second, first])

    claimed = [claim_next(), claim_next()]
    runtime.attempts.finish(claimed[0], JobStatus.COMPLETED, Outcome())

    assert claimed[0].job_id == first.id
    assert not hasattr(claimed[1], "job_id")
    assert claim_next().job_id == second.id


def test_a_message_that_began_too_early_lets_the_one_before_begin(
    runtime, say, redis_client, claim_next
):
    lines = Lines(redis_client, lease_s=15)
    first = say("one")
    second = say("two", first, priority=10)
    lines.enter([first, second])
    early = claim_next()

    assert runtime.attempts.wait_for_parent(early, 0.0)

    late = runtime.store.get(second.id)
    assert early.job_id == second.id
    assert (late.status, late.attempt, late.started_ms) == (JobStatus.QUEUED, 0, None)
    assert claim_next().job_id == first.id
    assert not runtime.attempts.wait_for_parent(early, 0.0)
