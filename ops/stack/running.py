"""The settings of the stack that runs in a state directory, for commands in other terminals."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import psutil
from pydantic import SecretStr

from core.problems import SettingsError
from core.settings import Settings, read_settings, settings_of, variable_of
from ops.stack.leftovers import stack_processes
from ops.stack.resolve import SECRET_ADDRESSES, is_set
from ops.stack.state import CannotRun, StateDirectory, read_record


def command_settings(directory: StateDirectory) -> Settings:
    """Return the settings of the stack in the directory, whatever this terminal's variables are.

    While none runs: those of the environment, and the addresses of the last start where it names
    none.

    Raises:
        CannotRun: no stack was started here, and the environment names no Redis or no MongoDB; or a
            variable is wrong.
    """
    environment = supervisor_environment(directory)
    if environment is not None:
        return settings_of(environment)
    settings = checked_settings()
    recorded = read_record(directory).addresses
    for name in ("redis_url", "mongo_url"):
        if name not in recorded and not is_set(settings, name):
            raise CannotRun(
                f"No stack was started on {directory.root}, and {variable_of(name)} is not set."
            )
    chosen: dict[str, Any] = {
        name: SecretStr(value) if name in SECRET_ADDRESSES else value
        for name, value in recorded.items()
        if not is_set(settings, name)
    }
    return settings.model_copy(update=chosen)


def supervisor_environment(directory: StateDirectory) -> Mapping[str, str] | None:
    """Return the variables that the running stack's supervisor was given; None when none runs."""
    for process in stack_processes(directory):
        with suppress(psutil.Error):
            if "supervisor.supervisord" in process.cmdline():
                return process.environ()
    return None


def checked_settings() -> Settings:
    """Read the environment.

    Raises:
        CannotRun: with a sentence for each variable that is wrong.
    """
    try:
        return read_settings()
    except SettingsError as error:
        raise CannotRun(str(error)) from None
