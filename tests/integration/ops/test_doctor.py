"""`aether doctor` on servers that are right, wrong and away."""

from __future__ import annotations

import json
import socket

import pytest
from redis import Redis
from typer.testing import CliRunner

from core.settings import Settings
from ops.cli.main import app
from ops.doctor.checks import run_checks
from ops.doctor.redis import redis_checks, script_commands
from ops.stack.readiness import free_port
from storage.records.migrations import migrate

MODEL = "openai/gpt-oss-20b"


@pytest.fixture
def right(redis_server, mongo_server, mongo_database, redis_client, stub_server, monkeypatch):
    """Variables of servers that have all that is needed."""
    redis_client.config_set("maxmemory", "512mb")
    migrate(redis_client, mongo_database)
    variables = {
        "AETHER_REDIS_URL": redis_server.url,
        "AETHER_MONGO_URL": mongo_server.url,
        "AETHER_MONGO_DATABASE": mongo_database.name,
        "AETHER_LLM_URL": stub_server.url,
        "AETHER_PORT": str(free_port()),
        "AETHER_FLOWER_PORT": str(free_port()),
    }
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    yield monkeypatch
    redis_client.config_set("maxmemory", "0")


def doctor(tmp_path):
    """Return the exit status, and the results by area: (level, text) each."""
    shown = CliRunner().invoke(app, ["doctor", "--json", "--state", str(tmp_path / "var")])
    found = {}
    for row in json.loads(shown.stdout):
        found.setdefault(row["area"], []).append((row["level"], row["text"]))
    return shown.exit_code, found


def failures(found):
    return {area: [t for level, t in rows if level == "FAIL"] for area, rows in found.items()}


def test_everything_is_right(right, tmp_path):
    status, found = doctor(tmp_path)

    assert not any(failures(found).values()), found
    assert status == 0
    assert len(found["redis"]) == 9
    assert set(found) == {"settings", "machine", "ports", "redis", "broker", "mongodb", "model"}


@pytest.mark.parametrize(
    ("variable", "value", "area", "text"),
    [
        ("AETHER_REDIS_URL", "redis://127.0.0.1:1", "redis", "AETHER_REDIS_URL"),
        ("AETHER_MONGO_URL", "mongodb://127.0.0.1:1", "mongodb", "AETHER_MONGO_URL"),
        ("AETHER_LLM_URL", "http://127.0.0.1:1", "model", "AETHER_LLM_URL"),
        ("AETHER_PORT", "eighty", "settings", "AETHER_PORT"),
        ("AETHER_ENV", "production", "settings", "AETHER_JWT_SECRET"),
        ("AETHER_MONGO_DATABASE", "empty", "mongodb", "migrations are pending"),
    ],
)
def test_what_is_wrong_is_named(right, tmp_path, variable, value, area, text):
    right.setenv(variable, value)

    status, found = doctor(tmp_path)

    assert status == 1
    assert any(text in failure for failure in failures(found)[area]), found


def test_a_taken_port_is_named(right, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        right.setenv("AETHER_PORT", str(taken.getsockname()[1]))
        _, found = doctor(tmp_path)

    assert "set AETHER_PORT" in failures(found)["ports"][0]


def test_no_password_is_shown(right, tmp_path):
    right.setenv("AETHER_REDIS_URL", "redis://:canary@127.0.0.1:1")

    shown = CliRunner().invoke(app, ["doctor", "--state", str(tmp_path / "var")])

    assert "canary" not in shown.output


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("maxmemory-policy", "allkeys-lru", "noeviction"),
        ("appendonly", "no", "append-only"),
    ],
)
def test_a_redis_that_would_forget_is_refused(right, redis_client, tmp_path, name, value, text):
    before = redis_client.config_get(name)[name]
    redis_client.config_set(name, value)
    try:
        _, found = doctor(tmp_path)
    finally:
        redis_client.config_set(name, before)

    assert any(text in failure for failure in failures(found)["redis"])


def test_a_command_that_the_user_may_not_call_is_named(redis_server, redis_client):
    redis_client.acl_setuser(
        "poor",
        enabled=True,
        passwords=["+p"],
        keys=["*"],
        channels=["*"],
        commands=["+@all", "-xadd"],
    )
    url = redis_server.url.replace("redis://", "redis://poor:p@")
    try:
        with Redis.from_url(url) as poor:
            checks = [check for check in redis_checks(poor) if "_scripts" in repr(check.run)]
            (result,) = run_checks(checks, (OSError,))
    finally:
        redis_client.acl_deluser("poor")

    assert result.level == "FAIL"
    assert result.text == "The user of AETHER_REDIS_URL may not call XADD."


def test_the_commands_of_scripts_are_read_from_their_texts():
    assert {"HSET", "XADD", "PUBLISH", "ZADD", "TIME"} <= script_commands()


def test_settings_alone_need_no_server(tmp_path, monkeypatch):
    for name in ("AETHER_REDIS_URL", "AETHER_MONGO_URL", "AETHER_LLM_URL", "GROQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AETHER_PORT", str(free_port()))
    monkeypatch.setenv("AETHER_FLOWER_PORT", str(free_port()))

    status, found = doctor(tmp_path)

    assert status == 0
    assert {"redis", "mongo", "llm"} <= set(found)
    assert Settings().env == "development"
