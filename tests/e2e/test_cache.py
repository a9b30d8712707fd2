"""Answers that are used again, and those that must not be."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.api_client import CHAT, read_events, text_of
from tests.services import wait_until

pytestmark = pytest.mark.e2e

TEN_TOKENS = "".join(f"token-{n} " for n in range(1, 11))


@pytest.fixture
def calls(stub_server):
    """Return how many calls the upstream has had since the test began."""
    before = requests_of(stub_server)
    return lambda: requests_of(stub_server) - before


def requests_of(stub_server):
    return httpx.get(f"{stub_server.url}/stub/stats").json()["requests"]


def begin_titled(api, *names):
    """Begin conversations that have a title, so that none is asked for."""
    for name in names:
        json = {"id": name, "title": name}
        assert api.http.post("/api/ai/v4/conversations", json=json).status_code == 201


def submit_kept(api, message, **options):
    """Return the response of a submit that a kept answer completes.

    An answer is stored just after the end of its job, so the first submit may come too early.
    """
    responses = []

    def is_answered():
        responses.append(api.submit(message, **options))
        return responses[-1].status_code == 200

    wait_until(is_answered, 10, "the answer to be stored")
    return responses[-1]


def ids_listed(api):
    return [job["id"] for job in api.http.get("/api/ai/v4/jobs").json()["data"]]


def test_answer_comes_with_the_post_when_the_question_is_repeated(api, calls):
    first = api.ask("What is a mutex?")

    job = submit_kept(api, "What is  a mutex?").json()

    assert job["id"] != first["id"]
    assert (job["status"], job["answer"]) == ("completed", first["answer"])
    assert first["cache"]["status"] == "miss"
    assert job["cache"]["status"] == "hit"
    assert job["cache"]["layer"] in ("memory", "redis")
    assert job["cost"] == {
        "usd": 0.0,
        "reserved_usd": 0.0,
        "saved_usd": first["cost"]["usd"],
        "saved": {
            "routing_usd": 0.0,
            "cache_usd": first["cost"]["usd"],
            "prompt_cache_usd": 0.0,
        },
    }
    assert job["usage"]["total_tokens"] == 0
    assert calls() == 1


def test_hit_is_a_job_like_any_other(api):
    api.ask("What is a semaphore?")

    job = submit_kept(api, "What is a semaphore?").json()

    assert api.job(job["id"]) == job
    events = api.events(job["id"])
    assert [event["type"] for event in events] == [
        "job.queued",
        "cache.hit",
        "answer.delta",
        "job.completed",
    ]
    assert [event["sequence"] for event in events] == [1, 2, 3, 4]
    assert text_of(events) == job["answer"]["text"] == TEN_TOKENS
    wait_until(lambda: job["id"] in ids_listed(api), 15, "its record")
    assert api.cancel(job["id"]).status_code == 409


def test_hit_is_replayed_to_a_stream(api):
    api.ask("What is a spinlock?", cache={"mode": "use"})

    with api.http.stream(
        "POST", f"{CHAT}/stream", json={"message": "What is a spinlock?"}
    ) as response:
        events = list(read_events(response.iter_lines()))

    assert "cache.hit" in [event["type"] for event in events]
    assert text_of(events) == TEN_TOKENS


def test_another_user_gets_a_new_answer(api, other, calls):
    api.ask("What is a barrier?")

    job = other.ask("What is a barrier?")

    assert (job["cache"]["status"], calls()) == ("miss", 2)


@pytest.mark.parametrize(
    "changed",
    [
        {"agent": "quinn"},
        {"max_tokens": 7},
        {"temperature": 0.5},
        {"cache": {"mode": "bypass"}},
        {"cache": {"mode": "refresh"}},
        {"cache": {"max_age_s": 0}},
    ],
)
def test_new_answer_is_made_when_the_request_differs(changed, api, calls):
    api.ask("What is a queue?")

    job = api.ask("What is a queue?", **changed)

    assert job["cache"]["status"] in ("miss", "bypass")
    assert calls() == 2


def test_refreshed_answer_serves_from_then_on(api, calls):
    question = "What is a ring? [[stub:once tokens=3]]"
    first = api.ask(question)

    anew = api.ask(question, cache={"mode": "refresh"})
    again = api.ask(question)

    assert (anew["cache"]["status"], again["cache"]["status"]) == ("miss", "hit")
    assert first["answer"]["text"] != anew["answer"]["text"] == again["answer"]["text"]
    assert calls() == 2


def test_case_is_never_folded(api, calls):
    api.ask("What is IT?")

    api.ask("What is it?")

    assert calls() == 2


@pytest.mark.parametrize("fault", ["401", "length"])
def test_failed_or_cut_answer_is_never_kept(fault, api, calls):
    question = f"What is a heap? [[stub:{fault}]]"
    first = api.ask(question)
    made = calls()

    again = api.ask(question)

    assert first["status"] == again["status"] != "completed"
    assert again["cache"]["status"] == "miss"
    assert calls() == 2 * made


def test_conversation_is_part_of_the_fingerprint(api, calls):
    begin_titled(api, "a", "b")
    api.ask("My name is Ada.", conversation_id="a")
    api.ask("My name is Bob.", conversation_id="b")

    api.ask("What is my name?", conversation_id="a")
    job = api.ask("What is my name?", conversation_id="b")

    assert (job["cache"]["status"], calls()) == ("miss", 4)


def test_same_history_and_message_hit_within_another_conversation(api, calls):
    begin_titled(api, "same", "fresh", "other-fresh")
    for _ in range(2):
        api.ask("My name is Ada.", conversation_id="same")
    assert calls() == 2
    first = api.ask("Hello?", conversation_id="fresh")

    again = api.ask("Hello?", conversation_id="other-fresh")

    assert again["answer"] == first["answer"]
    assert again["cache"]["status"] == "hit"
    assert calls() == 3


def test_team_job_is_answered_from_the_cache_by_its_synthesis(api, calls):
    fields = {"agents": ["dev", "sage"]}
    first = api.submit("Why?", path="multi-agent", headers={"Prefer": "wait=60"}, **fields).json()

    again = submit_kept(api, "Why?", path="multi-agent", **fields).json()

    assert again["answer"] == first["answer"]
    assert calls() == 3


def test_repeated_idempotency_key_returns_the_same_job_when_it_was_a_hit(api):
    api.ask("What is a stack?")
    submit_kept(api, "What is a stack?")
    headers = {"Idempotency-Key": "once"}

    first, second = (api.submit("What is a stack?", headers=headers) for _ in range(2))

    assert first.json()["id"] == second.json()["id"]
    assert second.headers["Idempotency-Replayed"] == "true"
    refused = api.submit("What is a deque?", headers=headers)
    assert refused.status_code == 422


def test_one_call_answers_all_who_ask_the_same_at_once(api, calls):
    question = "What is a race? [[stub:tokens=20 gap_ms=60]]"
    with ThreadPoolExecutor(8) as pool:
        ids = [job.json()["id"] for job in pool.map(lambda _: api.submit(question), range(8))]

    logs = [api.events(job_id) for job_id in ids]

    jobs = [api.job(job_id) for job_id in ids]
    assert {job["status"] for job in jobs} == {"completed"}
    assert len({text_of(log) for log in logs} | {job["answer"]["text"] for job in jobs}) == 1
    statuses = sorted(job["cache"]["status"] for job in jobs)
    assert statuses == ["coalesced"] * 7 + ["miss"]
    assert sum(job["cost"]["usd"] > 0 for job in jobs) == 1
    for log in logs:
        assert [event["sequence"] for event in log] == list(range(1, len(log) + 1))
        assert sum(event["type"] == "job.started" for event in log) == 1
    assert calls() == 1


@pytest.fixture
def leading(api):
    """A job that has begun its answer, and two that wait for it."""
    question = "What is a fence? [[stub:tokens=40 gap_ms=50]]"
    leader = api.submit(question).json()["id"]
    wait_until(lambda: text_of(api.job(leader, after=0)["events"]), 20, "the leader's text")
    others = [api.submit(question).json()["id"] for _ in range(2)]
    wait_until(lambda: all(is_parked(api.job(i, after=0)) for i in others), 20, "the parking")
    return leader, others


def is_parked(job):
    return job["started_at"] is not None and job["status"] == "queued"


def test_parked_jobs_go_on_when_the_leader_is_cancelled(api, calls, leading):
    leader, others = leading

    api.cancel(leader)
    ended = [api.end_of(job_id) for job_id in (leader, *others)]

    assert [job["status"] for job in ended] == ["cancelled", "completed", "completed"]
    assert [text_of(api.events(job_id)) for job_id in others] == [
        ended[1]["answer"]["text"],
        ended[2]["answer"]["text"],
    ]
    assert calls() == 2


def test_a_parked_job_ends_at_once_when_it_is_cancelled(api, leading):
    leader, (parked, _) = leading

    answer = api.cancel(parked)

    assert answer.json()["status"] == "cancelled"
    assert api.end_of(leader)["status"] == "completed"


def test_operator_sees_what_is_saved_and_purges_it(api, stack, calls):
    api.ask("What is a purge?")
    assert api.ask("What is a purge?")["cache"]["status"] == "hit"

    wait_until(lambda: saved(stack) != "$0.000000", 10, "the counts to reach Redis")
    voided = stack.aether("cache", "purge", "--model", "openai/gpt-oss-20b")

    assert voided.returncode == 0, voided.stderr
    wait_until(lambda: api.ask("What is a purge?")["cache"]["status"] == "miss", 5, "the purge")
    assert calls() == 2
    assert stack.aether("cache", "purge").returncode == 2


def saved(stack):
    shown = stack.aether("cache", "stats")
    assert shown.returncode == 0, shown.stderr
    return next(line.split()[-1] for line in shown.stdout.splitlines() if "saved" in line)


def test_followers_wait_with_their_leader_when_the_provider_asks_for_time(api, calls):
    question = "What is a limit? [[stub:once 429 retry_after=3 first_ms=300]]"
    ids = [api.submit(question).json()["id"] for _ in range(3)]

    ended = [api.end_of(job_id) for job_id in ids]

    assert {job["status"] for job in ended} == {"completed"}
    assert calls() == 2
