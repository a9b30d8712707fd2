"""Conversations over HTTP, on real servers without a worker."""

from __future__ import annotations

import dataclasses

import pytest

from core.jobs import JobStatus
from core.outcome import Answer, Outcome
from core.timing import iso_time, now_ms
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from tests.claims import ClaimingAttempts
from tests.fakes import NoQueue
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter

CHAT = "/api/ai/v4/chat/optimized"
PATH = "/api/ai/v4/conversations"


@pytest.fixture
def services(app):
    services = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    app.extensions[EXTENSION] = services
    return services


@pytest.fixture
def headers(client):
    token = client.post("/api/auth/demo-login").json["access_token"]
    return {"Authorization": f"Bearer {token}"}


@pytest.fixture
def say(client, services, headers):
    def say(message, **more):
        return client.post(CHAT, json={"message": message} | more, headers=headers)

    return say


@pytest.fixture
def get(client, headers):
    return lambda path="", **query: client.get(PATH + path, query_string=query, headers=headers)


@pytest.fixture
def answer(redis_client, services, mongo_database):
    """Return what ends an accepted job with an answer, recorded unless told otherwise."""
    attempts = ClaimingAttempts(redis_client)
    stream = RecordStream(redis_client, services.job_store)
    writer = RecordWriter(stream, JobRecords(mongo_database, insert_s=10))

    def answer(job, text, *, is_recorded=True):
        said = Answer(text=text, finish_reason="stop", agents=("dev",))
        claim = attempts.claim(job["id"])
        attempts.finish(claim, JobStatus.COMPLETED, Outcome(answer=said))
        if is_recorded:
            writer.run()

    return answer


def problem(response):
    return response.status_code, response.json["code"]


def test_a_message_goes_on_with_the_latest_one(say, get):
    first, second = (say(text, conversation_id="plans").json for text in ("One", "Two"))

    messages = get("/plans/messages").json

    assert (first["conversation_id"], first["parent_id"]) == ("plans", None)
    assert second["parent_id"] == first["id"]
    assert [m["message"] for m in messages["data"]] == ["One", "Two"]
    assert [(m["id"], m["parent_id"], m["turn"]) for m in messages["data"]] == [
        (first["id"], None, 1),
        (second["id"], first["id"], 2),
    ]
    assert messages["next_cursor"] is None


def test_a_named_parent_makes_a_branch(say, get):
    first = say("One", conversation_id="plans").json
    second = say("Two", conversation_id="plans").json

    edited = say("Two, edited", parent_id=first["id"]).json
    anew = say("Anew", conversation_id="plans", parent_id="root").json

    assert (edited["conversation_id"], edited["parent_id"]) == ("plans", first["id"])
    assert anew["parent_id"] is None
    found = {m["id"]: m["turn"] for m in get("/plans/messages").json["data"]}
    assert found == {first["id"]: 1, second["id"]: 2, edited["id"]: 2, anew["id"]: 1}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"parent_id": "job_" + "0" * 32}, "unknown_parent"),
        ({"parent_id": "root"}, "unknown_parent"),
        ({"parent_id": "alone"}, "unknown_parent"),
        ({"parent_id": "here", "conversation_id": "b"}, "parent_in_other_conversation"),
        ({"conversation_id": "a", "concurrency_key": "k"}, "invalid_concurrency"),
        ({"conversation_id": {"$gt": ""}}, "invalid_request"),
        ({"parent_id": {"$ne": None}}, "invalid_request"),
        ({"on_busy": "hurry"}, "invalid_request"),
    ],
)
def test_a_message_that_fits_nowhere_is_refused_and_not_stored(body, expected, say, get, client):
    named = {"here": say("Here", conversation_id="a").json["id"], "alone": say("Alone").json["id"]}
    if isinstance(body.get("parent_id"), str):
        body = body | {"parent_id": named.get(body["parent_id"], body["parent_id"])}

    refused = say("Lost", **body)

    assert problem(refused) == (400, expected)
    assert [c["id"] for c in get().json["data"]] == ["a"]


def test_anothers_message_is_no_parent(say, client):
    mine = say("Mine", conversation_id="plans").json
    token = client.post("/api/auth/demo-login").json["access_token"]
    headers = {"Authorization": f"Bearer {token}"}

    theirs = client.post(CHAT, json={"message": "?", "parent_id": mine["id"]}, headers=headers)
    same_name = client.post(
        CHAT, json={"message": "?", "conversation_id": "plans"}, headers=headers
    )

    assert problem(theirs) == (400, "unknown_parent")
    assert same_name.json["parent_id"] is None


def test_who_would_not_wait_is_refused_while_a_message_is_answered(say, answer):
    first = say("One", conversation_id="plans").json
    refused = say("Two", conversation_id="plans", on_busy="reject")
    answer(first, "1", is_recorded=False)

    accepted = say("Two", conversation_id="plans", on_busy="reject")

    assert problem(refused) == (409, "conversation_busy")
    assert accepted.status_code == 202


def test_a_message_starts_no_sooner_than_the_one_before(say):
    first = say("One", conversation_id="plans", run_at=_ahead(1)).json

    second = say("Two", conversation_id="plans").json
    third = say("Three", conversation_id="plans", run_at=_ahead(2)).json

    assert second["schedule"]["run_at"] == first["schedule"]["run_at"]
    assert second["schedule"]["expires_at"] > second["schedule"]["run_at"]
    assert third["schedule"]["run_at"] > first["schedule"]["run_at"]


def _ahead(hours):
    return iso_time(now_ms() + hours * 3_600_000)


def test_messages_show_what_redis_knows_and_records_do_not_yet(say, answer, get):
    first = say("One", conversation_id="plans").json
    answer(first, "1", is_recorded=False)
    say("Two", conversation_id="plans")

    one, two = get("/plans/messages").json["data"]

    assert (one["status"], one["answer"]) == ("completed", "1")
    assert (two["status"], two["answer"]) == ("queued", None)


def test_conversations_are_listed_page_by_page(say, get):
    for name in ("a", "b", "c"):
        say(f"Ask {name}", conversation_id=name)
    say("Again", conversation_id="a")

    first = get(limit=2).json
    second = get(limit=2, cursor=first["next_cursor"]).json

    assert [c["id"] for c in first["data"] + second["data"]] == ["a", "c", "b"]
    assert second["next_cursor"] is None
    assert first["data"][0]["title"] == "Ask a"
    assert first["data"][0]["titled_by"] == "question"
    assert problem(get(cursor="x")) == (400, "invalid_request")


def test_conversations_are_found_by_words_of_title_and_question(say, get, client, headers):
    say("Where does the Élan come from?", conversation_id="a")
    say("How do foxes hunt?", conversation_id="b")
    client.patch(f"{PATH}/b", json={"title": "Crimson animals"}, headers=headers)

    def found(text):
        return [c["id"] for c in get(q=text).json["data"]]

    assert found("elan") == ["a"]
    assert found("FOX hu") == found("crims fox") == ["b"]
    assert found("fox elan") == found("$gt") == found("...") == []
    assert problem(get(q="fox", cursor="1.a")) == (400, "invalid_request")


def test_a_conversation_is_created_renamed_and_keeps_its_title(client, headers, say, get):
    created = client.post(PATH, json={"title": "Plans"}, headers=headers)
    name = created.json["id"]
    named = client.post(PATH, json={"id": "mine"}, headers=headers).json
    say("What now?", conversation_id=name)
    say("And here?", conversation_id="mine")

    renamed = client.patch(f"{PATH}/mine", json={"title": "Ours"}, headers=headers).json

    assert (created.status_code, created.json["titled_by"]) == (201, "user")
    assert (named["title"], named["titled_by"]) == (None, "nobody")
    assert get(f"/{name}").json["title"] == "Plans"
    assert (renamed["title"], renamed["titled_by"]) == ("Ours", "user")
    again = client.post(PATH, json={"id": "mine"}, headers=headers)
    assert problem(again) == (409, "conversation_exists")
    blank = client.patch(f"{PATH}/mine", json={"title": "  "}, headers=headers)
    assert problem(blank) == (400, "invalid_request")


def test_an_untitled_conversation_is_called_by_its_first_question(client, headers, say, get):
    client.post(PATH, json={"id": "mine"}, headers=headers)

    say("And   here?", conversation_id="mine")
    say("Later", conversation_id="mine")

    assert get("/mine").json["title"] == "And here?"


def test_a_conversation_is_exported_as_text_and_json(say, answer, get):
    first = say("One", conversation_id="plans").json
    answer(first, "**1**")
    say("Two", conversation_id="plans")

    text, as_json = get("/plans/export"), get("/plans/export", format="json")

    assert text.mimetype == "text/markdown"
    assert 'filename="plans.md"' in text.headers["Content-Disposition"]
    for part in ("# One", "**Question**\n\nOne\n", "**Answer**\n\n**1**\n", first["id"], "Two"):
        assert part in text.text
    assert [m["answer"] for m in as_json.json["messages"]] == ["**1**", None]
    assert as_json.json["id"] == "plans"


def test_a_deleted_conversation_is_gone_with_its_messages(
    say, answer, get, client, headers, mongo_database, redis_client
):
    first = say("One", conversation_id="plans").json
    busy = client.delete(f"{PATH}/plans", headers=headers)
    answer(first, "1")
    client.post(f"/api/ai/v4/jobs/{first['id']}/feedback", json={"rating": "up"}, headers=headers)

    gone = client.delete(f"{PATH}/plans", headers=headers)

    assert problem(busy) == (409, "conversation_busy")
    assert gone.status_code == 204
    assert get("/plans").status_code == get("/plans/messages").status_code == 404
    assert client.get(f"/api/ai/v4/jobs/{first['id']}", headers=headers).status_code == 404
    assert not mongo_database["jobs"].count_documents({})
    assert not mongo_database["feedback"].count_documents({})
    assert mongo_database["ledger"].count_documents({}) == 1
    assert not redis_client.keys(f"*{first['id']}*")
    assert client.delete(f"{PATH}/plans", headers=headers).status_code == 404


def test_a_conversation_is_listed_although_the_api_died_after_its_message(
    say, answer, get, mongo_database
):
    first = say("One", conversation_id="plans").json
    mongo_database["conversations"].delete_many({})

    answer(first, "1")

    assert [c["id"] for c in get().json["data"]] == ["plans"]
