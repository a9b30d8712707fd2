"""New secrets in the place of those that a stack's directory generated; its next start takes them.

The former secret of tokens is kept beside the new one, and is still read.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

from core.settings import variable_of
from ops.stack.resolve import is_set
from ops.stack.running import checked_settings, supervisor_environment
from ops.stack.state import (
    PREVIOUS,
    CannotRun,
    StateDirectory,
    keep_secrets,
    new_secret,
    write_secrets,
)

#: The secrets that can be rotated: that of tokens, and the key of the cache's names.
Rotated = Literal["jwt_secret", "cache_secret"]


def rotate(directory: StateDirectory, names: Iterable[Rotated]) -> None:
    """Replace secrets by new ones; a former secret of tokens is kept as the previous one.

    Raises:
        CannotRun: the directory has no secrets; the stack uses others than its own; or it has not
            been started with the ones of the last rotation, whose tokens would become void.
    """
    kept = _read(directory)
    changed = dict(kept)
    for name in names:
        _require_in_use(directory, name, kept[name])
        changed[name] = new_secret()
        if name == "jwt_secret":
            changed[PREVIOUS] = kept[name]
    write_secrets(directory, changed)


def forget_previous(directory: StateDirectory) -> bool:
    """Drop the previous secret of tokens; False when there is none.

    Raises:
        CannotRun: the directory has no secrets, or the stack that runs has not been started with
            those of the last rotation: every token of it would become void.
    """
    kept = _read(directory)
    if PREVIOUS not in kept:
        return False
    _require_in_use(directory, "jwt_secret", kept["jwt_secret"])
    write_secrets(directory, {name: kept[name] for name in kept if name != PREVIOUS})
    return True


def _read(directory: StateDirectory) -> dict[str, str]:
    if not directory.secrets.exists():
        raise CannotRun(
            f"{directory.root} holds no generated secrets; those of a deployment are replaced where"
            " they are set, see docs/operations.md."
        )
    return keep_secrets(directory)


def _require_in_use(directory: StateDirectory, name: Rotated, kept: str) -> None:
    variable, running = variable_of(name), supervisor_environment(directory)
    if running is None:
        if is_set(checked_settings(), name):
            raise CannotRun(
                f"{variable} is set in this environment, and a stack uses that; replace it there."
            )
    elif running.get(variable) != kept:
        raise CannotRun(
            f"The running stack uses another {variable} than {directory.secrets} holds. Restart it"
            " to take the last rotation; if the environment set it, replace it there."
        )
