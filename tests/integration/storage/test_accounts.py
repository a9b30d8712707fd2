"""Users, sessions and revoked tokens on real servers."""

from __future__ import annotations

import re
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from pymongo.errors import WriteError

from core.account_errors import AccountExists, InvalidResetToken, WrongPassword
from core.errors import StoreUnavailable
from core.ids import new_user_id
from core.jobs import Job, JobStatus
from core.plans import PLANS
from core.settings import Settings
from core.timing import now_ms
from storage import keys
from storage.accounts.cache_secrets import CacheSecrets
from storage.accounts.password_changes import PasswordChanges
from storage.accounts.revoked_tokens import RevokedTokens
from storage.accounts.sessions import Origin, RefreshFamilies
from storage.accounts.users import Accounts
from storage.connections import close_all
from storage.connections import mongo_database as connect
from storage.records.indexes import COLLECTIONS, ensure_indexes, ensure_validators
from tests.jobs import make_spec
from tests.services import port_of
from tests.tcp_proxy import TcpProxy


@pytest.fixture
def database(mongo_database):
    ensure_validators(mongo_database)
    ensure_indexes(mongo_database)
    return mongo_database


@pytest.fixture
def accounts(database):
    return Accounts(database)


@pytest.fixture
def families(database):
    return RefreshFamilies(database, life_s=3600)


def test_user_is_found_again_when_created(accounts):
    user = accounts.create("Ann@Example.com", "hash", "Ann")

    assert accounts.get(user.id) == user
    assert accounts.find_by_email(" ann@example.COM ").user == user
    assert accounts.find_by_email("ann@example.com").password_hash == "hash"
    assert user.plan is PLANS["trial"]
    assert user.email == "ann@example.com"


def test_account_exists_when_the_address_is_taken_in_another_case(accounts):
    accounts.create("ann@example.com", "hash")

    with pytest.raises(AccountExists):
        accounts.create("ANN@example.com", "other")


def test_one_account_is_made_when_many_register_an_address_at_once(accounts):
    def register(number):
        try:
            return accounts.create("ann@example.com", f"hash-{number}")
        except AccountExists:
            return None

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(register, range(8)))

    assert sum(user is not None for user in made) == 1


def test_demo_users_are_many_when_none_has_an_address(accounts):
    first, second = accounts.create_trial(), accounts.create_trial()

    assert first.id != second.id
    assert first.email is None
    assert first.expires_ms == first.trial_ends_ms > first.created_ms
    assert accounts.get(first.id) == first


def test_user_is_gone_when_the_account_has_expired(accounts, database):
    user = accounts.create_trial()
    past = datetime.now(UTC) - timedelta(seconds=1)
    database["users"].update_one({"_id": user.id}, {"$set": {"expires_at": past}})

    assert accounts.get(user.id) is None


def test_nobody_is_found_when_there_is_no_such_user(accounts):
    assert accounts.get(new_user_id()) is None
    assert accounts.find_by_email("nobody@example.com") is None


def test_one_cache_secret_is_made_when_many_need_that_of_an_account_of_before(accounts, database):
    user = accounts.create("ann@example.com", "hash")
    database["users"].update_one({"_id": user.id}, {"$unset": {"cache_secret": ""}})
    assert Accounts(database).get(user.id).cache_secret == ""

    with ThreadPoolExecutor(8) as pool:
        found = set(pool.map(lambda _: CacheSecrets(database).of(user.id, ""), range(8)))

    assert found == {database["users"].find_one({"_id": user.id})["cache_secret"]}
    assert Accounts(database).get(user.id).cache_secret in found
    assert all(re.fullmatch("[0-9a-f]{64}", secret) for secret in found)


def test_no_log_line_holds_the_cache_secret_when_it_holds_a_user_or_a_job(accounts):
    user = accounts.create("ann@example.com", "hash")
    spec = make_spec(cache_secret=user.cache_secret, metadata={"a": "private"})

    shown = f"{user!r} {spec!r} {Job(spec=spec, status=JobStatus.QUEUED)!r}"

    assert len(user.cache_secret) == 64
    assert user.cache_secret not in shown
    assert "private" not in shown


def test_tokens_are_void_when_their_version_is_raised(accounts):
    user = accounts.create("ann@example.com", "hash")
    assert accounts.get(user.id).token_version == 0

    accounts.raise_token_version(user.id)

    assert accounts.get(user.id).token_version == 1


def test_session_goes_on_when_its_youngest_token_is_traded(families):
    first = families.open(new_user_id())

    second = families.rotate(first.family_id, first.token_id)
    third = families.rotate(second.family_id, second.token_id)

    assert first.user_id == second.user_id == third.user_id
    assert first.family_id == third.family_id
    assert len({first.token_id, second.token_id, third.token_id}) == 3


def test_session_ends_when_a_used_token_comes_again(families):
    first = families.open(new_user_id())
    second = families.rotate(first.family_id, first.token_id)

    assert families.rotate(first.family_id, first.token_id) is None
    assert families.rotate(second.family_id, second.token_id) is None


def test_one_trade_succeeds_when_many_bring_the_same_token_at_once(families):
    grant = families.open(new_user_id())

    with ThreadPoolExecutor(8) as pool:
        traded = list(
            pool.map(lambda _: families.rotate(grant.family_id, grant.token_id), range(8))
        )

    assert sum(new is not None for new in traded) == 1


def test_session_ends_when_its_life_is_over(families, database):
    grant = families.open(new_user_id())
    past = datetime.now(UTC) - timedelta(seconds=1)
    database["refresh_families"].update_one({}, {"$set": {"expires_at": past}})

    assert families.rotate(grant.family_id, grant.token_id) is None


def test_every_session_of_a_user_ends_when_all_are_revoked(families):
    user_id = new_user_id()
    mine = [families.open(user_id) for _ in range(3)]
    other = families.open(new_user_id())

    ended = families.revoke_all(user_id)

    assert set(ended) == {grant.family_id for grant in mine}
    assert all(families.rotate(grant.family_id, grant.token_id) is None for grant in mine)
    assert families.rotate(other.family_id, other.token_id) is not None


def test_no_token_can_be_read_back_when_the_database_is_read(families, database):
    grant = families.open(new_user_id())

    assert grant.token_id not in str(list(database["refresh_families"].find()))


def test_token_is_revoked_for_the_rest_of_its_life_when_added(redis_client):
    revoked, user_id = RevokedTokens(redis_client), new_user_id()

    revoked.add(user_id, "token", ttl_s=60)
    revoked.add(user_id, "expired", ttl_s=0)

    issued_s = int(time.time()) + 1
    assert revoked.contains_any(user_id, "other", "token", issued_s=issued_s)
    assert revoked.contains_any(user_id, "other", "expired", issued_s=issued_s) is False
    assert revoked.contains_any(user_id, "other", issued_s=issued_s - 60) is None
    assert 0 < redis_client.ttl(keys.revoked_token(user_id[4], "token")) <= 60


@pytest.mark.parametrize(
    "change",
    [{"plan": "gold"}, {"token_version": "1"}, {"email": {"$ne": None}}],
    ids=str,
)
def test_write_is_refused_when_a_user_would_not_fit_the_schema(accounts, database, change):
    user = accounts.create("ann@example.com", "hash")

    with pytest.raises(WriteError):
        database["users"].update_one({"_id": user.id}, {"$set": change})


def test_nothing_changes_when_the_indexes_are_ensured_again(database):
    before = {plan.name: database[plan.name].index_information() for plan in COLLECTIONS}

    ensure_indexes(database)

    assert {plan.name: database[plan.name].index_information() for plan in COLLECTIONS} == before


def test_store_is_unavailable_soon_when_no_server_answers():
    database = connect(Settings(mongo_url="mongodb://127.0.0.1:1"), selection_timeout_s=0.2)

    with pytest.raises(StoreUnavailable):
        Accounts(database).get(new_user_id())

    close_all(database)


def test_known_user_is_found_and_no_other_when_the_database_has_gone(
    mongo_server, mongo_database, monkeypatch
):
    monkeypatch.setattr("storage.accounts.users._CACHE_S", 0.01)
    with TcpProxy(port_of(mongo_server.url)) as proxy:
        url = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
        settings = Settings(mongo_url=url, mongo_database=mongo_database.name)
        database = connect(settings, selection_timeout_s=0.2)
        accounts = Accounts(database)
        known, other = accounts.create_trial(), accounts.create_trial()
        accounts.get(known.id)

    assert accounts.get(known.id) == known
    with pytest.raises(StoreUnavailable):
        accounts.get(other.id)
    close_all(database)


def test_session_is_listed_with_its_latest_use_when_its_token_was_traded(families):
    user_id = new_user_id()
    first = families.open(user_id, Origin("Phone/1.0", "10.0.0.1"))
    families.open(user_id, Origin("Desk/1.0", "10.0.0.2"))

    families.rotate(first.family_id, first.token_id, Origin("Phone/1.1", "10.0.0.3"))

    found = families.list(user_id)
    assert [session.origin for session in found] == [
        Origin("Phone/1.1", "10.0.0.3"),
        Origin("Desk/1.0", "10.0.0.2"),
    ]
    assert found[0].created_ms <= found[0].used_ms < found[0].expires_ms


def test_former_token_ends_the_session_when_it_was_renewed(families):
    grant = families.open(new_user_id())

    renewed = families.renew(grant.user_id, grant.family_id, Origin())

    assert families.rotate(renewed.family_id, renewed.token_id) is not None
    assert families.rotate(grant.family_id, grant.token_id) is None
    assert not families.exists(grant.family_id)


def test_session_is_not_renewed_when_it_is_over_or_foreign(families):
    grant = families.open(new_user_id())

    assert families.renew(new_user_id(), grant.family_id, Origin()) is None
    families.revoke(grant.family_id)
    assert families.renew(grant.user_id, grant.family_id, Origin()) is None


def test_password_is_set_once_when_it_is_changed_twice_at_once(accounts, database):
    user, changes = (
        accounts.create("ann@example.com", "former"),
        PasswordChanges(database, accounts),
    )

    changed = changes.change(user.id, "former", "renewed")

    assert changed.token_version == user.token_version + 1
    assert changes.hash_of(user.id) == "renewed"
    with pytest.raises(WrongPassword):
        changes.change(user.id, "former", "another")


def test_link_leaves_nothing_behind_when_it_was_used(accounts, database):
    user, changes = (
        accounts.create("ann@example.com", "former"),
        PasswordChanges(database, accounts),
    )
    token, until_ms = changes.make_reset_token(user.id)
    target = changes.find_reset(token)

    changes.reset(target, token, "renewed")

    assert 0 < until_ms - now_ms() <= 3600 * 1000
    assert not {"reset_hash", "reset_expires_at"} & database["users"].find_one().keys()
    with pytest.raises(InvalidResetToken):
        changes.reset(target, token, "another")
