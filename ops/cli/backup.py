"""`aether backup` and `aether restore`: the record in a file, and a stack that goes on from it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from core.errors import ServiceUnavailable
from core.settings import Settings
from ops.backup import archive
from ops.backup.place import (
    embedded_redis_is_used,
    empty_embedded_redis,
    has_embedded_redis,
    readable,
    replaceable,
)
from ops.backup.restore import Restored, check_version, forget_all, has_keys, is_used, restore
from ops.backup.save import save
from ops.stack.state import (
    DEFAULT_STATE,
    GENERATED,
    PREVIOUS,
    CannotRun,
    StateDirectory,
    keep_secrets,
    read_secrets,
    write_secrets,
)
from ops.terminal import PlainConsole, say
from storage.connections import close_all, mongo_database, redis_client
from storage.format import OtherFormat
from storage.records.reconciliation import Reconciliation

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

    Records = Database[dict[str, Any]]

State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
#: Reading or writing many documents at once may take a busy server long.
_ANSWER_TIMEOUT_S: Final = 60.0
#: Those of the servers are each machine's own.
_SAVED_SECRETS: Final = (*GENERATED, PREVIOUS)
_console = PlainConsole()


def backup_command(
    to: Annotated[Path, typer.Argument(help="The new file, or a folder for it.")],
    state: State = DEFAULT_STATE,
    secrets: Annotated[
        bool, typer.Option(help="Save the generated secrets of the state directory, too.")
    ] = True,
) -> None:
    """Write the database and the secrets to a file; safe while the stack runs."""
    directory = StateDirectory(state.resolve())
    with _exit_on_problems(), readable(directory) as settings:
        path = _file_in(to.resolve())
        kept = read_secrets(directory) if secrets else {}
        chosen = {name: kept[name] for name in _SAVED_SECRETS if kept.get(name)}
        database = mongo_database(settings, answer_timeout_s=_ANSWER_TIMEOUT_S)
        try:
            with _console.status("Saving …"), archive.new_archive(path) as writer:
                saved = save(database, chosen, writer)
        finally:
            close_all(database)
        say(
            f"{path}: {saved.documents} documents of {saved.collections} collections, "
            f"{path.stat().st_size} bytes."
        )
        if chosen:
            say(
                f"It holds {', '.join(chosen)}: whoever reads it can sign in as anybody. "
                "Keep it as a password; --no-secrets leaves them out."
            )


def restore_command(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="What `aether backup` wrote.")],
    state: State = DEFAULT_STATE,
    replace: Annotated[
        bool, typer.Option("--replace", help="Remove what the database and Redis hold now.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Only read the file.")] = False,
) -> None:
    """Put a backup into the database of a stack that does not run."""
    directory = StateDirectory(state.resolve())
    with _exit_on_problems():
        with _console.status("Checking the file …"):
            about = archive.verify(path)
            check_version(path, about)
        say(f"{path} is whole: {about.database}, as of {about.created_at}.")
        if check:
            return
        with replaceable(directory) as settings, _stores(settings) as (database, redis):
            _refuse_used(directory, settings, database, redis, replace=replace)
            with _console.status("Restoring …"):
                restored = restore(path, database, Reconciliation(redis, database))
                _empty_redis(directory, settings, redis)
            _restore_secrets(path, directory)
        _say_restored(restored)


@contextmanager
def _stores(settings: Settings) -> Iterator[tuple[Records, Redis]]:
    database = mongo_database(settings, answer_timeout_s=_ANSWER_TIMEOUT_S)
    redis = redis_client(settings, name="aether-ops", answer_timeout_s=_ANSWER_TIMEOUT_S)
    try:
        yield database, redis
    finally:
        close_all(database, redis)


def _file_in(to: Path) -> Path:
    """Return the file to write: in a folder, one that is named after the time (UTC)."""
    if to.is_dir():
        return to / f"aether-{datetime.now(UTC):%Y%m%dT%H%M%SZ}.tar.gz"
    if not to.parent.is_dir():
        raise CannotRun(f"There is no folder {to.parent}.")
    return to


def _refuse_used(
    directory: StateDirectory,
    settings: Settings,
    database: Records,
    redis: Redis,
    *,
    replace: bool,
) -> None:
    """Refuse to remove anything that the operator has not given up.

    Raises:
        CannotRun: MongoDB or Redis holds data.
    """
    if replace:
        return
    if is_used(database):
        raise CannotRun(
            f"The database {database.name} holds data. Restore into an empty one, or give up what "
            "it holds: --replace."
        )
    is_embedded = has_embedded_redis(settings)
    if embedded_redis_is_used(directory) if is_embedded else has_keys(redis):
        raise CannotRun(
            "Redis holds jobs and sums of another time than the backup. --replace removes them."
        )


def _empty_redis(directory: StateDirectory, settings: Settings, redis: Redis) -> None:
    if has_embedded_redis(settings):
        empty_embedded_redis(directory)
    else:
        forget_all(redis)


def _restore_secrets(path: Path, directory: StateDirectory) -> None:
    """Put the saved secrets into the directory; those of its servers stay its own."""
    found = {
        name: value for name, value in archive.secrets_in(path).items() if name in _SAVED_SECRETS
    }
    if found:
        write_secrets(directory, keep_secrets(directory) | found)


def _say_restored(restored: Restored) -> None:
    say(f"{restored.documents} documents restored.")
    if restored.settlements:
        say(f"{restored.settlements} jobs had ended during the backup: settlements added.")
    say(f"{restored.unfinished} unfinished jobs are answered when the stack starts.")


@contextmanager
def _exit_on_problems() -> Iterator[None]:
    """Print what the operator can act on to standard error and exit with 1."""
    try:
        yield
    except (CannotRun, OtherFormat) as error:
        problem = str(error)
    except ServiceUnavailable as error:
        problem = f"{error.message} ({type(error.__cause__).__name__})"
    else:
        return
    say(problem, err=True)
    raise typer.Exit(1)
