"""`aether secrets`: replace the secrets that the local stack generated."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final, Literal

import typer

from ops.stack.rotation import Rotated, forget_previous, rotate
from ops.stack.running import supervisor_environment
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import say

secrets_app = typer.Typer(no_args_is_help=True, help="Secrets that the local stack generated.")
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
Which = Literal["jwt", "cache", "all"]
_NAMES: Final[dict[Which, tuple[Rotated, ...]]] = {
    "jwt": ("jwt_secret",),
    "cache": ("cache_secret",),
    "all": ("jwt_secret", "cache_secret"),
}
_DONE: Final[dict[Rotated, str]] = {
    "jwt_secret": (
        "Tokens are signed with a new secret. Those of the former one are read until the next"
        " rotation or `aether secrets forget-previous`; those of the one before are void."
    ),
    "cache_secret": (
        "Answers are kept under a new key. Those of before are not found any more, and expire."
    ),
}


@secrets_app.command("rotate")
def rotate_command(
    which: Annotated[Which, typer.Argument(help="Of tokens, of the cache's names, or both.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Replace a secret by a new one, which the stack takes at its next start."""
    directory = StateDirectory(state.resolve())
    with _exit_on_cannot_run():
        rotate(directory, _NAMES[which])
        for name in _NAMES[which]:
            say(_DONE[name])
        _say_when(directory)


@secrets_app.command("forget-previous")
def forget_command(state: State = DEFAULT_STATE) -> None:
    """Read only tokens of the current secret; sessions of the former one end."""
    directory = StateDirectory(state.resolve())
    with _exit_on_cannot_run():
        if not forget_previous(directory):
            say("There is no previous secret.")
            return
        say("Tokens of the previous secret are void.")
        _say_when(directory)


def _say_when(directory: StateDirectory) -> None:
    if supervisor_environment(directory) is None:
        say("This holds from the next `aether up`.")
    else:
        say("This holds when the stack is started again: `aether stop`, then `aether up`.")


@contextmanager
def _exit_on_cannot_run() -> Iterator[None]:
    """Print what the operator can act on to standard error and exit with 1."""
    try:
        yield
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
