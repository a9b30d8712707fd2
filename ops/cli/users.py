"""`aether users`: the accounts' roles, which nobody can set over HTTP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from core.errors import StoreUnavailable
from core.plans import Role
from ops.stack.running import command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import PlainConsole, say
from storage.accounts.audit import OPERATOR, AuditLog
from storage.accounts.users import Accounts
from storage.connections import close_all, mongo_database

State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
Email = Annotated[str, typer.Argument(help="The account's e-mail address.")]
users_app = typer.Typer(no_args_is_help=True, help="Make accounts administrators, or users again.")
_console = PlainConsole()


@users_app.command()
def promote(email: Email, state: State = DEFAULT_STATE) -> None:
    """Make an account an administrator, who changes others' plans; a repeat does nothing."""
    _set_role(email, "admin", state)


@users_app.command()
def demote(email: Email, state: State = DEFAULT_STATE) -> None:
    """Make an administrator a user again; a repeat does nothing."""
    _set_role(email, "user", state)


def _set_role(email: str, role: Role, state: Path) -> None:
    try:
        settings = command_settings(StateDirectory(state.resolve()))
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
    database = mongo_database(settings)
    try:
        credentials = Accounts(database).find_by_email(email)
        if credentials is None:
            say(f"No account has the address {email}.", err=True)
            raise typer.Exit(1)
        user = credentials.user
        if user.role != role:
            AuditLog(database).add(
                "role.set", user.id, actor=OPERATOR, before=user.role, after=role
            )
            Accounts(database).set_role(user.id, role)
    except StoreUnavailable as error:
        say(error.message, err=True)
        raise typer.Exit(1) from error
    finally:
        close_all(database)
    _console.print(f"{user.email} is {'an admin' if role == 'admin' else 'a user'}.")
