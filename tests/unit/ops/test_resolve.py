"""What a stack embeds, and on which ports."""

from __future__ import annotations

import json
import socket
import stat

import pytest

from core.settings import read_settings
from ops.stack.programs import embedded_programs, own_programs
from ops.stack.readiness import free_port
from ops.stack.resolve import addresses_of, choose_ports, embedded_parts, resolve
from ops.stack.running import command_settings
from ops.stack.state import CannotRun, Record, StateDirectory, read_record, write_record


@pytest.fixture
def directory(tmp_path):
    directory = StateDirectory(tmp_path / "var")
    directory.create()
    return directory


@pytest.fixture
def on_free_ports(monkeypatch):
    monkeypatch.setenv("AETHER_PORT", str(free_port()))
    monkeypatch.setenv("AETHER_FLOWER_PORT", str(free_port()))


@pytest.mark.parametrize(
    ("variable", "value", "left"),
    [
        ("AETHER_REDIS_URL", "redis://elsewhere/0", ("mongo", "llm")),
        ("AETHER_MONGO_URL", "mongodb://elsewhere", ("redis", "llm")),
        ("AETHER_LLM_URL", "http://elsewhere", ("redis", "mongo")),
        ("GROQ_API_KEY", "a-key", ("redis", "mongo")),
        ("GROQ_API_KEY", "", ("redis", "mongo", "llm")),
        ("AETHER_REDIS_URL", "", ("redis", "mongo", "llm")),
    ],
)
def test_a_variable_replaces_its_part_when_it_is_not_empty(monkeypatch, variable, value, left):
    monkeypatch.setenv(variable, value)

    assert embedded_parts(read_settings()) == left


def test_an_embedded_model_brings_its_section_of_the_catalogue(on_free_ports, directory):
    stack = resolve(read_settings(), directory)

    assert stack.settings.llm_provider == "embedded"
    assert stack.settings.llm_url == f"http://127.0.0.1:{stack.ports['llm']}"
    assert stack.environment()["GROQ_API_KEY"] == ""


def test_another_model_server_keeps_the_provider_that_was_set(
    monkeypatch, on_free_ports, directory
):
    monkeypatch.setenv("AETHER_LLM_URL", "http://elsewhere")

    stack = resolve(read_settings(), directory)

    assert stack.environment()["AETHER_LLM_PROVIDER"] == "groq"
    assert "GROQ_API_KEY" not in stack.environment()


def test_secrets_are_generated_once_and_for_the_owner_alone(on_free_ports, directory):
    first = resolve(read_settings(), directory).environment()
    second = resolve(read_settings(), directory).environment()

    assert first["AETHER_JWT_SECRET"] == second["AETHER_JWT_SECRET"]
    assert len(first["AETHER_JWT_SECRET"]) >= 32
    assert first["AETHER_JWT_SECRET"] != first["AETHER_FLOWER_PASSWORD"]
    assert stat.S_IMODE(directory.secrets.stat().st_mode) == 0o600


def test_a_secret_of_the_environment_is_used_and_not_stored(monkeypatch, on_free_ports, directory):
    monkeypatch.setenv("AETHER_JWT_SECRET", "of the environment")

    stack = resolve(read_settings(), directory)

    assert stack.environment()["AETHER_JWT_SECRET"] == "of the environment"
    assert "of the environment" not in json.loads(directory.secrets.read_text()).values()


def test_production_refuses_to_generate_a_secret_or_to_embed_a_model(monkeypatch, directory):
    monkeypatch.setenv("AETHER_ENV", "production")

    with pytest.raises(CannotRun, match="AETHER_JWT_SECRET is missing"):
        resolve(read_settings(), directory)


def test_the_key_of_the_provider_reaches_the_workers_alone(on_free_ports, directory):
    stack = resolve(read_settings(), directory, workers=2)

    see_it = [
        program.name
        for program in (*own_programs(stack), *embedded_programs(stack))
        if "GROQ_API_KEY" not in program.withheld
    ]
    assert see_it == ["worker-1", "worker-2"]


def test_a_part_keeps_its_port_unless_it_is_taken():
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken, kept = other.getsockname()[1], free_port()

        ports = choose_ports(("redis", "mongo", "llm"), {"redis": taken, "mongo": kept})

    assert ports["mongo"] == kept
    assert ports["redis"] != taken
    assert len(set(ports.values())) == 3


@pytest.mark.parametrize("variable", ["AETHER_PORT", "AETHER_FLOWER_PORT"])
def test_a_taken_port_is_named_by_its_setting(monkeypatch, on_free_ports, directory, variable):
    with socket.create_server(("127.0.0.1", 0)) as other:
        monkeypatch.setenv(variable, str(other.getsockname()[1]))

        with pytest.raises(CannotRun, match=rf"set {variable}\."):
            resolve(read_settings(), directory)


def test_a_record_is_read_as_it_was_written(directory):
    record = Record({"redis": 1}, "http://api", "http://flower", {"llm_url": "http://llm"})
    before = read_record(directory)

    write_record(directory, record)

    assert before == Record()
    assert read_record(directory) == record


def test_a_record_that_is_no_json_is_named(directory):
    directory.record.write_text("{")

    with pytest.raises(CannotRun, match=r"state\.json"):
        read_record(directory)


def start(directory):
    """Record a stack of the current environment as `aether up` does."""
    stack = resolve(read_settings(), directory)
    write_record(
        directory,
        Record(stack.ports, stack.api_url, stack.flower_url, addresses_of(stack.settings)),
    )
    return stack.settings


def test_servers_of_a_running_stack_are_found_when_the_environment_is_empty(
    monkeypatch, on_free_ports, directory
):
    with monkeypatch.context() as up:
        up.setenv("AETHER_MONGO_URL", "mongodb://elsewhere")
        up.setenv("AETHER_MONGO_DATABASE", "ours")
        up.setenv("AETHER_CACHE_REDIS_URL", "redis://cache/0")
        up.setenv("GROQ_API_KEY", "a-key")
        started = start(directory)

    found = command_settings(directory)

    names = ("redis_url", "broker_url", "cache_redis_url", "mongo_url", "mongo_database", "llm_url")
    assert {name: getattr(found, name) for name in names} == {
        name: getattr(started, name) for name in names
    }
    assert "a-key" not in directory.record.read_text()


def test_an_address_of_the_environment_wins_over_the_running_stacks(
    monkeypatch, on_free_ports, directory
):
    start(directory)
    monkeypatch.setenv("AETHER_REDIS_URL", "redis://elsewhere/0")

    found = command_settings(directory)

    assert found.redis_url.get_secret_value() == "redis://elsewhere/0"
    assert "@127.0.0.1:" in found.mongo_url.get_secret_value()


def test_what_is_missing_is_named_when_no_stack_was_started(monkeypatch, directory):
    monkeypatch.setenv("AETHER_REDIS_URL", "redis://elsewhere/0")

    with pytest.raises(CannotRun, match="AETHER_MONGO_URL is not set"):
        command_settings(directory)


def test_no_record_is_needed_when_the_environment_names_the_servers(monkeypatch, directory):
    monkeypatch.setenv("AETHER_REDIS_URL", "redis://elsewhere/0")
    monkeypatch.setenv("AETHER_MONGO_URL", "mongodb://elsewhere")

    found = command_settings(directory)

    assert found.mongo_url.get_secret_value() == "mongodb://elsewhere"


def test_a_path_too_long_for_a_socket_is_refused(tmp_path):
    with pytest.raises(CannotRun, match="--state"):
        StateDirectory(tmp_path / ("x" * 100)).create()


def test_a_directory_is_held_by_one_at_a_time(directory):
    with directory.held() as first, directory.held() as second:
        assert first
        assert not second

    with directory.held() as third:
        assert third
