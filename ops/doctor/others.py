"""The checks of the broker, MongoDB, the model, the settings and the machine."""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
import uuid
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Final

import httpx
import psutil

from agents.groq.model import GroqModel
from core.chat import Message, ModelRequest, TextDelta
from core.model_errors import ModelError
from core.models import read_catalogue
from core.routing_rules import read_rules
from core.settings import ROLES, Settings
from core.stop import StopSignal
from core.strays import is_stray
from ops.doctor.checks import Check, Missing, Weak
from ops.doctor.operators import probed, refused_operators
from ops.stack.readiness import port_is_free
from storage.format import OtherFormat, require_format
from storage.records.migrations import pending

_LEAST_DISK_BYTES: Final = 1 << 30
_LEAST_MEMORY_BYTES: Final = 512 << 20
_FILES: Final = 4_700
_CALL_WITHIN_S: Final = 60.0


def settings_checks(settings: Settings) -> Iterator[Check]:
    """Yield the checks that need no server."""
    yield Check("settings", partial(_secrets, settings))
    yield Check("settings", partial(_files, settings))
    yield Check("settings", _strays)


def machine_checks(folder: Path) -> Iterator[Check]:
    """Yield the checks of this machine; `folder` is where data lies."""
    for run in (_python, _open_files, partial(_disk, folder), _memory):
        yield Check("machine", run)


def port_checks(settings: Settings, *, runs: bool, flower: bool) -> Iterator[Check]:
    """Yield the checks of the ports to listen on; those of a stack that runs are taken rightly."""
    wanted = [("AETHER_PORT", settings.host, settings.port)]
    if flower:
        wanted.append(("AETHER_FLOWER_PORT", settings.flower_host, settings.flower_port))
    for variable, host, port in wanted:
        yield Check("ports", partial(_port, variable, host, port, runs))


def broker_check(app: Any) -> Check:
    """Return the check of Celery's broker."""
    return Check("broker", partial(_broker, app))


def mongo_checks(database: Any, redis: Any) -> Iterator[Check]:
    """Yield the checks of MongoDB, and of the format that both stores are marked with."""
    for run in (_mongo, _operators, _indexes):
        yield Check("mongodb", partial(run, database))
    yield Check("mongodb", partial(_format, database, redis))


def model_check(settings: Settings) -> Check:
    """Return the check that asks the model."""
    return Check("model", partial(_model, settings))


def _secrets(settings: Settings) -> str:
    for role in ROLES:
        try:
            settings.check_secrets(role)
        except ValueError as problem:
            raise Missing(f"{problem}.") from problem
    return f"Every variable is right; secrets fit {settings.env}."


def _files(settings: Settings) -> str:
    read_catalogue(settings.llm_provider, settings.models_file)
    read_rules(settings.routing_file)
    return "Catalogue and routing rules can be read."


def _strays() -> str:
    found = sorted(name for name in os.environ if is_stray(name))
    if found:
        raise Weak(f"{', '.join(found)} belong to libraries; Aether does not take them.")
    return "No library's variable is set."


def _python() -> str:
    if not (3, 11) <= sys.version_info[:2] <= (3, 13):
        raise Missing(f"Python is {sys.version.split()[0]}; 3.11 to 3.13 are supported.")
    return f"Python {sys.version.split()[0]}."


def _open_files() -> str:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < _FILES:
        raise Weak(f"A process may open {hard} files; 4,000 connections need {_FILES} (ulimit -n).")
    return "A process may open enough files."


def _disk(folder: Path) -> str:
    there = next(path for path in (folder, *folder.parents) if path.exists())
    free = shutil.disk_usage(there).free
    if free < _LEAST_DISK_BYTES:
        raise Weak(f"{there} has {free >> 20} MiB left; stores that cannot write refuse jobs.")
    return f"{free >> 30} GiB of disk are free."


def _memory() -> str:
    free = psutil.virtual_memory().available
    if free < _LEAST_MEMORY_BYTES:
        raise Weak(
            f"{free >> 20} MiB of memory are free; a stack with its model takes about 1.5 GiB."
        )
    return f"{free >> 20} MiB of memory are free."


def _port(variable: str, host: str, port: int, runs: bool) -> str:
    if runs:
        return f"{port} is the running stack's."
    if not port_is_free(port, host):
        raise Missing(f"Port {port} is taken; set {variable}, or end what listens there.")
    return f"Port {port} is free."


def _broker(app: Any) -> str:
    name = f"aether.doctor.{uuid.uuid4().hex[:8]}"
    with app.connection_for_write(connect_timeout=5) as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
        queue = connection.SimpleQueue(name, queue_opts={"auto_delete": True})
        try:
            queue.put({"hello": 1})
            message = queue.get(timeout=5)
            message.ack()
        finally:
            queue.queue.delete()
            queue.close()
    return "A message went through the broker and came back."


def _mongo(database: Any) -> str:
    hello = database.client.admin.command("hello")
    version = database.client.server_info()["version"]
    if "setName" not in hello:
        raise Weak(f"MongoDB {version} is no replica set; a majority write is no more than one.")
    return f"MongoDB {version} answers, as the replica set {hello['setName']}."


def _operators(database: Any) -> str:
    if refused := refused_operators(database):
        raise Missing(
            f"MongoDB does not do {', '.join(refused)} as Aether uses it; MongoDB 6 or newer does."
        )
    return f"It does the {len(probed())} operators and index options that Aether uses."


def _indexes(database: Any) -> str:
    waiting = pending(database)
    if waiting:
        raise Missing(f"{len(waiting)} migrations are pending; run `aether db migrate`.")
    return "Indexes and validators are of this version."


def _format(database: Any, redis: Any) -> str:
    try:
        require_format(redis, database)
    except OtherFormat as other:
        raise Missing(str(other)) from other
    return "Both stores hold this version's format."


def _model(settings: Settings) -> str:
    catalogue = read_catalogue(settings.llm_provider, settings.models_file)
    model = GroqModel(settings.groq_api_key.get_secret_value(), settings.llm_url, max_connections=1)
    host, began_s = httpx.URL(settings.llm_url).host, time.monotonic()
    try:
        served = model.list_models(timeout_s=10.0)
        wanted = set(catalogue.tiers.values())
        if missing := wanted - served:
            raise Weak(f"{host} does not list {', '.join(sorted(missing))}.")
        request = ModelRequest(
            model=catalogue.tiers["quick"],
            messages=(Message("user", "Say yes."),),
            max_tokens=16,
        )
        deadline = time.monotonic() + _CALL_WITHIN_S
        answer = model.stream(request, deadline=deadline, stop=StopSignal())
        if not any(isinstance(item, TextDelta) for item in answer):
            raise Missing(f"{host} answered without text.")
    except ModelError as error:
        raise Missing(
            f"{host}: {error.message} Is AETHER_LLM_URL right, and GROQ_API_KEY?"
        ) from error
    finally:
        model.close()
    return f"{host} answered in {time.monotonic() - began_s:.1f} s."
