"""The stores' format and migrations, on real servers."""

from __future__ import annotations

import pytest
from pymongo.errors import WriteError

from core.errors import Draining
from core.ids import ALL_USERS, DELETED_USER
from core.jobs import Job, JobStatus
from core.outcome import Outcome
from core.timing import now_ms
from storage import format as format_
from storage import keys
from storage.format import FORMAT, META, OtherFormat, require_format
from storage.jobs.drain import Drain
from storage.jobs.epoch import Epoch
from storage.jobs.lines import Lines, Waiter
from storage.records import migrations
from storage.records.format_watch import FormatWatch
from storage.records.jobs import JobRecords
from storage.records.ledger import Ledger
from storage.records.lost_jobs import LostJobs
from storage.records.migrations import MIGRATIONS, CannotMigrate, migrate, pending, prepare
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.jobs import QUESTION, ROOMY, make_spec
from tests.services import wait_until
from workers.upkeep.restoration import Restoration

USER = {"_id": "usr_" + "0" * 32, "name": "Ann", "plan": "trial", "token_version": 0}


@pytest.fixture
def stores(redis_client, mongo_database):
    return redis_client, mongo_database


def add_user(database):
    database["users"].insert_one(dict(USER))


def test_stores_that_nobody_has_used_are_set_up_by_the_first_process(stores, mongo_database):
    assert prepare(*stores) == []

    require_format(*stores)
    assert "email" in mongo_database["users"].index_information()
    with pytest.raises(WriteError):
        mongo_database["users"].insert_one({"_id": "nobody"})


def test_data_without_a_mark_is_refused_until_it_is_migrated(stores, mongo_database):
    add_user(mongo_database)

    with pytest.raises(OtherFormat, match="aether db migrate"):
        prepare(*stores)
    assert migrate(*stores)

    assert prepare(*stores) == []
    assert migrate(*stores) == []


@pytest.fixture
def of_before(stores, mongo_database, redis_client):
    """Return what makes a job of format 1: recorded, and in Redis as that version kept it."""
    prepare(*stores)
    mongo_database[META].update_one({"_id": "format"}, {"$set": {"value": FORMAT - 1}})
    redis_client.set(keys.FORMAT, FORMAT - 1)

    def add(**fields):
        spec = make_spec(reserved_micros=50)
        records = JobRecords(mongo_database)
        records.insert(Job(spec=spec, question=QUESTION, status=JobStatus.QUEUED, cursor=1))
        old = {"spec": "{}", "status": "queued", "attempt": 0, "reserved": 50}
        redis_client.hset(keys.job(spec.id), mapping=old | fields)
        redis_client.xadd(keys.events(spec.id), {"t": "job.queued", "b": "{}"}, id="1-0")
        redis_client.zadd(keys.active(spec.user_id), {spec.id: 1})
        redis_client.hincrby(keys.spend(spec.user_id, spec.created_ms), "reserved", 50)
        redis_client.zadd(f"aether:{{{spec.id[4]}}}:dispatch", {spec.id: 1})
        return spec

    return add


def test_data_is_not_migrated_while_workers_hold_jobs_of_another_format(stores, of_before):
    of_before()
    of_before(status="in_progress", lease=now_ms() + 60_000)

    with pytest.raises(CannotMigrate, match="Workers hold 1 jobs"):
        migrate(*stores)


def test_waiting_jobs_and_those_of_dead_workers_come_back_in_another_format(
    stores, of_before, redis_client, mongo_database
):
    specs = [of_before(), of_before(status="in_progress", lease=1, attempt=1)]

    assert "2 unfinished jobs come back from their records at the start." in migrate(*stores)

    store = AcceptingStore(redis_client)
    records = JobRecords(mongo_database)
    lost_jobs = LostJobs(store, store.recovery, records, Ledger(mongo_database))
    Restoration(Epoch(redis_client), lost_jobs, records).run()
    lines = Lines(redis_client, lease_s=15)
    found = [lines.claim_next(Waiter(name="t")).spec for _ in specs]
    assert sorted(spec.id for spec in found) == sorted(spec.id for spec in specs)
    for spec in specs:
        assert redis_client.zrange(keys.active(spec.user_id), 0, -1) == [spec.id.encode()]
        month = redis_client.hgetall(keys.spend(spec.user_id, spec.created_ms))
        assert month == {b"reserved": b"50", b"spent": b"0", b"known": b"1"}
    assert not list(redis_client.scan_iter("aether:*:dispatch"))


@pytest.mark.parametrize(
    ("there", "advice"), [(FORMAT - 1, "aether db migrate"), (FORMAT + 1, "Run the newer version")]
)
@pytest.mark.parametrize("store", ["MongoDB", "Redis"])
def test_a_process_refuses_stores_of_another_format(stores, store, there, advice):
    redis, database = stores
    prepare(*stores)
    if store == "Redis":
        redis.set(keys.FORMAT, there)
    else:
        database[META].update_one({"_id": "format"}, {"$set": {"value": there}})

    with pytest.raises(OtherFormat, match=f"{store} holds format {there}") as refused:
        prepare(*stores)
    assert advice in str(refused.value)


def test_a_newer_databases_migrations_are_not_undone(stores, mongo_database):
    prepare(*stores)
    mongo_database[META].update_one({"_id": "format"}, {"$set": {"value": FORMAT + 1}})

    with pytest.raises(CannotMigrate, match="newer version"):
        migrate(*stores)


def test_a_wiped_redis_is_no_other_format(stores):
    prepare(*stores)

    stores[0].flushall()

    require_format(*stores)
    assert int(stores[0].get(keys.FORMAT)) == FORMAT


def test_what_is_pending_is_said_and_carried_out_once(stores, mongo_database, monkeypatch):
    prepare(*stores)
    ran = []
    later = migrations.Migration(99, "a step to come", lambda _: ran.append(1))
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, later))
    watch = FormatWatch(*stores, end=lambda: None)

    watch.start()
    watch.loop.stop(1)
    assert watch.pending == ("99: a step to come",)
    migrate(*stores)
    migrate(*stores)

    assert ran == [1]
    assert pending(mongo_database) == []


def test_a_migration_that_failed_is_carried_out_again(stores, monkeypatch):
    prepare(*stores)
    attempts = []

    def fail_once(_):
        attempts.append(1)
        if len(attempts) == 1:
            raise CannotMigrate("broken")

    later = migrations.Migration(99, "a step", fail_once)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, later))
    with pytest.raises(CannotMigrate, match="broken"):
        migrate(*stores)

    assert migrate(*stores) == ["Migration 99: a step."]


def test_two_migrations_do_not_run_at_once(stores, monkeypatch):
    prepare(*stores)

    def again(_):
        with pytest.raises(CannotMigrate, match="Another migration runs"):
            migrate(*stores)

    later = migrations.Migration(99, "a step", again)
    monkeypatch.setattr(migrations, "MIGRATIONS", (*MIGRATIONS, later))

    assert migrate(*stores)


def test_documents_of_other_versions_pass_the_validators(stores, mongo_database):
    from datetime import UTC, datetime

    users = mongo_database["users"]
    users.insert_one(dict(USER))
    migrate(*stores)

    # What an older version wrote lacks a field; it may still be changed.
    users.update_one({"_id": USER["_id"]}, {"$set": {"name": "Anna"}})
    newer = USER | {"_id": "usr_" + "1" * 32, "created_at": datetime.now(UTC), "of_tomorrow": 1}
    users.insert_one(newer)


def test_sessions_are_found_by_their_last_use_when_migration_6_has_run(stores, mongo_database):
    prepare(*stores)
    families = mongo_database["refresh_families"]
    families.create_index([("user_id", 1)], name="user")
    mongo_database[META].update_one({"_id": "migrations"}, {"$unset": {"done.6": ""}})

    done = migrate(*stores)

    assert [sentence for sentence in done if sentence.startswith("Migration 6: ")]
    assert {"latest_used", "expiry"} <= set(families.index_information())
    assert "user" not in families.index_information()


def test_mongodb_removes_no_user_by_itself_any_more_and_upkeep_those_that_it_did(
    stores, mongo_database
):
    users = mongo_database["users"]
    users.insert_one(dict(USER))
    users.create_index("expires_at", name="expiry", expireAfterSeconds=0)
    # MongoDB removed the user of one of these jobs.
    lost, kept = make_spec(), make_spec(user_id=USER["_id"])
    for spec in (lost, kept):
        job = Job(spec=spec, question=QUESTION, status=JobStatus.COMPLETED, cursor=1)
        JobRecords(mongo_database).insert(job)

    assert "Migration 8: feedback, and accounts that upkeep deletes." in migrate(*stores)

    indexes = users.index_information()
    assert [name for name, index in indexes.items() if "expireAfterSeconds" in index] == []
    assert {"expires", "deleting"} <= indexes.keys()
    marked = users.find({"deleting_at": {"$exists": True}})
    assert [user["_id"] for user in marked] == [lost.user_id]


def test_a_process_ends_when_its_stores_are_migrated_under_it(stores, monkeypatch):
    ended = []
    watch = FormatWatch(*stores, end=lambda: ended.append(1))
    watch.start()
    watch.loop.stop(1)

    monkeypatch.setattr(format_, "FORMAT", FORMAT - 1)
    watch.loop.turn()

    assert ended == [1]


def test_no_job_is_taken_or_begun_while_the_stack_drains(redis_client):
    store, attempts = AcceptingStore(redis_client), ClaimingAttempts(redis_client)
    drain = Drain(redis_client)
    running, waiting = make_spec(), make_spec()
    for spec in (running, waiting):
        store.accept(spec, QUESTION, ROOMY, None)
    claim = attempts.claim(running.id)

    drain.begin()

    with pytest.raises(Draining):
        store.accept(make_spec(), QUESTION, ROOMY, None)
    assert attempts.claim(waiting.id) is None
    assert (drain.progress().running, drain.progress().is_done) == (1, False)
    attempts.finish(claim, JobStatus.COMPLETED, Outcome())
    assert (drain.progress().running, drain.progress().unrecorded) == (0, 1)
    assert drain.end()
    assert attempts.claim(waiting.id) is not None
    wait_until(lambda: drain.since_s() is None, 5, "the mark to be gone")


def test_only_documents_of_users_who_are_not_there_are_marked(mongo_database):
    gone = "usr_" + "1" * 32
    rows = [{"_id": user, "user_id": user} for user in (gone, ALL_USERS, DELETED_USER)]
    mongo_database["usage_daily"].insert_many(rows)

    migrations.mark_ownerless(mongo_database, "usage_daily")
    migrations.mark_ownerless(mongo_database, "usage_daily")

    assert [user["_id"] for user in mongo_database["users"].find()] == [gone]
