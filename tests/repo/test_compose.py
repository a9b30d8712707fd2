"""docker-compose.yml, ops/stack/programs.py and the settings say the same."""

from __future__ import annotations

import re
from itertools import takewhile

import pytest

from core.settings import SECRETS, variable_of
from ops.stack import programs
from ops.stack.state import ROOT
from tests.repo.compose import OWN, SERVICES, command_of
from tests.repo.compose import TEXT as COMPOSE_TEXT
from tests.repo.tree import setting_names
from workers.names import QUEUES

IN_STACK = {
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
    withheld = set(programs.withheld(service))

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
def test_every_service_has_a_health_check_and_comes_back(service):
    assert SERVICES[service]["healthcheck"]["test"]
    assert SERVICES[service]["restart"] == "unless-stopped"


def test_only_the_proxy_is_published_and_flower_to_this_host_alone():
    published = {name: service["ports"] for name, service in SERVICES.items() if "ports" in service}

    assert set(published) == {"nginx", "flower"}
    assert all(port.startswith("127.0.0.1:") for port in published["flower"])


@pytest.mark.parametrize(
    "variable",
    ["GROQ_API_KEY", "REDIS_PASSWORD", "AETHER_JWT_SECRET", "AETHER_FLOWER_PASSWORD"],
)
def test_compose_refuses_to_start_without_a_secret(variable):
    assert re.search(rf"\$\{{{variable}:\?.+\}}", COMPOSE_TEXT)


def test_the_proxy_passes_event_streams_as_they_come():
    conf = (ROOT / "deploy" / "nginx.conf").read_text()

    assert "proxy_buffering off;" in conf
    silence = re.search(r"proxy_read_timeout (\d+)s;", conf)
    assert silence
    assert int(silence[1]) > 30
