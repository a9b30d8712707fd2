"""Who may use the embedded Redis and database: nobody else on the machine.

Both listen on loopback, which every user of a machine reaches. So Aether's programs log in with a
generated password as a user without commands for administration, and drills as an operator.
"""

from __future__ import annotations

import hashlib
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

import pymongo
from pymongo.errors import OperationFailure, PyMongoError

from core.settings import Settings
from ops.stack.readiness import free_port, mongo_answers, wait_until
from ops.stack.state import CannotRun, StateDirectory, keep_secrets, read_record, write_private

USER: Final = "aether"
OPERATOR: Final = "operator"
#: Neither administration nor what destroys or reads everything at once; `info` has no secrets,
#: and a connection may name itself.
_ALLOWED: Final = "+@all -@admin -@dangerous +info +client|setname +client|getname +client|id"
_USER_EXISTS: Final = 51003
_SERVER_WITHIN_S: Final = 30.0
_ANSWER_WITHIN_MS: Final = 10_000


def redis_url(port: int, secrets: Mapping[str, str]) -> str:
    return f"redis://{USER}:{secrets['redis_password']}@127.0.0.1:{port}/0"


def mongo_url(port: int, secrets: Mapping[str, str]) -> str:
    login = f"{USER}:{secrets['mongo_password']}"
    return f"mongodb://{login}@127.0.0.1:{port}/?directConnection=true&authSource=admin"


def operator_redis_url(settings: Settings, directory: StateDirectory) -> str:
    """Return where an operator reaches the stack's Redis; an external one has no user of ours."""
    url = settings.redis_url.get_secret_value()
    parts = urlsplit(url)
    if parts.username != USER or parts.port != read_record(directory).ports.get("redis"):
        return url
    password = keep_secrets(directory)["redis_operator_password"]
    host = f"{OPERATOR}:{password}@{parts.hostname}:{parts.port}"
    return urlunsplit(parts._replace(netloc=host))


def write_redis_users(path: Path, secrets: Mapping[str, str]) -> None:
    """Write the ACL file that the embedded Redis reads at its start; it holds hashes only."""
    write_private(
        path,
        "user default reset off\n"
        f"user {USER} reset on #{_sha256(secrets['redis_password'])} ~* &* {_ALLOWED}\n"
        f"user {OPERATOR} reset on #{_sha256(secrets['redis_operator_password'])} ~* &* +@all\n",
    )


def ensure_database_user(
    command_on: Callable[[int], tuple[str, ...]], data: Path, password: str
) -> None:
    """Make the database's user before the database asks everybody for a password.

    The server knows no first user, so it runs for a moment without passwords, on a port that nobody
    knows; a mark beside its data says that the user has this password.

    Args:
        command_on: returns the server's command, without passwords, on a port.

    Raises:
        CannotRun: the server did not start or did not take the user.
    """
    mark = data / ".user"
    if mark.exists() and mark.read_text() == _sha256(password):
        return
    port = free_port()
    url = f"mongodb://127.0.0.1:{port}/?directConnection=true"
    server = subprocess.Popen(
        command_on(port), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, umask=0o077
    )
    try:
        wait_until(
            lambda: server.poll() is not None or mongo_answers(url),
            _SERVER_WITHIN_S,
            "the embedded database to start",
        )
        _set_user(url, password)
    finally:
        server.terminate()
        server.wait()
    write_private(mark, _sha256(password))


def _set_user(url: str, password: str) -> None:
    client: pymongo.MongoClient[dict[str, Any]] = pymongo.MongoClient(
        url, timeoutMS=_ANSWER_WITHIN_MS, serverSelectionTimeoutMS=_ANSWER_WITHIN_MS
    )
    try:
        client.admin.command("createUser", USER, pwd=password, roles=["root"])
    except OperationFailure as error:
        if error.code != _USER_EXISTS:
            raise CannotRun(f"The embedded database did not take its user: {error}") from error
        client.admin.command("updateUser", USER, pwd=password)
    except PyMongoError as error:
        raise CannotRun(f"The embedded database did not take its user: {error}") from error
    finally:
        client.close()


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
