"""Turns settings into a stack: which parts are embedded, on which ports, with which secrets."""

from __future__ import annotations

from typing import Any, Final

from pydantic import SecretStr

from core.settings import ROLES, Settings
from ops.models.choice import Choice, catalogue_file, read_choice
from ops.stack import credentials
from ops.stack.programs import EMBEDDED, Stack
from ops.stack.readiness import free_port, port_is_free
from ops.stack.state import (
    GENERATED,
    PREVIOUS,
    CannotRun,
    StateDirectory,
    keep_secrets,
    read_record,
)

_URL: Final = {"redis": "redis_url", "mongo": "mongo_url", "llm": "llm_url"}
#: The settings that say where a stack's servers are: those that may hold a password, and others.
SECRET_ADDRESSES: Final = ("redis_url", "broker_url", "cache_redis_url", "mongo_url")
_PLAIN_ADDRESSES: Final = ("mongo_database", "llm_url", "llm_provider")


def resolve(
    settings: Settings, directory: StateDirectory, *, workers: int = 1, flower: bool = True
) -> Stack:
    """Choose what the environment leaves open; the state directory keeps ports and secrets.

    Raises:
        CannotRun: the port of the API or of Flower is taken, or production lacks a secret.
    """
    _check_secrets(settings)
    _check_fixed_ports(settings, flower=flower)
    parts = embedded_parts(settings)
    choice = read_choice(directory) if "llm" in parts else None
    if choice is not None and choice.url:
        parts = tuple(part for part in parts if part != "llm")
    ports = choose_ports(parts, read_record(directory).ports)
    secrets = keep_secrets(directory)
    chosen: dict[str, Any] = {
        name: SecretStr(secrets[name])
        for name in GENERATED
        if not getattr(settings, name).get_secret_value()
    }
    # It belongs to the generated one, and to none of the environment.
    if "jwt_secret" in chosen and not settings.jwt_secret_previous.get_secret_value():
        chosen[PREVIOUS] = SecretStr(secrets.get(PREVIOUS, ""))
    for part in parts:
        chosen |= _addresses(part, ports[part], secrets)
    if choice is not None:
        chosen |= _of_choice(choice, settings, directory)
    return Stack(
        directory=directory,
        settings=settings.model_copy(update=chosen),
        model=choice if choice is not None and choice.path else None,
        embedded=parts,
        ports=ports,
        workers=workers,
        flower=flower,
    )


def addresses_of(settings: Settings) -> dict[str, str]:
    """Return the settings that a command needs to reach the servers, in plain text."""
    secret = {name: getattr(settings, name) for name in SECRET_ADDRESSES}
    plain: dict[str, str] = {name: getattr(settings, name) for name in _PLAIN_ADDRESSES}
    return {name: url.get_secret_value() for name, url in secret.items() if url} | plain


def _of_choice(choice: Choice, settings: Settings, directory: StateDirectory) -> dict[str, Any]:
    """Return the settings of the model that `aether model use` chose."""
    chosen: dict[str, Any] = {}
    if settings.models_file is None:
        chosen["models_file"] = catalogue_file(directory)
    if choice.url:
        chosen |= {"llm_url": choice.url, "llm_provider": "custom"}
    return chosen


def embedded_parts(settings: Settings) -> tuple[str, ...]:
    """Return the parts that no variable of the environment replaces."""
    replaced = {part for part, name in _URL.items() if is_set(settings, name)}
    if settings.groq_api_key.get_secret_value():
        replaced.add("llm")
    return tuple(part for part in EMBEDDED if part not in replaced)


def choose_ports(parts: tuple[str, ...], remembered: dict[str, int]) -> dict[str, int]:
    """Return a free port for each server: that of its last start unless it is taken now."""
    return {
        part: remembered[part]
        if part in remembered and port_is_free(remembered[part])
        else free_port()
        for part in parts
    }


def is_set(settings: Settings, name: str) -> bool:
    """Say whether the environment gives the setting a value."""
    return name in settings.model_fields_set and bool(getattr(settings, name))


def _addresses(part: str, port: int, secrets: dict[str, str]) -> dict[str, Any]:
    if part == "redis":
        return {"redis_url": SecretStr(credentials.redis_url(port, secrets))}
    if part == "mongo":
        return {"mongo_url": SecretStr(credentials.mongo_url(port, secrets))}
    return {"llm_url": f"http://127.0.0.1:{port}", "llm_provider": "embedded"}


def _check_secrets(settings: Settings) -> None:
    for role in ROLES:
        try:
            settings.check_secrets(role)
        except ValueError as problem:
            raise CannotRun(f"{problem}.") from problem


def _check_fixed_ports(settings: Settings, *, flower: bool) -> None:
    wanted = [("AETHER_PORT", settings.host, settings.port)]
    if flower:
        wanted.append(("AETHER_FLOWER_PORT", settings.flower_host, settings.flower_port))
    for variable, host, port in wanted:
        if not port_is_free(port, host):
            raise CannotRun(f"Port {port} is taken by another program; set {variable}.")
