"""The main job, over HTTP, through every process of a real stack."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from ops.stack.readiness import http_answers
from ops.stack.running import command_settings
from storage import keys
from storage.connections import redis_client
from tests.api_client import CHAT, JOBS, read_events, text_of
from tests.services import wait_until

pytestmark = pytest.mark.e2e

TEN_TOKENS = "".join(f"token-{n} " for n in range(1, 11))
#: Goes on for as long as any test may take on a busy machine.
LONG = "[[stub:tokens=1000 gap_ms=100]]"


def upstream(stub_server):
    return httpx.get(f"{stub_server.url}/stub/stats").json()


def test_example_of_the_documentation_works(stack):
    with httpx.Client(base_url=stack.url) as http:
        token = http.post("/api/auth/demo-login").json()["access_token"]

        accepted = http.post(
            f"{CHAT}/optimized",
            headers={"Authorization": f"Bearer {token}"},
            json={"message": "Help me build a scalable web app"},
        )

        assert accepted.status_code == 202
        job = accepted.json()
        assert accepted.headers["Location"] == f"{JOBS}/{job['id']}" == job["links"]["self"]
        assert (job["status"], job["cursor"]) == ("queued", 1)
        done = http.get(
            job["links"]["self"],
            params={"wait": 30},
            headers={"Authorization": f"Bearer {token}"},
        ).json()
    assert (done["status"], done["answer"]["text"]) == ("completed", TEN_TOKENS)


def test_finished_job_accounts_for_model_money_and_time(api):
    job = api.ask("Fix this python bug", metadata={"ticket": "42"})

    assert job["route"]["model"] == job["agents"][0]["model"] == "openai/gpt-oss-20b"
    assert job["answer"]["agents"] == ["dev"]
    assert job["metadata"] == {"ticket": "42"}
    assert job["usage"]["output_tokens"] == 10
    assert job["usage"] == job["agents"][0]["usage"]
    assert job["cost"]["usd"] > 0
    assert job["cost"]["reserved_usd"] > 0
    timing = job["timing_ms"]
    parts = sum(value for name, value in timing.items() if name not in ("total", "first_token"))
    assert parts == timing["total"]


def test_quick_job_is_answered_in_the_post(api):
    answer = api.submit("Hi", path="quick")

    assert answer.status_code == 200
    assert answer.json()["route"]["tier"] == "quick"


def test_stream_begins_with_the_job_and_ends_with_its_end(api):
    with api.http.stream("POST", f"{CHAT}/stream", json={"message": "Hi"}) as response:
        events = list(read_events(response.iter_lines()))

    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.headers["Location"] == f"{JOBS}/{events[0]['job_id']}"
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert (events[0]["type"], events[-1]["type"]) == ("job.queued", "job.completed")
    assert text_of(events) == TEN_TOKENS == api.job(events[0]["job_id"])["answer"]["text"]


def test_stream_goes_on_without_a_gap_when_it_is_dropped_again_and_again(api):
    job_id = api.submit("[[stub:tokens=40 gap_ms=25]]").json()["id"]

    events = []
    while not events or events[-1]["type"] not in ("job.completed", "job.failed"):
        events += api.events(job_id, after=len(events), stop_after=3)

    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert text_of(events) == api.job(job_id)["answer"]["text"]


def test_stream_ends_before_its_job_and_goes_on_when_the_server_is_told_to_stop(api, stack):
    job_id = api.submit(LONG).json()["id"]
    events = api.events(job_id, stop_at="answer.delta")

    pid = stack.pids["api"]
    os.kill(pid, signal.SIGTERM)
    events += api.events(job_id, after=len(events))
    assert events[-1]["type"] == "answer.delta"

    wait_until(lambda: stack.pids.get("api", pid) != pid, 60, "another API")
    wait_until(lambda: http_answers(f"{stack.url}/readyz"), 60, "it to be ready")
    events += api.events(job_id, after=len(events), stop_at="answer.delta")
    api.cancel(job_id)
    events += api.events(job_id, after=len(events))
    assert events[-1]["type"] == "job.cancelled"
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert text_of(events) == api.job(job_id)["answer"]["text"]


def test_wait_ends_before_the_job_when_the_job_keeps_talking(api):
    job_id = api.submit(LONG).json()["id"]
    api.events(job_id, stop_at="answer.delta")

    job = api.job(job_id, wait=1)

    assert job["status"] == "in_progress"
    api.cancel(job_id)


def test_stream_of_an_ended_job_tells_all_of_it_again(api):
    job = api.ask("Hi")

    events = api.events(job["id"])

    assert [event["sequence"] for event in events] == list(range(1, job["cursor"] + 1))


def test_stream_goes_on_from_a_snapshot_when_the_cursor_is_beyond_the_log(api):
    job_id = api.submit("[[stub:tokens=40 gap_ms=25]]").json()["id"]

    snapshot, *events = api.events(job_id, after=9_000)

    assert (snapshot["type"], snapshot["data"]["id"]) == ("job.snapshot", job_id)
    first, last = snapshot["sequence"] + 1, api.job(job_id)["cursor"]
    assert [event["sequence"] for event in events] == list(range(first, last + 1))


def test_stream_has_no_content_when_the_client_has_seen_the_end(api):
    job = api.ask("Hi")

    response = api.http.get(f"{JOBS}/{job['id']}/events", params={"after": job["cursor"]})

    assert response.status_code == 204


def test_poll_brings_only_the_news_when_it_says_what_is_known(api):
    job_id = api.submit("[[stub:tokens=20 gap_ms=25]]").json()["id"]

    events, job = [], {"status": "queued"}
    while job["status"] in ("queued", "in_progress"):
        job = api.job(job_id, after=len(events), wait=5)
        events += job["events"]
    events += api.job(job_id, after=len(events))["events"]

    assert [event["sequence"] for event in events] == list(range(1, job["cursor"] + 1))
    assert text_of(events) == job["answer"]["text"]


def test_silent_call_is_hung_up_when_its_job_is_cancelled(api, stub_server):
    job_id = api.submit("[[stub:tokens=3 stall_after=3]]").json()["id"]
    api.events(job_id, stop_at="answer.delta")
    closed_before = upstream(stub_server)["client_closed"]

    answer = api.cancel(job_id)
    job = api.end_of(job_id)

    assert answer.status_code in (200, 202)
    assert (job["status"], job["error"]["code"]) == ("cancelled", "cancelled")
    assert job["usage"]["output_tokens"] > 0
    assert api.events(job_id)[-1]["type"] == "job.cancelled"
    wait_until(
        lambda: upstream(stub_server)["client_closed"] == closed_before + 1, 20, "the hang-up"
    )


def test_cancel_is_refused_when_the_job_has_ended(api):
    job = api.ask("Hi")

    answer = api.cancel(job["id"])

    assert answer.status_code == 409
    assert answer.json()["code"] == "job_already_finished"
    assert "completed" in answer.json()["detail"]


def test_one_job_answers_when_a_submission_is_repeated_in_parallel(api):
    headers = {"Idempotency-Key": "order-1", "Prefer": "wait=30"}

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: api.submit("Hi", headers=headers), range(8)))

    assert {answer.status_code for answer in answers} == {200}
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert sum("Idempotency-Replayed" in answer.headers for answer in answers) == 7


def test_other_body_is_refused_when_the_idempotency_key_is_known(api):
    headers = {"Idempotency-Key": "order-2"}
    api.submit("Hi", headers=headers)

    answer = api.submit("Hello", headers=headers)

    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_conflict")


def test_next_turn_sees_the_conversation(api):
    alone = api.ask("What now?")
    api.ask("First question", conversation_id="talk")

    second = api.ask("What now?", conversation_id="talk")

    assert second["usage"]["input_tokens"] > alone["usage"]["input_tokens"]


def test_a_conversation_gets_a_title_from_the_quick_tier(api):
    api.ask("Where do foxes sleep? [[stub:tokens=4]]", conversation_id="foxes")

    def conversation():
        return api.http.get("/api/ai/v4/conversations/foxes").json()

    wait_until(lambda: conversation()["titled_by"] == "model", 30, "the title")
    assert conversation()["title"] == "token-1 token-2 token-3 token-4"


def test_model_failure_is_the_jobs_error(api):
    job = api.ask("[[stub:401]]")

    assert (job["status"], job["error"]["code"]) == ("failed", "model_refused")
    assert job["cost"]["usd"] == 0
    assert job["agents"][0]["status"] == "failed"


def test_answer_is_incomplete_when_it_reaches_its_token_limit(api):
    job = api.ask("[[stub:length]]")

    assert (job["status"], job["error"]["code"]) == ("incomplete", "token_limit")
    assert job["answer"]["text"] == TEN_TOKENS


def test_list_shows_the_newest_first_and_leads_through_all(api):
    ids = [api.ask(f"Question {number}")["id"] for number in range(5)]

    first = api.http.get(JOBS, params={"limit": 3}).json()
    second = api.http.get(JOBS, params={"limit": 3, "cursor": first["next_cursor"]}).json()

    assert [job["id"] for job in first["data"] + second["data"]] == ids[::-1]
    assert second["next_cursor"] is None
    assert {job["status"] for job in first["data"]} == {"completed"}


def test_job_is_still_there_when_redis_has_forgotten_it(api, stack):
    job = api.ask("Remember this")
    events = api.events(job["id"])
    redis = redis_client(command_settings(stack.directory))
    wait_until(lambda: redis.ttl(keys.job(job["id"])) > 0, 30, "the record")

    redis.delete(keys.job(job["id"]), keys.events(job["id"]))
    redis.close()

    assert api.job(job["id"]) == job
    assert api.events(job["id"]) == events
    assert events[-1]["type"] == "job.completed"


def test_job_goes_on_when_its_worker_is_killed(api, stack):
    job_id = api.submit("[[stub:once tokens=5 stall_after=3]]").json()["id"]
    api.events(job_id, stop_at="answer.delta")

    for name in [name for name in stack.programs if name.startswith("worker-")]:
        stack.kill_program(name)
    job = api.end_of(job_id, timeout_s=40)

    assert (job["status"], job["attempt"]) == ("completed", 2)
    events = api.events(job_id)
    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    assert [event["type"] for event in events].count("job.retrying") == 1
    assert text_of(events) == job["answer"]["text"] == TEN_TOKENS


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "message"),
        ({"message": ""}, "message"),
        ({"message": "  \n "}, "message"),
        ({"message": 5}, "message"),
        ({"message": {"$ne": None}}, "message"),
        ({"message": "x" * 32_001}, "message"),
        ({"message": "x", "mesage": "y"}, "mesage"),
        ({"message": "x", "agent": "nobody"}, "agent"),
        ({"message": "x", "max_tokens": "5"}, "max_tokens"),
        ({"message": "x", "max_tokens": 0}, "max_tokens"),
        ({"message": "x", "temperature": 3}, "temperature"),
        ({"message": "x", "conversation_id": "../x"}, "conversation_id"),
        ({"message": "x", "metadata": {"$where": "1"}}, "metadata.$where"),
        ({"message": "x", "metadata": {"a": 1}}, "metadata.a"),
    ],
)
def test_nothing_is_stored_when_the_request_is_not_valid(api, body, field):
    answer = api.http.post(f"{CHAT}/optimized", json=body)

    problem = answer.json()
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"
    assert (problem["field"], problem["request_id"]) == (field, answer.headers["X-Request-ID"])
    assert api.http.get(JOBS).json()["data"] == []


@pytest.mark.parametrize(
    ("method", "path", "options", "status", "code"),
    [
        ("POST", f"{CHAT}/optimized", {"content": b"{"}, 400, "invalid_request"),
        ("POST", f"{CHAT}/optimized", {"content": b"x" * 300_000}, 413, "payload_too_large"),
        ("POST", f"{CHAT}/optimized", {"data": {"message": "x"}}, 415, "unsupported_media_type"),
        ("GET", f"{CHAT}/optimized", {}, 405, "method_not_allowed"),
        ("GET", f"{JOBS}/job_{'0' * 32}", {}, 404, "job_not_found"),
        ("GET", f"{JOBS}/nonsense", {}, 404, "job_not_found"),
        ("GET", f"{JOBS}/nonsense/events", {}, 404, "job_not_found"),
        ("DELETE", f"{JOBS}/nonsense", {}, 404, "job_not_found"),
        ("GET", f"{JOBS}?limit=0", {}, 400, "invalid_request"),
        ("GET", f"{JOBS}?cursor=nonsense", {}, 400, "invalid_request"),
        ("GET", f"{JOBS}?status=nonsense", {}, 400, "invalid_request"),
        ("GET", "/nowhere", {}, 404, "not_found"),
    ],
)
def test_refusal_says_what_is_wrong(api, method, path, options, status, code):
    headers = {"Content-Type": "application/json"} if "content" in options else {}

    answer = api.http.request(method, path, headers=headers, **options)

    assert (answer.status_code, answer.json()["code"]) == (status, code)


@pytest.mark.parametrize("path", ["", "/events"])
def test_foreign_job_looks_exactly_like_a_missing_one(api, other, path):
    job_id = api.ask("Mine")["id"]
    missing = f"job_{'0' * 32}"

    answers = [other.http.get(f"{JOBS}/{wanted}{path}") for wanted in (job_id, missing)]
    answers += [other.cancel(job_id)]

    bodies = [answer.json() | {"request_id": None} for answer in answers]
    assert bodies[0] == bodies[1] == bodies[2]
    assert {answer.status_code for answer in answers} == {404}


@pytest.mark.parametrize("query", [{"after": -1}, {"after": "x"}, {"after": 10_000}, {"wait": 61}])
def test_cursor_that_cannot_be_is_refused(api, query):
    job_id = api.ask("Hi")["id"]

    answer = api.http.get(f"{JOBS}/{job_id}", params=query)

    assert (answer.status_code, answer.json()["field"]) == (400, next(iter(query)))


def test_eleventh_job_waits_for_room_when_the_plan_allows_ten(api):
    running = [api.submit("[[stub:stall_before]]").json()["id"] for _ in range(10)]

    refused = api.submit("One more")

    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_jobs")
    assert int(refused.headers["Retry-After"]) >= 1
    for job_id in running:
        api.cancel(job_id)
    assert {api.end_of(job_id)["status"] for job_id in running} == {"cancelled"}
    assert api.submit("Now?").status_code == 202


def test_request_id_follows_the_job_through_every_process(api, stack):
    api.submit("Hi", headers={"X-Request-ID": "trace-me-12345678", "Prefer": "wait=30"})

    def logged(name):
        return "trace-me-12345678" in stack.directory.log_of(name).read_text()

    workers = [name for name in stack.programs if name.startswith("worker-")]
    wait_until(lambda: logged("api") and any(map(logged, workers)), 30, "both log lines")
