"""A deleted account leaves nothing behind, and takes nothing of another's with it."""

from __future__ import annotations

import dataclasses
import re
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from core.errors import StoreUnavailable
from core.ids import DELETED_USER
from core.jobs import JobStatus
from core.lessons import CallSample
from core.outcome import Answer, Outcome
from core.timing import iso_time, now_ms
from storage import keys
from storage.accounts.deletions import Deletions
from storage.accounts.personal_data import HOLDINGS, PersonalData
from storage.jobs.cancellation import cancellation_of
from storage.jobs.epoch import Epoch
from storage.jobs.lines import Lines
from storage.jobs.store import JobStore
from storage.jobs.user_keys import UserKeys
from storage.records.comparisons import Comparisons
from storage.records.indexes import COLLECTIONS, ensure_validators
from storage.records.jobs import JobRecords
from storage.records.stream import RecordStream
from storage.scripts import _FOLDER as SCRIPTS
from tests.claims import ClaimingAttempts
from tests.fakes import NoQueue
from tests.jobs import make_comparison
from tests.traces import redis_contents, traces_in_mongo, traces_in_redis
from web.services import EXTENSION
from workers.upkeep.records import RecordWriter
from workers.upkeep.remover import AccountRemover

JOBS = "/api/ai/v4/jobs"
PASSWORD = "correct horse battery"
DONE = Outcome(answer=Answer(text="words", finish_reason="stop", agents=("dev",)), cost_micros=30)

#: What becomes of each key of the tables in storage/keys.py and storage/lua/lines.lua when a user
#: is deleted. A new key belongs into one of these sets, and into `UserKeys` where it names a user
#: or a job of his.
NAMED_AFTER_HIM = {
    "aether:{s}:job:<id>",
    "aether:{s}:events:<id>",
    "aether:{s}:active:<user>",
    "aether:{s}:spend:<user>:<yyyymm>",
    "aether:{s}:key_spend:<user>:<key>:<yyyymm>",
    "aether:{s}:rates:<user>",
    "aether:{s}:rates:<user>:<key>",
    "aether:{s}:learned:<user>",
    "aether:{s}:idempotency:<user>:<digest>",
    "aether:{s}:conversation:<user>:<id>",
    "aether:lines:keys:<lane>:<user>",
    "aether:lines:units:<lane>:<user>:<key>",
    "aether:lines:running:<user>",
    "aether:lines:holding:<user>:<key>",
}
NAMES_HIM = {
    "aether:{s}:records",
    "aether:watch",
    "aether:deferred",
    "aether:expiring",
    "aether:lines:ready:<lane>",
    "aether:lines:idle:<lane>",
    "aether:lines:all",
    "aether:lines:shares:<class>",
}
#: These hold nobody's id, or for seconds that of a job that nothing else names any more.
NOBODYS = {
    "aether:{s}:revoked:<jti>",
    "aether:{s}:revoked:since",
    "aether:single_flight:<fingerprint>:leader",
    "aether:single_flight:<fingerprint>:parked",
    "aether:single_flight:<fingerprint>:note",
    "aether:spend:all:<yyyymm>",
    "aether:tries:<digest>",
    "aether:learned",
    "aether:breaker:<model>",
    "aether:{budget:<model>}",
    "aether:{budget:<model>}:booking:<id>",
    "aether:loops:<worker>",
    "aether:workers",
    "aether:format",
    "aether:drain",
    "aether:sweep",
    "aether:epoch",
    "aether:lines:starts:<n>",
    "aether:lines:turn:<unit>",
    "aether:lines:waiting",
    "aether:lines:clock",
    "aether:lines:closed",
    "aether:lines:waiters",
}


def patterns_of_keys():
    """Return the keys that the two tables list."""
    of_keys = re.findall(r"^\| (aether:\S+) \|", keys.__doc__, re.MULTILINE)
    lines = (SCRIPTS / "lines.lua").read_text()
    of_lines = re.findall(r"^--   (aether:lines:[^\s,]+)", lines, re.MULTILINE)
    return {*of_keys, *of_lines} - {"aether:lines:…"}


def to_regex(pattern):
    return re.sub(r"<\w+>|\\\{s\\\}", ".+", re.escape(pattern).replace("\\<", "<"))


@pytest.fixture
def services(app, redis_client, mongo_database):
    ensure_validators(mongo_database)
    services = dataclasses.replace(app.extensions[EXTENSION], queue=NoQueue())
    app.extensions[EXTENSION] = services
    return services


@pytest.fixture
def upkeep(services, redis_client, mongo_database):
    """Upkeep's writer of records, and a remover that waits after a mark and one that does not."""
    store, epoch = JobStore(redis_client), Epoch(redis_client)
    epoch.confirm(epoch.current())
    stream = RecordStream(redis_client, store)
    parts = (
        *(Deletions(mongo_database), PersonalData(mongo_database), UserKeys(redis_client)),
        *(store, cancellation_of(redis_client, lease_s=15), epoch),
    )
    return SimpleNamespace(
        remover=AccountRemover(*parts, after_s=0),
        patient_remover=AccountRemover(*parts),
        attempts=ClaimingAttempts(redis_client),
        write_records=RecordWriter(stream, JobRecords(mongo_database)).run,
    )


class Person:
    """A user of the API, with everything that can be held of one."""

    def __init__(self, client, services, email):
        body = {"email": email, "password": PASSWORD}
        session = client.post("/api/auth/register", json=body).json
        self.id = session["user"]["id"]
        self.headers = {"Authorization": f"Bearer {session['access_token']}"}
        self.job_ids: list[str] = []
        self.running: Any = None
        self._client = client

    @property
    def ids(self):
        return [self.id, *self.job_ids]

    def submit(self, *, by=None, **body):
        body = {"message": "What is a queue?", "webhook": "https://hooks.example.com"} | body
        headers = (by or self.headers) | {"Idempotency-Key": f"key-{len(self.job_ids)}"}
        job = self._client.post("/api/ai/v4/chat/optimized", json=body, headers=headers).json
        self.job_ids.append(job["id"])
        return job["id"]

    def make_key(self):
        """Make an API key with limits of its own and return its headers."""
        wanted = {"name": "ci", "monthly_budget_usd": 5, "requests_per_minute": 50}
        key = self._client.post("/api/keys", json=wanted, headers=self.headers).json["key"]
        self._client.get("/api/ai/v4/webhooks/secret", headers=self.headers)
        wanted = {"status": "failed"}
        self._client.post("/api/ai/v4/jobs/retry", json=wanted, headers=self.headers)
        return {"Authorization": f"Bearer {key}"}

    def cancel(self, job_id):
        self._client.delete(f"{JOBS}/{job_id}", headers=self.headers)

    def delete(self, **body):
        body = body or {"password": PASSWORD}
        return self._client.delete("/api/account", json=body, headers=self.headers)


@pytest.fixture
def fill(client, services, upkeep, redis_client, mongo_database):
    """Return what makes users of whom every collection and nearly every kind of key has something.

    Nobody waits in a line before the jobs that are to run are claimed: else they would be, too.
    """
    attempts, lines = ClaimingAttempts(redis_client), Lines(redis_client, lease_s=15)

    def begin(email):
        person = Person(client, services, email)
        # What a version before branches kept.
        redis_client.rpush(keys.conversation(person.id, "talk"), b'{"message":"a","answer":"b"}')
        claim = attempts.claim(person.submit(conversation_id="talk"))
        attempts.finish(claim, JobStatus.COMPLETED, DONE)
        path, feedback = f"{JOBS}/{claim.job_id}/feedback", {"rating": "up", "comment": "good"}
        assert client.post(path, json=feedback, headers=person.headers).status_code == 200
        person.running = attempts.claim(person.submit(by=person.make_key(), concurrency_key="two"))
        return person

    def wait(person):
        waiting = person.submit(concurrency_key="three")
        later = person.submit(run_at=iso_time(now_ms() + 3_600_000))
        lines.enter([services.job_store.get(job_id).spec for job_id in (waiting, later)])

    def fill(*emails):
        people = [begin(email) for email in emails]
        upkeep.write_records()
        for person in people:
            wait(person)
            note(services, mongo_database, person)
        return people

    return fill


def note(services, mongo_database, person):
    """Write what is kept of a user besides his jobs."""
    ended = person.job_ids[0]
    comparison = make_comparison("tie", job_id=ended, user_id=person.id)
    Comparisons(mongo_database).add(comparison)
    services.job_records.set_aside.add(ended, person.id, "Fault")
    services.audit.add("plan.set", person.id, actor=person.id, before="trial", after="pro")
    sample = CallSample(
        user_id=person.id,
        model="m",
        prompt_chars=4,
        input_tokens=1,
        text_chars=4,
        text_tokens=1,
    )
    services.lessons.add(sample)
    services.lessons.flush()


def test_every_key_and_every_collection_has_a_treatment():
    assert patterns_of_keys() == NAMED_AFTER_HIM | NAMES_HIM | NOBODYS
    # One that is named here and does not exist yet is harmless.
    assert {plan.name for plan in COLLECTIONS} <= {holding.collection for holding in HOLDINGS}


def test_nothing_of_a_deleted_user_is_left_and_all_of_another(
    client, upkeep, fill, redis_client, mongo_database
):
    ann, bob = fill("ann@example.com", "bob@example.com")
    for person in (ann, bob):
        # Its end waits to be recorded, and a look at another that is recorded came to nothing.
        person.cancel(person.submit())
        redis_client.zadd(keys.WATCH, {person.job_ids[0]: 1})
        # Those of the ready for whom nothing runs: nobody is both there and in `running`.
        redis_client.zadd(f"{keys.LINES}idle:i:run:", {person.id: 1})
    collections = {holding.collection for holding in HOLDINGS if holding.users_in}
    for person in (ann, bob):
        held = traces_in_redis(redis_client, person.ids)
        for pattern in NAMED_AFTER_HIM | NAMES_HIM:
            regex = to_regex(pattern)
            assert [name for name in held if re.fullmatch(regex, name)], f"no {pattern}"
        assert traces_in_mongo(mongo_database, person.ids).keys() == collections

    assert ann.delete().status_code == 202
    # A job that runs is ended by its worker, and its end is recorded, before anything is removed.
    upkeep.remover.run()
    assert client.get("/api/auth/me", headers=ann.headers).status_code == 401
    assert mongo_database["jobs"].count_documents({"user_id": ann.id}) == len(ann.job_ids)
    upkeep.attempts.finish(ann.running, JobStatus.CANCELLED, DONE)
    upkeep.remover.run()
    assert mongo_database["jobs"].count_documents({"user_id": ann.id}) == len(ann.job_ids)
    upkeep.write_records()
    of_bob = traces_in_mongo(mongo_database, bob.ids)
    keys_of_bob = {
        name: content
        for name, content in traces_in_redis(redis_client, bob.ids).items()
        if any(identifier in name for identifier in bob.ids)
    }
    settled = mongo_database["ledger"].count_documents({})
    upkeep.remover.run()

    assert traces_in_redis(redis_client, ann.ids) == {}
    left = traces_in_mongo(mongo_database, [ann.id, "ann@example.com"])
    assert left == {}
    assert traces_in_mongo(mongo_database, ann.job_ids).keys() == {"ledger"}
    assert mongo_database["ledger"].count_documents({}) == settled
    assert mongo_database["ledger"].count_documents({"user_id": DELETED_USER}) == len(ann.job_ids)
    assert traces_in_mongo(mongo_database, bob.ids) == of_bob
    assert keys_of_bob.items() <= redis_contents(redis_client).items()
    assert client.get("/api/auth/me", headers=bob.headers).status_code == 200
    assert register_again(client, "Ann@example.com") == ("Ann@example.com", 201)


def register_again(client, email):
    response = client.post("/api/auth/register", json={"email": email, "password": PASSWORD})
    return email, response.status_code


def test_what_was_done_stays_in_the_log_and_says_of_whom_no_more(client, upkeep, services, fill):
    ann, bob = fill("ann@example.com", "bob@example.com")
    services.audit.add("plan.set", bob.id, actor=ann.id, before="trial", after="basic")
    services.audit.add("email.set", ann.id, actor=ann.id, before="ann@", after="ann2@")
    ann.delete()
    finish(upkeep, ann)

    entries = services.audit.list(limit=50)

    of_ann = [
        (entry.act, entry.actor, entry.before) for entry in entries if entry.user_id != bob.id
    ]
    assert of_ann == [
        ("account.delete", DELETED_USER, ""),
        ("email.set", DELETED_USER, ""),
        ("plan.set", DELETED_USER, "trial"),
        ("key.create", DELETED_USER, ""),
    ]
    assert [(entry.actor, entry.after) for entry in entries if entry.user_id == bob.id] == [
        (DELETED_USER, "basic"),
        (bob.id, "pro"),
        (bob.id, "ci"),
    ]


def finish(upkeep, person):
    """End the user's jobs and let upkeep do its part."""
    upkeep.remover.run()
    upkeep.attempts.finish(person.running, JobStatus.CANCELLED, DONE)
    upkeep.write_records()
    upkeep.remover.run()


@pytest.mark.parametrize(
    "dies_in", ["forget_jobs", "remove_jobs", "remove_rest", "forget_users", "end"]
)
def test_a_deletion_goes_on_when_its_process_dies(
    monkeypatch, upkeep, services, fill, redis_client, mongo_database, dies_in
):
    (ann,) = fill("ann@example.com")
    ann.delete()
    owner = next(kind for kind in (UserKeys, PersonalData, Deletions) if hasattr(kind, dies_in))

    def die(*arguments, **named):
        raise StoreUnavailable

    with monkeypatch.context() as patch:
        patch.setattr(owner, dies_in, die)
        with pytest.raises(StoreUnavailable):
            finish(upkeep, ann)
    upkeep.remover.run()

    assert traces_in_redis(redis_client, ann.ids) == {}
    assert traces_in_mongo(mongo_database, [ann.id]) == {}


def test_nothing_is_removed_when_redis_may_have_lost_unfinished_jobs(
    upkeep, services, fill, redis_client, mongo_database
):
    (ann,) = fill("ann@example.com")
    ann.delete()
    redis_client.delete(keys.EPOCH)

    finish(upkeep, ann)

    assert mongo_database["jobs"].count_documents({"user_id": ann.id}) == len(ann.job_ids)


def test_nothing_is_removed_soon_after_the_mark(services, redis_client, mongo_database, upkeep):
    user = services.accounts.create_trial()
    Deletions(mongo_database).begin(user.id)

    upkeep.patient_remover.run()
    assert mongo_database["users"].count_documents({}) == 1
    long_ago = {"$set": {"deleting_at": datetime.now(UTC) - timedelta(minutes=2)}}
    mongo_database["users"].update_one({"_id": user.id}, long_ago)
    upkeep.patient_remover.run()

    assert mongo_database["users"].count_documents({}) == 0


def test_a_demo_account_is_deleted_wholly_when_its_time_is_over(
    upkeep, services, fill, client, redis_client, mongo_database
):
    (ann,) = fill("ann@example.com")
    over = {"expires_at": datetime.now(UTC) - timedelta(seconds=1)}
    mongo_database["users"].update_one({"_id": ann.id}, {"$set": over})
    given_a_plan = services.accounts.create_trial()
    services.accounts.set_plan(given_a_plan.id, "basic")

    finish(upkeep, ann)

    assert traces_in_mongo(mongo_database, [ann.id]) == {}
    assert services.accounts.get(given_a_plan.id) is not None


def test_a_large_account_is_removed_in_parts(monkeypatch, upkeep, services, fill, mongo_database):
    monkeypatch.setattr("workers.upkeep.remover._JOBS_AT_ONCE", 1)
    monkeypatch.setattr("workers.upkeep.remover._PAGES_AT_ONCE", 2)
    monkeypatch.setattr("storage.accounts.personal_data._AT_ONCE", 1)
    (ann,) = fill("ann@example.com")
    ann.delete()
    finish(upkeep, ann)
    left = []
    while mongo_database["users"].count_documents({"_id": ann.id}):
        left.append(sum(map(len, traces_in_mongo(mongo_database, [ann.id]).values())))
        upkeep.remover.run()

    assert left == sorted(left, reverse=True)
    assert len(left) > 3
    assert traces_in_mongo(mongo_database, [ann.id]) == {}


@pytest.mark.parametrize(
    ("body", "status", "code", "field"),
    [
        ({"password": "wrong horse"}, 403, "wrong_password", None),
        ({"confirm": True}, 400, "invalid_request", "password"),
        ({"password": {"$ne": ""}}, 400, "invalid_request", "password"),
        ({"password": PASSWORD, "user_id": "usr_0"}, 400, "invalid_request", "user_id"),
    ],
)
def test_an_account_stays_when_it_is_not_its_owner_who_asks(
    client, services, mongo_database, body, status, code, field
):
    ann = Person(client, services, "ann@example.com")

    refused = ann.delete(**body)

    assert (refused.status_code, refused.json["code"]) == (status, code)
    assert refused.json.get("field") == field
    assert client.get("/api/auth/me", headers=ann.headers).status_code == 200
    assert mongo_database["audit"].count_documents({}) == 0


def test_a_demo_account_is_deleted_by_a_confirmation(client, services):
    session = client.post("/api/auth/demo-login").json
    headers = {"Authorization": f"Bearer {session['access_token']}"}

    def delete(body):
        return client.delete("/api/account", json=body, headers=headers)

    assert delete({}).json["field"] == "confirm"
    assert delete({"password": "correct horse"}).json["field"] == "confirm"
    assert delete({"confirm": True}).json["id"] == session["user"]["id"]
    assert delete({"confirm": True}).status_code == 401


def test_nobody_uses_an_account_that_is_being_deleted(client, services):
    ann = Person(client, services, "ann@example.com")
    body = {"email": "ann@example.com", "password": PASSWORD}
    refresh = client.post("/api/auth/login", json=body).json["refresh_token"]
    ann.delete()

    login = client.post("/api/auth/login", json=body)
    again = client.post("/api/auth/refresh", json={"refresh_token": refresh})

    assert (login.status_code, again.status_code) == (401, 401)
    assert client.post("/api/auth/register", json=body).json["code"] == "account_exists"
    assert client.get(JOBS, headers=ann.headers).status_code == 401
