"""docker-compose.yml, ops/stack/programs.py and the settings say the same."""

from __future__ import annotations

import re
import shlex
from itertools import takewhile

import psutil
import pytest
from redis import Redis
from redis.exceptions import AuthenticationError

from core.settings import SECRETS, variable_of
from ops.stack import embedded, programs
from ops.stack.own import Child
from ops.stack.readiness import free_port, redis_answers
from ops.stack.state import ROOT
from tests.repo.compose import OWN, SERVICES, command_of
from tests.repo.compose import TEXT as COMPOSE_TEXT
from tests.repo.tree import setting_names
from workers.names import QUEUES

#: Ends before the others begin.
ONE_SHOT = "migrate"
IN_STACK = {
    "migrate": ("python", "-m", "ops.cli", "db", "migrate", "--state", "/tmp/state"),
    "api": programs.API,
    "worker": programs.worker_command("worker", "64"),
    "upkeep": programs.upkeep_command(),
    "beat": programs.BEAT,
    "flower": programs.FLOWER,
}


def queues_of(commands):
    return {
        queue
        for command in commands
        if "-Q" in command
        for queue in command[command.index("-Q") + 1].split(",")
    }


@pytest.mark.parametrize("service", OWN)
def test_compose_runs_the_commands_of_the_local_stack(service):
    assert command_of(service) == IN_STACK[service]


def test_every_queue_has_a_worker_in_compose():
    assert queues_of(map(command_of, OWN)) == set(QUEUES)


def test_every_queue_has_a_worker_in_the_local_stack():
    assert queues_of(IN_STACK.values()) == set(QUEUES)


@pytest.mark.parametrize("service", OWN)
def test_a_service_gets_every_setting_but_the_secrets_of_others(service):
    withheld = set(programs.withheld(service if service != ONE_SHOT else "upkeep"))
    # The one shot neither keeps answers nor calls anybody.
    idle = {"AETHER_CACHE_REDIS_URL", "AETHER_WEBHOOK_PROXY"}
    withheld |= idle if service == ONE_SHOT else set()

    assert set(SERVICES[service]["environment"]) == setting_names() - withheld


def test_the_key_of_the_provider_reaches_the_workers_alone():
    given = {name for name in OWN if "GROQ_API_KEY" in SERVICES[name]["environment"]}

    assert given == {"worker"}


def test_the_operators_document_says_who_gets_each_secret():
    lines = (ROOT / "docs" / "operations.md").read_text().splitlines()
    (head,) = (number for number, line in enumerate(lines) if line.startswith("  | Secret |"))
    roles = [cell.strip() for cell in lines[head].split("|")[2:-1]]

    said = {}
    for line in takewhile(lambda line: line.startswith("  |"), lines[head + 2 :]):
        _, names, *cells, _ = line.split("|")
        given = tuple(role for role, cell in zip(roles, cells, strict=True) if cell.strip())
        said |= dict.fromkeys(re.findall(r"`(\w+)`", names), given)
    assert said == {variable_of(name): roles for name, roles in SECRETS.items()}


def test_compose_asks_the_shell_for_settings_only():
    asked = set(re.findall(r"\$\{(AETHER_\w+)", COMPOSE_TEXT))

    assert asked <= setting_names()


@pytest.mark.parametrize("service", SERVICES)
def test_every_service_is_bounded_and_has_no_rights_to_spare(service):
    found = SERVICES[service]

    assert re.fullmatch(r"\d+[mg]", found["mem_limit"])
    assert 0 < found["pids_limit"] <= 1_024
    assert found["cap_drop"] == ["ALL"]
    assert "cap_add" not in found
    assert found["security_opt"] == ["no-new-privileges:true"]
    assert set(found["logging"]["options"]) == {"max-size", "max-file"}
    assert found.get("read_only") or service == "mongo"
    assert service in OWN or found["user"] in {"nginx", "redis", "mongodb"}


@pytest.mark.parametrize("service", set(OWN) - {ONE_SHOT})
def test_no_process_starts_before_the_stores_are_of_its_version(service):
    waits = SERVICES[service]["depends_on"]

    assert waits[ONE_SHOT] == {"condition": "service_completed_successfully"}
    assert set(waits) == {"redis", "mongo", ONE_SHOT}


@pytest.mark.parametrize("service", SERVICES)
def test_no_secret_is_among_the_arguments_of_a_process(service):
    found = SERVICES[service]
    words = [found.get("command", ""), found.get("entrypoint", ""), found["healthcheck"]["test"]]
    secrets = set(re.findall(r"\$\{(\w+):\?", COMPOSE_TEXT))

    assert not [word for word in map(str, words) for name in secrets if f"${{{name}" in word]


@pytest.mark.parametrize("service", ["redis", "redis-cache"])
def test_a_redis_is_bounded_below_its_container(service):
    units = {"m": 1, "g": 1024}
    found = SERVICES[service]
    most, unit = re.search(r"--maxmemory (\d+)(m|g)b", found["command"]).groups()

    assert int(most) * units[unit] < int(found["mem_limit"][:-1]) * units[found["mem_limit"][-1]]
    policy = "noeviction" if service == "redis" else "allkeys-lru"
    assert f"--maxmemory-policy {policy}" in found["command"]


@pytest.mark.parametrize("service", ["redis", "redis-cache"])
def test_a_redis_starts_with_its_password(service, tmp_path):
    found, port = SERVICES[service], free_port()
    (tmp_path / "redis-server").symlink_to(embedded.redis_server())
    shell, option, script, *name = found["entrypoint"]
    script = script.replace("$$", "$").replace("/tmp/", f"{tmp_path}/")
    words = shlex.split(found["command"].replace("/data", str(tmp_path)))
    command = (shell, option, script, *name, *words, "--port", str(port), "--bind", "127.0.0.1")
    url = f"redis://:canary@127.0.0.1:{port}"
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "REDISCLI_AUTH": "canary"}
    log = tmp_path / "log"

    with Child(url, command, lambda: redis_answers(url), log, environment=environment) as server:
        words = psutil.Process(server.process.pid).cmdline()
        with Redis(port=port) as anybody, pytest.raises(AuthenticationError):
            anybody.ping()

    assert "canary" not in " ".join(words)
    assert (tmp_path / "auth.conf").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("service", set(SERVICES) - {ONE_SHOT})
def test_every_service_has_a_health_check_and_comes_back(service):
    assert SERVICES[service]["healthcheck"]["test"]
    assert SERVICES[service]["restart"] == "unless-stopped"


def test_only_the_proxy_is_published_and_flower_to_this_host_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert set(published) == {"nginx", "flower"}
    assert all(port.startswith("127.0.0.1:") for port in published["flower"])


@pytest.mark.parametrize(
    "variable",
    [
        *("GROQ_API_KEY", "REDIS_PASSWORD", "REDIS_CACHE_PASSWORD", "MONGO_PASSWORD"),
        *("MONGO_KEYFILE", "AETHER_JWT_SECRET", "AETHER_CACHE_SECRET"),
        "AETHER_FLOWER_PASSWORD",
    ],
)
def test_compose_refuses_to_start_without_a_secret(variable):
    assert re.search(rf"\$\{{{variable}:\?.+\}}", COMPOSE_TEXT)


def test_the_proxy_passes_event_streams_as_they_come():
    conf = (ROOT / "deploy" / "nginx.conf").read_text()

    assert "proxy_buffering off;" in conf
    silence = re.search(r"proxy_read_timeout (\d+)s;", conf)
    assert silence
    assert int(silence[1]) > 30
