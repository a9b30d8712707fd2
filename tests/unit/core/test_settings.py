"""Settings: what production refuses, and that no secret is shown."""

from __future__ import annotations

import secrets
from typing import Any, get_args

import pytest
from pydantic import SecretStr, ValidationError

from core.settings import ROLES, SECRETS, Settings

STRONG = "Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA"
PRODUCTION: dict[str, Any] = {
    "env": "production",
    "jwt_secret": STRONG,
    "cache_secret": STRONG.swapcase(),
    "flower_password": STRONG[::-1],
    "groq_api_key": "gsk_canary",
}


@pytest.fixture(autouse=True)
def _empty_environment(monkeypatch):
    for name in ("AETHER_ENV", "AETHER_JWT_SECRET", "AETHER_FLOWER_PASSWORD", "GROQ_API_KEY"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("role", ROLES)
def test_production_starts_when_every_secret_is_strong(role):
    Settings(**PRODUCTION).check_secrets(role)


@pytest.mark.parametrize("name", ["jwt_secret", "cache_secret", "flower_password"])
@pytest.mark.parametrize(
    ("weak", "reason"),
    [
        ("", "is missing"),
        ("Wq7vN2xK9mT4bZ8r", "is shorter than 32 characters"),
        ("a" * 40, "is a well-known value"),
        ("changeme" * 5, "is a well-known value"),
        ("secretsecretsecretsecret-aether-1", "is a well-known value"),
    ],
)
def test_production_refuses_a_role_whose_secret_is_weak(name, weak, reason):
    settings = Settings(**PRODUCTION | {name: weak})

    for role in SECRETS[name]:
        with pytest.raises(ValueError, match=f"AETHER_{name.upper()} {reason}") as refusal:
            settings.check_secrets(role)
        assert not weak or weak not in str(refusal.value)


def test_production_refuses_a_weak_previous_secret_and_needs_none():
    settings = Settings(**PRODUCTION | {"jwt_secret_previous": "changeme" * 5})

    with pytest.raises(ValueError, match="AETHER_JWT_SECRET_PREVIOUS is a well-known value"):
        settings.check_secrets("api")
    settings.check_secrets("worker")


def test_production_refuses_a_worker_when_groq_is_to_answer_without_a_key():
    settings = Settings(**PRODUCTION | {"groq_api_key": ""})

    with pytest.raises(ValueError, match="GROQ_API_KEY is missing; production refuses to start"):
        settings.check_secrets("worker")


def test_production_needs_no_key_when_another_server_answers():
    values = PRODUCTION | {"groq_api_key": "", "llm_url": "http://127.0.0.1:8080"}

    Settings(**values).check_secrets("worker")


@pytest.mark.parametrize("role", ROLES)
def test_production_starts_a_role_without_the_secrets_of_the_others(role):
    own = {name: value for name, value in PRODUCTION.items() if role in SECRETS.get(name, ROLES)}

    Settings(**own).check_secrets(role)


def test_development_starts_without_secrets():
    Settings().check_secrets("worker")


def holds_secret(annotation):
    return annotation is SecretStr or any(map(holds_secret, get_args(annotation)))


def test_every_secret_says_who_sees_it():
    secret = {n for n, field in Settings.model_fields.items() if holds_secret(field.annotation)}

    assert set(SECRETS) == secret


def test_settings_show_no_secret_when_they_are_printed():
    canary = secrets.token_urlsafe(32)
    settings = Settings(
        jwt_secret=canary,
        jwt_secret_previous=canary,
        cache_secret=canary,
        groq_api_key=canary,
        flower_password=canary,
        redis_url=f"redis://:{canary}@127.0.0.1",
        mongo_url=f"mongodb://user:{canary}@127.0.0.1",
        broker_url=f"amqp://user:{canary}@127.0.0.1",
    )

    printed = f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"

    assert canary not in printed


def test_settings_cannot_change_when_they_are_read():
    settings = Settings()

    with pytest.raises(ValidationError):
        settings.port = 1
