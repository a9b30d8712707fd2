"""`aether users`: roles of accounts, links for new passwords, deletion."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import typer
from pymongo.database import Database

from core.errors import StoreUnavailable
from core.plans import Role
from core.settings import Settings
from core.timing import iso_time
from ops.stack.resolve import is_set
from ops.stack.running import command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory, read_record
from ops.terminal import PlainConsole, say
from storage.accounts.audit import OPERATOR, AuditLog
from storage.accounts.deletions import Deletions
from storage.accounts.password_changes import PasswordChanges
from storage.accounts.users import Accounts, User
from storage.connections import close_all, mongo_database

State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
Email = Annotated[str, typer.Argument(help="The account's e-mail address.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]
users_app = typer.Typer(
    no_args_is_help=True, help="Roles of accounts, links for new passwords, deletion."
)
_console = PlainConsole()


@users_app.command()
def promote(email: Email, state: State = DEFAULT_STATE) -> None:
    """Make an account an administrator, who changes others' plans; a repeat does nothing."""
    _set_role(email, "admin", state)


@users_app.command()
def demote(email: Email, state: State = DEFAULT_STATE) -> None:
    """Make an administrator a user again; a repeat does nothing."""
    _set_role(email, "user", state)


@users_app.command("reset-password")
def reset_password(email: Email, state: State = DEFAULT_STATE) -> None:
    """Print a link by which the account's owner sets a new password, once and within an hour.

    A link that was printed before is void.
    """
    directory = StateDirectory(state.resolve())
    with _database(directory) as (settings, database):
        user = _find(database, email)
        AuditLog(database).add("password.reset_link", user.id, actor=OPERATOR, before="", after="")
        changes = PasswordChanges(database, Accounts(database))
        token, until_ms = changes.make_reset_token(user.id)
    say(f"{_public_url(settings, directory)}/reset-password?token={token}")
    say(f"Works once, until {iso_time(until_ms)}; a link made before is void.")


@users_app.command()
def delete(email: Email, yes: Yes = False, state: State = DEFAULT_STATE) -> None:
    """Delete an account with its jobs and everything else that is held about it, for good."""
    with _database(StateDirectory(state.resolve())) as (_, database):
        user = _find(database, email)
        if not yes:
            typer.confirm(f"Delete {user.email} and all its data for good?", abort=True)
        AuditLog(database).add("account.delete", user.id, actor=OPERATOR, before="", after="")
        Deletions(database).begin(user.id)
    _console.print(f"{user.email} cannot be used any more; upkeep removes its data.")


def _set_role(email: str, role: Role, state: Path) -> None:
    with _database(StateDirectory(state.resolve())) as (_, database):
        user = _find(database, email)
        if user.role != role:
            AuditLog(database).add(
                "role.set", user.id, actor=OPERATOR, before=user.role, after=role
            )
            Accounts(database).set_role(user.id, role)
    _console.print(f"{user.email} is {'an admin' if role == 'admin' else 'a user'}.")


def _find(database: Database[dict[str, Any]], email: str) -> User:
    """Return the account with the address.

    Raises:
        CannotRun: there is none.
    """
    credentials = Accounts(database).find_by_email(email)
    if credentials is None:
        raise CannotRun(f"No account has the address {email}.")
    return credentials.user


def _public_url(settings: Settings, directory: StateDirectory) -> str:
    """Return what links begin with: the setting, or where the local stack listens."""
    if is_set(settings, "public_url"):
        return settings.public_url
    return read_record(directory).api_url or settings.public_url


@contextmanager
def _database(
    directory: StateDirectory,
) -> Iterator[tuple[Settings, Database[dict[str, Any]]]]:
    """Yield the settings and the database; what the operator can act on is printed, and exits 1."""
    try:
        settings = command_settings(directory)
        database = mongo_database(settings)
        try:
            yield settings, database
        finally:
            close_all(database)
    except CannotRun as error:
        problem = str(error)
    except StoreUnavailable as error:
        problem = error.message
    else:
        return
    say(problem, err=True)
    raise typer.Exit(1)
