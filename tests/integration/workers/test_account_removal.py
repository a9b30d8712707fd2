"""Upkeep as the stack runs it deletes accounts that are marked, and marks those that are over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from celery import Celery
from redis import Redis

from storage.accounts.deletions import Deletions
from storage.accounts.users import Accounts
from storage.records.migrations import prepare
from tests.services import start_worker, wait_until


def test_upkeep_deletes_a_marked_account_and_marks_an_expired_one(
    worker_settings, mongo_database, tmp_path
):
    users, accounts = mongo_database["users"], Accounts(mongo_database)
    with Redis.from_url(worker_settings["AETHER_REDIS_URL"], protocol=2) as redis:
        prepare(redis, mongo_database)
    stays, expired = accounts.create("bob@example.com", "hash"), accounts.create_trial()
    long_ago = {"$set": {"expires_at": datetime.now(UTC) - timedelta(minutes=2)}}
    users.update_one({"_id": expired.id}, long_ago)
    marked = accounts.create("ann@example.com", "hash")
    Deletions(mongo_database).begin(marked.id)
    users.update_one(
        {"_id": marked.id}, {"$set": {"deleting_at": datetime.now(UTC) - timedelta(minutes=2)}}
    )

    with Celery("test", broker=worker_settings["AETHER_BROKER_URL"], set_as_current=False) as app:
        upkeep = start_worker(tmp_path, "upkeep", app, **worker_settings)
        try:
            wait_until(lambda: users.find_one({"_id": marked.id}) is None, 60, "the removal")
            of_expired = {"_id": expired.id, "deleting_at": {"$exists": True}}
            wait_until(lambda: users.count_documents(of_expired), 60, "the mark")
        finally:
            upkeep.stop()

    assert accounts.get(stays.id) is not None
