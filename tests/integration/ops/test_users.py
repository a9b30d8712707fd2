"""`aether users` on a real database."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import pytest
from typer.testing import CliRunner

from core.account_errors import InvalidResetToken
from ops.cli.main import app
from storage.accounts.deletions import Deletions
from storage.accounts.password_changes import PasswordChanges, ResetTarget
from storage.accounts.sessions import RefreshFamilies
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


def link_of(text):
    link, validity = text.splitlines()
    assert validity.startswith("Works once, until ")
    return urlsplit(link), parse_qs(urlsplit(link).query)["token"][0]


def test_a_link_for_a_new_password_is_printed_and_the_log_says_so(users, mongo_database):
    user = Accounts(mongo_database).create("ann@example.com", "a hash")

    status, text = users("reset-password", "Ann@example.com")

    link, token = link_of(text)
    assert status == 0
    assert f"{link.scheme}://{link.netloc}{link.path}" == "http://127.0.0.1:8001/reset-password"
    changes = PasswordChanges(mongo_database, Accounts(mongo_database))
    assert changes.find_reset(token) == ResetTarget(user.id, "ann@example.com")
    (entry,) = mongo_database["audit"].find()
    assert (entry["act"], entry["actor"]) == ("password.reset_link", "operator")
    assert entry["user_id"] == user.id
    assert token not in str(entry)


def test_a_second_link_makes_the_first_one_void(users, mongo_database):
    Accounts(mongo_database).create("ann@example.com", "a hash")
    changes = PasswordChanges(mongo_database, Accounts(mongo_database))

    tokens = [link_of(users("reset-password", "ann@example.com")[1])[1] for _ in range(2)]

    with pytest.raises(InvalidResetToken):
        changes.find_reset(tokens[0])
    assert changes.find_reset(tokens[1]).email == "ann@example.com"


def test_a_link_begins_with_the_public_address(users, mongo_database, monkeypatch):
    Accounts(mongo_database).create("ann@example.com", "a hash")
    monkeypatch.setenv("AETHER_PUBLIC_URL", "https://Aether.example.com/")

    link, _ = link_of(users("reset-password", "ann@example.com")[1])

    assert (link.scheme, link.netloc) == ("https", "aether.example.com")


def test_no_link_is_made_for_who_has_no_account(users, mongo_database):
    status, text = users("reset-password", "nobody@example.com")

    assert (status, text) == (1, "No account has the address nobody@example.com.\n")
    assert mongo_database["audit"].count_documents({}) == 0


def test_an_account_is_marked_to_be_deleted_and_the_log_says_so(users, mongo_database):
    accounts = Accounts(mongo_database)
    user = accounts.create("ann@example.com", "a hash")
    RefreshFamilies(mongo_database, life_s=60).open(user.id)

    status, text = users("delete", "Ann@example.com", "--yes")

    assert (status, text) == (
        0,
        "ann@example.com cannot be used any more; upkeep removes its data.\n",
    )
    assert accounts.get(user.id) is None
    assert accounts.find_by_email("ann@example.com") is None
    assert [deletion.user_id for deletion in Deletions(mongo_database).list(limit=9)] == [user.id]
    assert mongo_database["refresh_families"].count_documents({}) == 0
    (entry,) = mongo_database["audit"].find()
    assert (entry["actor"], entry["act"], entry["user_id"]) == (
        "operator",
        "account.delete",
        user.id,
    )
    assert users("delete", "ann@example.com", "--yes")[0] == 1


def test_no_account_is_deleted_when_nobody_confirms(users, mongo_database):
    user = Accounts(mongo_database).create("ann@example.com", "a hash")

    assert users("delete", "ann@example.com")[0] == 1

    assert Accounts(mongo_database).get(user.id).email == "ann@example.com"
    assert mongo_database["audit"].count_documents({}) == 0
