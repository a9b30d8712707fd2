"""`aether secrets`: what it replaces, what it keeps, and what it refuses."""

from __future__ import annotations

import json
import stat

import pytest
from typer.testing import CliRunner

from core.settings import read_settings
from ops.cli import secrets as commands
from ops.cli.main import app
from ops.stack import rotation
from ops.stack.readiness import free_port
from ops.stack.resolve import resolve
from ops.stack.state import StateDirectory, keep_secrets


@pytest.fixture
def directory(tmp_path):
    directory = StateDirectory(tmp_path / "var")
    directory.create()
    keep_secrets(directory)
    return directory


@pytest.fixture
def secrets(directory):
    """Return what runs the command and returns its exit status and its text."""

    def secrets(*arguments):
        command = ["secrets", *arguments, "--state", str(directory.root)]
        shown = CliRunner().invoke(app, command)
        return shown.exit_code, shown.output

    return secrets


@pytest.fixture
def start(directory, monkeypatch):
    """Return what takes the directory's secrets as a stack does when it starts, and runs on."""
    monkeypatch.setenv("AETHER_PORT", str(free_port()))
    monkeypatch.setenv("AETHER_FLOWER_PORT", str(free_port()))

    def start():
        taken = resolve(read_settings(), directory).environment()
        for module in (rotation, commands):
            monkeypatch.setattr(module, "supervisor_environment", lambda _: taken)
        return taken

    return start


def stored(directory):
    return json.loads(directory.secrets.read_text())


def test_former_secret_of_tokens_is_kept_when_a_new_one_takes_its_place(secrets, directory, start):
    former = stored(directory)

    status, text = secrets("rotate", "jwt")

    assert status == 0
    assert "until the next rotation or `aether secrets forget-previous`" in text
    assert "This holds from the next `aether up`." in text
    taken = start()
    assert taken["AETHER_JWT_SECRET_PREVIOUS"] == former["jwt_secret"]
    assert taken["AETHER_JWT_SECRET"] not in former.values()
    assert taken["AETHER_CACHE_SECRET"] == former["cache_secret"]
    assert stat.S_IMODE(directory.secrets.stat().st_mode) == 0o600
    assert not any(secret in text for secret in stored(directory).values())


def test_key_of_the_cache_has_no_previous_one(secrets, directory):
    former = stored(directory)

    assert secrets("rotate", "cache")[0] == 0

    changed = stored(directory)
    assert changed["cache_secret"] != former["cache_secret"]
    assert changed | {"cache_secret": ""} == former | {"cache_secret": ""}


def test_both_are_replaced_and_nothing_else_when_all_are(secrets, directory):
    former = stored(directory)

    assert secrets("rotate", "all")[0] == 0

    changed = stored(directory)
    assert {name for name in changed if changed[name] != former.get(name)} == {
        "jwt_secret",
        "jwt_secret_previous",
        "cache_secret",
    }


def test_previous_secret_is_dropped_by_the_next_rotation(secrets, directory, start):
    first = stored(directory)["jwt_secret"]
    secrets("rotate", "jwt")
    second = start()["AETHER_JWT_SECRET"]

    assert secrets("rotate", "jwt")[0] == 0

    assert stored(directory)["jwt_secret_previous"] == second
    assert first not in stored(directory).values()


def test_previous_secret_is_dropped_when_it_is_to_be_forgotten(secrets, directory, start):
    secrets("rotate", "jwt")
    start()

    status, text = secrets("forget-previous")

    assert (status, "aether stop" in text) == (0, True)
    assert "jwt_secret_previous" not in stored(directory)
    assert start()["AETHER_JWT_SECRET_PREVIOUS"] == ""
    assert secrets("forget-previous") == (0, "There is no previous secret.\n")


@pytest.mark.parametrize("command", [("rotate", "jwt"), ("forget-previous",)])
def test_no_token_in_use_becomes_void_while_the_stack_has_not_taken_the_last_rotation(
    secrets, directory, start, command
):
    start()
    secrets("rotate", "jwt")
    before = stored(directory)

    status, text = secrets(*command)

    assert status == 1
    assert "Restart it to take the last rotation" in text
    assert stored(directory) == before


def test_secret_of_the_environment_is_not_replaced(secrets, directory, monkeypatch):
    monkeypatch.setenv("AETHER_JWT_SECRET", "of the environment")
    before = stored(directory)

    status, text = secrets("rotate", "all")

    assert status == 1
    assert "AETHER_JWT_SECRET is set in this environment" in text
    assert stored(directory) == before


def test_previous_secret_is_not_added_to_one_of_the_environment(
    secrets, directory, start, monkeypatch
):
    secrets("rotate", "jwt")
    monkeypatch.setenv("AETHER_JWT_SECRET", "of the environment")

    assert start()["AETHER_JWT_SECRET_PREVIOUS"] == ""


def test_directory_without_secrets_is_named(secrets, directory):
    directory.secrets.unlink()

    status, text = secrets("rotate", "all")

    assert status == 1
    assert "holds no generated secrets" in text
    assert not directory.secrets.exists()


def test_other_secrets_than_those_that_exist_are_refused(secrets):
    assert secrets("rotate", "flower")[0] == 2
