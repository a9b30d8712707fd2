"""Analytics over HTTP and the sums behind it, on a real MongoDB server."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime, timedelta

import msgspec
import pytest

from core.chat import Usage as Tokens
from core.jobs import Feedback, Job, JobStatus, Question
from core.outcome import AgentReport, CacheUse, Outcome, Savings
from storage.records.feedback import FeedbackRecords
from storage.records.jobs import JobRecords
from storage.records.usage import UsageRecords, day_of
from tests.jobs import make_spec

PATH, ADMIN = "/api/ai/v4/analytics/user", "/api/admin/analytics"
NOW = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


@pytest.fixture
def user(client):
    session = client.post("/api/auth/demo-login").json
    return {"Authorization": f"Bearer {session['access_token']}"}, session["user"]["id"]


@pytest.fixture
def admin(client, mongo_database):
    body = {"email": "root@example.com", "password": "correct horse"}
    session = client.post("/api/auth/register", json=body).json
    mongo_database["users"].update_one({"_id": session["user"]["id"]}, {"$set": {"role": "admin"}})
    answer = client.post("/api/auth/login", json=body).json
    return {"Authorization": f"Bearer {answer['access_token']}"}


@pytest.fixture
def end(mongo_database):
    """Return what records jobs of a user that were submitted some days ago and have ended."""
    records = JobRecords(mongo_database, insert_s=10)

    def end(user_id, days_ago, *, count=1, model="small", micros=20, status=JobStatus.COMPLETED):
        created_ms = int((NOW - timedelta(days=days_ago)).timestamp() * 1000)
        jobs = [_job(user_id, created_ms + n, model, micros, status) for n in range(count)]
        records.write_finished(jobs)
        return jobs

    return end


def _job(user_id, created_ms, model, micros, status):
    tokens = Tokens(input_tokens=10, cached_input_tokens=4, output_tokens=5)
    outcome = Outcome(
        agents=(
            AgentReport(
                name="dev",
                status="completed",
                tier="quick",
                model=model,
                reason="",
                usage=tokens,
                cost_micros=micros,
                text="secret",
            ),
        ),
        usage=tokens,
        cost_micros=micros,
        savings=Savings(routing_micros=3),
        cache=CacheUse(status="miss"),
        timing_ms={"first_token": 200, "total": 1_000},
    )
    return Job(
        spec=make_spec(user_id=user_id, created_ms=created_ms),
        status=status,
        attempt=1,
        started_ms=created_ms,
        finished_ms=created_ms + 1_000,
        outcome=outcome,
        question=Question("secret"),
    )


@pytest.fixture
def ask(client):
    def ask(headers, path=PATH, **query):
        return client.get(path, query_string=query, headers=headers)

    return ask


def day(days_ago):
    return (NOW - timedelta(days=days_ago)).date().isoformat()


def test_figures_are_the_same_before_and_after_a_day_is_summed_up(user, end, ask, mongo_database):
    headers, user_id = user
    end(user_id, 0)
    end(user_id, 1, count=3, model="large", micros=100)
    end(user_id, 2, status=JobStatus.FAILED)
    usage = UsageRecords(mongo_database)
    before = [ask(headers, by=by).json for by in ("day", "model", "agent", "mode")]

    # Those of all users, too.
    assert usage.sum_up(limit=10) == 4
    assert usage.sum_up(limit=10) == 0
    after = [ask(headers, by=by).json for by in ("day", "model", "agent", "mode")]

    assert after == before
    by_day, by_model, by_agent, by_mode = before
    assert [(g["key"], g["jobs"]["total"]) for g in by_day["groups"]] == [
        (day(2), 1),
        (day(1), 3),
        (day(0), 1),
    ]
    assert {g["key"]: g["cost_usd"] for g in by_model["groups"]} == {
        "large": 0.0003,
        "small": 0.00004,
    }
    assert [g["key"] for g in by_agent["groups"] + by_mode["groups"]] == ["dev", "optimized"]
    total = by_day["total"]
    assert total["jobs"] == {"total": 5, "by_status": {"completed": 4, "failed": 1}}
    assert total["tokens"] == {"input": 50, "cached_input": 20, "output": 25, "total": 75}
    assert total["saved"]["routing_usd"] == 0.000015
    assert total["latency_ms"]["p95"] == pytest.approx(1_000, rel=0.02)
    assert total["first_token_ms"]["p50"] == pytest.approx(200, rel=0.02)
    assert total["cache"] == {"hits": 0, "misses": 5, "hit_rate": 0.0}


def test_the_sum_over_analytics_is_that_of_the_ledger(user, end, ask, mongo_database):
    headers, user_id = user
    for days_ago in range(4):
        end(user_id, days_ago, count=days_ago + 1, micros=7 * days_ago + 1)
    UsageRecords(mongo_database).sum_up(limit=2)

    found = ask(headers).json["total"]["cost_usd"]

    paid = sum(row["cost_micros"] for row in mongo_database["ledger"].find({"user_id": user_id}))
    assert round(found * 1_000_000) == paid


def test_a_late_end_and_a_late_rating_are_summed_up_again(user, end, ask, mongo_database):
    headers, user_id = user
    (job,) = end(user_id, 1)
    usage = UsageRecords(mongo_database)
    usage.sum_up(limit=10)
    end(user_id, 1)
    rating = Feedback(rating="down", at_ms=1)
    FeedbackRecords(mongo_database).set(user_id, job.id, rating)
    usage.mark([day_of(job)])

    live = ask(headers).json["total"]
    usage.sum_up(limit=10)

    assert live["jobs"]["total"] == 2
    assert live["feedback"] == {"up": 0, "down": 1}
    assert ask(headers).json["total"] == live


def test_a_day_stays_stale_when_an_end_comes_while_it_is_summed_up(
    user, end, mongo_database, monkeypatch
):
    _, user_id = user
    end(user_id, 1)
    usage = UsageRecords(mongo_database)
    compute, meanwhile = usage._live, [end]

    def slow(one):
        found = compute(one)
        if meanwhile:
            meanwhile.pop()(user_id, 1)
        return found

    monkeypatch.setattr(usage, "_live", slow)
    usage.sum_up(limit=10)
    monkeypatch.undo()

    assert usage.sum_up(limit=10) == 2
    (usage_of_day,) = usage.of_user(user_id, date.min, date.max).values()
    assert usage_of_day.total.jobs == 2


def test_an_end_that_is_recorded_twice_counts_once(user, end, ask, mongo_database):
    headers, user_id = user
    jobs = end(user_id, 1)
    JobRecords(mongo_database, insert_s=10).write_finished(jobs)
    UsageRecords(mongo_database).sum_up(limit=10)

    assert ask(headers).json["total"]["jobs"]["total"] == 1


def test_only_days_that_are_asked_for_count(user, end, ask):
    headers, user_id = user
    for days_ago in (0, 3, 40):
        end(user_id, days_ago)

    one = ask(headers, **{"from": day(3), "to": day(3)}).json
    usual = ask(headers).json

    assert [g["key"] for g in one["groups"]] == [day(3)]
    assert usual["total"]["jobs"]["total"] == 2
    assert (usual["from"], usual["to"]) == (day(29), day(0))


def test_nothing_of_others_is_shown(user, end, ask):
    headers, _ = user
    end("usr_" + "b" * 32, 0)

    found = ask(headers).json

    assert found["total"]["jobs"]["total"] == 0
    assert found["groups"] == []
    assert found["total"]["cache"]["hit_rate"] is None


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ({"from": "yesterday"}, "from"),
        ({"to": "2026-02-30"}, "to"),
        ({"from": day(0), "to": day(1)}, "from"),
        ({"from": "2020-01-01"}, "from"),
        ({"by": "user"}, "by"),
        ({"from[$gt]": ""}, "from[$gt]"),
    ],
)
def test_wrong_days_are_refused(query, field, user, ask):
    refused = ask(user[0], **query)

    assert (refused.status_code, refused.json["code"]) == (400, "invalid_request")
    assert refused.json["field"] == field


def test_an_administrator_sees_everybody_and_who_spends_most(user, admin, end, ask, mongo_database):
    other = "usr_" + "b" * 32
    end(user[1], 1, count=2)
    end(other, 0, micros=500)
    end(other, 2)
    UsageRecords(mongo_database).sum_up(limit=1)

    by_day = ask(admin, ADMIN).json
    while UsageRecords(mongo_database).sum_up(limit=1):
        assert ask(admin, ADMIN).json == by_day
    by_user = ask(admin, ADMIN, by="user", limit=1).json

    assert [g["jobs"]["total"] for g in by_day["groups"]] == [1, 2, 1]
    assert by_day["total"]["cost_usd"] == 0.00056
    assert by_user["groups"] == [{"key": other, "jobs": 2, "cost_usd": 0.00052}]


def test_a_table_has_no_cell_that_a_spreadsheet_would_run(user, admin, end, ask):
    end(user[1], 0, model="=cmd()")
    end(user[1], 0, model="small")

    response = ask(admin, ADMIN, by="model", format="csv")

    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert response.mimetype == "text/csv"
    assert [row["key"] for row in rows] == ["'=cmd()", "small"]
    assert [row["jobs.total"] for row in rows] == ["1", "1"]
    assert rows[0]["cost_usd"] == "2e-05"


def test_days_hold_no_text_of_jobs(user, end, mongo_database):
    end(user[1], 1)
    UsageRecords(mongo_database).sum_up(limit=10)

    documents = list(mongo_database["usage_daily"].find())

    assert [document["stale"] for document in documents] == [False, False]
    assert b"secret" not in msgspec.json.encode([document["usage"] for document in documents])
