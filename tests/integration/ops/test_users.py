"""`aether users` on a real database."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

from ops.cli.main import app
from storage.accounts.users import Accounts
from storage.records.indexes import ensure_indexes


@pytest.fixture
def users(redis_server, mongo_server, mongo_database, monkeypatch, tmp_path):
    """Return what runs the command and returns its exit status and its text."""
    monkeypatch.setenv("AETHER_REDIS_URL", redis_server.url)
    monkeypatch.setenv("AETHER_MONGO_URL", mongo_server.url)
    monkeypatch.setenv("AETHER_MONGO_DATABASE", mongo_database.name)
    ensure_indexes(mongo_database)

    def users(*arguments):
        command = ["users", *arguments, "--state", str(tmp_path / "var")]
        shown = CliRunner().invoke(app, command)
        return shown.exit_code, shown.output

    return users


def test_an_account_is_promoted_and_demoted_and_the_log_says_so(users, mongo_database):
    user = Accounts(mongo_database).create("ann@example.com", "a hash")

    assert users("promote", "Ann@example.com") == (0, "ann@example.com is an admin.\n")
    assert users("promote", "ann@example.com") == (0, "ann@example.com is an admin.\n")
    assert Accounts(mongo_database).get(user.id).role == "admin"
    assert users("demote", "ann@example.com") == (0, "ann@example.com is a user.\n")
    assert Accounts(mongo_database).get(user.id).role == "user"

    entries = mongo_database["audit"].find().sort("_id")
    acts = [(entry["actor"], entry["user_id"], entry["after"]) for entry in entries]
    assert acts == [("operator", user.id, "admin"), ("operator", user.id, "user")]


def test_nobody_is_promoted_who_has_no_account(users, mongo_database):
    status, text = users("promote", "nobody@example.com")

    assert (status, text) == (1, "No account has the address nobody@example.com.\n")
    assert mongo_database["audit"].count_documents({}) == 0
