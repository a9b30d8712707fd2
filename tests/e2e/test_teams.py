"""Several agents on one job, through every process of a real stack."""

from __future__ import annotations

import httpx
import pytest

from tests.api_client import text_of
from tests.services import wait_until

pytestmark = pytest.mark.e2e

FIVE = ["dev", "luna", "atlas", "quinn", "sage"]


def upstream(stub_server):
    return httpx.get(f"{stub_server.url}/stub/stats").json()


def ask_team(api, message, **fields):
    answer = api.submit(message, path="multi-agent", headers={"Prefer": "wait=60"}, **fields)
    assert answer.status_code == 200, answer.text
    return answer.json()


def speakers(api, job_id):
    """Return which agents have said something already."""
    events = api.job(job_id, after=0)["events"]
    return {event["data"]["agent"] for event in events if event["type"] == "agent.delta"}


def test_five_agents_answer_and_one_answer_is_made_of_it(api):
    job = ask_team(api, "How do we launch?", agents=FIVE)

    assert (job["status"], job["degraded"]) == ("completed", False)
    assert sorted(agent["name"] for agent in job["agents"]) == sorted(FIVE)
    assert {agent["status"] for agent in job["agents"]} == {"completed"}
    assert job["answer"]["agents"] == [agent["name"] for agent in job["agents"]]
    assert job["synthesis"]["status"] == "completed"
    calls = [*job["agents"], job["synthesis"]]
    for name, total in job["usage"].items():
        assert total == sum(call["usage"][name] for call in calls)
    assert job["cost"]["usd"] == pytest.approx(sum(call["cost_usd"] for call in calls))
    assert job["cost"]["usd"] > 0
    assert job["cost"]["reserved_usd"] > 0
    timing = job["timing_ms"]
    parts = sum(value for name, value in timing.items() if name not in ("total", "first_token"))
    assert parts == timing["total"]


def test_events_of_all_agents_share_one_numbering(api):
    job_id = api.submit("How do we launch?", path="multi-agent", agents=FIVE).json()["id"]

    events = api.events(job_id)

    assert [event["sequence"] for event in events] == list(range(1, len(events) + 1))
    started = [event["data"]["agent"] for event in events if event["type"] == "agent.started"]
    assert sorted(started) == sorted(FIVE)
    said = [event for event in events if event["type"] == "agent.delta"]
    assert {event["data"]["agent"] for event in said} == set(FIVE)
    assert events[-1]["type"] == "job.completed"
    assert text_of(events) == api.job(job_id)["answer"]["text"]


def test_reader_of_some_types_keeps_the_numbering(api):
    job_id = api.submit("How do we launch?", path="multi-agent", agents=FIVE).json()["id"]
    whole = api.events(job_id)
    wanted = {"agent.completed", "synthesis.started"}

    some = api.events(job_id, types=",".join(wanted))
    page = api.job(job_id, after=3, types="agent.completed")

    expected = [event for event in whole if event["type"] in wanted | {"job.completed"}]
    assert [event["sequence"] for event in some] == [event["sequence"] for event in expected]
    assert {event["type"] for event in page["events"]} == {"agent.completed", "job.completed"}
    assert page["next_after"] == whole[-1]["sequence"]


def test_unknown_type_is_refused(api):
    job_id = api.submit("Hi", path="multi-agent", agents=["dev"]).json()["id"]

    answer = api.http.get(f"/api/ai/v4/jobs/{job_id}/events", params={"types": "agent.sings"})

    assert answer.status_code == 400
    assert "agent.sings" in answer.text


def test_agents_see_each_other_when_they_debate(api):
    job = ask_team(api, "Which is better?", agents=["dev", "sage"], strategy="debate")

    assert job["status"] == "completed"
    assert [agent["rounds"] for agent in job["agents"]] == [2, 2]
    alone = ask_team(api, "Which is better?", agents=["dev", "sage"])
    assert job["usage"]["output_tokens"] == 5 * 10
    assert alone["usage"]["output_tokens"] == 3 * 10


def test_one_agent_answers_when_the_question_does_not_split(api):
    job = ask_team(api, "Why does this python function raise a KeyError?")

    assert [agent["name"] for agent in job["agents"]] == ["dev"]
    assert "one agent is enough" in job["agents"][0]["reason"]
    assert job["synthesis"] is None


def test_relevance_chooses_several_agents_with_a_reason_each(api):
    job = ask_team(
        api,
        "Design an accessible checkout page, implement its python API, deploy it on kubernetes "
        "and review it for SQL injection.",
    )

    assert 2 <= len(job["agents"]) <= 4
    assert all("names:" in agent["reason"] for agent in job["agents"])


def test_replies_stand_side_by_side_when_no_synthesis_is_wanted(api):
    job_id = api.submit(
        "Hi [[stub:tokens=2]]", path="multi-agent", agents=["dev", "sage"], synthesis=False
    ).json()["id"]

    events = api.events(job_id)

    job = api.job(job_id)
    assert job["answer"]["text"] == text_of(events)
    assert job["answer"]["text"].count("token-1 token-2") == 2
    assert job["synthesis"] is None


def test_agents_are_cut_and_marked_when_their_time_is_over(api):
    job = ask_team(api, "Hi [[stub:stall_after=2]]", agents=["dev", "sage"], agent_deadline_s=4.0)

    assert (job["status"], job["error"]["code"]) == ("failed", "quorum_not_met")
    for agent in job["agents"]:
        assert (agent["status"], agent["error"]["code"]) == ("incomplete", "deadline_exceeded")
        assert agent["text"] == "token-1 token-2 "
    assert job["answer"] is None


def test_every_agent_is_stopped_when_the_job_is_cancelled(api, stub_server):
    question = "Hi [[stub:tokens=1000 gap_ms=100]]"
    job_id = api.submit(question, path="multi-agent", agents=FIVE).json()["id"]
    wait_until(lambda: speakers(api, job_id) == set(FIVE), 60, "all agents to speak")
    before = upstream(stub_server)["client_closed"]

    api.cancel(job_id)
    job = api.end_of(job_id)

    assert job["status"] == "cancelled"
    assert {agent["status"] for agent in job["agents"]} == {"cancelled"}
    assert job["usage"]["output_tokens"] > 0
    wait_until(
        lambda: upstream(stub_server)["client_closed"] == before + len(FIVE),
        *(60, "every call to be hung up"),
    )
    assert api.events(job_id)[-1]["type"] == "job.cancelled"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"agents": []}, "agents"),
        ({"agents": ["dev", "dev"]}, "once"),
        ({"agents": ["dev", "nobody"]}, "agents"),
        ({"agents": ["dev"], "quorum": 2}, "quorum"),
        ({"rounds": 2}, "debate"),
        ({"strategy": "debate", "rounds": 9}, "rounds"),
        ({"strategy": "vote"}, "strategy"),
        ({"agent_deadline_s": 0}, "agent_deadline_s"),
        ({"agent": "dev"}, "agent"),
    ],
)
def test_contradictory_request_is_refused_with_its_reason(api, fields, said):
    answer = api.submit("Hi", path="multi-agent", **fields)

    assert answer.status_code == 400
    assert said in answer.text


def test_job_is_degraded_when_one_agent_fails(api):
    job = ask_team(api, "Hi [[stub@dev:400]]", agents=["dev", "sage", "luna"])

    assert (job["status"], job["degraded"]) == ("completed", True)
    dev, *others = sorted(job["agents"], key=lambda agent: agent["name"])
    assert (dev["status"], dev["text"]) == ("failed", "")
    assert dev["error"]["code"]
    assert {agent["status"] for agent in others} == {"completed"}
    assert sorted(job["answer"]["agents"]) == ["luna", "sage"]
    assert job["synthesis"]["status"] == "completed"


def test_single_reply_answers_when_all_others_fail(api):
    job_id = api.submit(
        "Hi [[stub@dev:400]] [[stub@luna:400]]", path="multi-agent", agents=["dev", "sage", "luna"]
    ).json()["id"]

    events = api.events(job_id)

    job = api.job(job_id)
    assert (job["status"], job["degraded"], job["synthesis"]) == ("completed", True, None)
    assert job["answer"]["agents"] == ["sage"]
    assert job["answer"]["text"] == text_of(events) != ""


def test_job_fails_when_its_quorum_is_missed(api):
    job = ask_team(api, "Hi [[stub@dev:400]]", agents=["dev", "sage"], quorum=2)

    assert (job["status"], job["error"]["code"]) == ("failed", "quorum_not_met")
    assert "1 of 2" in job["error"]["message"]
    assert {agent["name"]: bool(agent["text"]) for agent in job["agents"]} == {
        "dev": False,
        "sage": True,
    }
    assert job["usage"]["output_tokens"] == 10


@pytest.mark.parametrize("fault", ["400", "tokens=5 gap_ms=5 error_after=3"])
def test_best_reply_answers_when_the_synthesis_fails(api, fault):
    job_id = api.submit(
        f"Hi [[stub@synthesis:{fault}]]", path="multi-agent", agents=["dev", "sage"]
    ).json()["id"]

    events = api.events(job_id)

    job = api.job(job_id)
    assert (job["status"], job["degraded"]) == ("completed", True)
    assert job["synthesis"]["status"] == "failed"
    assert len(job["answer"]["agents"]) == 1
    assert job["answer"]["text"] == text_of(events) != ""


def test_late_agent_is_left_out_when_the_others_are_through(api):
    job = ask_team(
        api, "Hi [[stub@dev:stall_before]]", agents=["dev", "sage", "luna"], agent_deadline_s=4.0
    )

    assert (job["status"], job["degraded"]) == ("completed", True)
    assert sorted(job["answer"]["agents"]) == ["luna", "sage"]
    fate = {agent["name"]: agent["error"] for agent in job["agents"]}
    assert fate["dev"]["code"] == "deadline_exceeded"


def test_first_reply_stays_when_its_revision_fails(api):
    job = ask_team(
        api, "Hi [[stub@dev/2:400]]", agents=["dev", "sage"], strategy="debate", quorum=2
    )

    assert (job["status"], job["degraded"]) == ("completed", True)
    assert sorted(job["answer"]["agents"]) == ["dev", "sage"]


def test_debate_goes_on_without_those_who_failed(api):
    job = ask_team(api, "Hi [[stub@dev/1:400]]", agents=["dev", "sage", "luna"], strategy="debate")

    rounds = {agent["name"]: agent["rounds"] for agent in job["agents"]}
    assert (job["status"], rounds) == ("completed", {"dev": 1, "sage": 2, "luna": 2})


def test_agent_alone_waits_when_the_provider_asks_it_to(api):
    job_id = api.submit(
        "Hi [[stub@dev:once 429 retry_after=3]]", path="multi-agent", agents=["dev", "sage"]
    ).json()["id"]

    events = api.events(job_id)

    assert api.job(job_id)["degraded"] is False
    retrying = [event["data"] for event in events if event["type"] == "job.retrying"]
    assert [(again["agent"], again["reason"]) for again in retrying] == [
        ("dev", "model_rate_limited")
    ]
    started = [event["data"]["agent"] for event in events if event["type"] == "agent.started"]
    assert sorted(started) == ["dev", "dev", "sage"]


def test_one_agent_of_a_team_stays_within_its_users_plan(api):
    job = ask_team(api, "Prove that the square root of 2 is irrational.", agents=["sage"])

    assert job["route"]["score"] > 0.6
    assert job["route"]["tier"] == "standard"
