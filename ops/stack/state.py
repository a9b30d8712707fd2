"""The state directory: what a stack keeps between starts, readable by its owner alone."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent.parent
DEFAULT_STATE: Final = ROOT / "var"
#: The kernel keeps a Unix socket's path in 108 bytes; supervisor appends its pid while binding.
_MAX_SOCKET_PATH: Final = 95
_SECRET_BYTES: Final = 32
#: The settings that a stack's own directory fills in where the environment does not.
GENERATED: Final = ("jwt_secret", "cache_secret", "flower_password")

#: What of them was replaced last, if anything.
PREVIOUS: Final = "jwt_secret_previous"


class CannotRun(Exception):
    """A command cannot be carried out; the message tells the operator what to change."""


@dataclass(frozen=True, slots=True)
class StateDirectory:
    """Where one stack keeps its data, logs, secrets and the supervisor's files."""

    root: Path

    @property
    def supervisor(self) -> Path:
        return self.root / "supervisor"

    @property
    def programs(self) -> Path:
        return self.supervisor / "programs"

    @property
    def config(self) -> Path:
        return self.supervisor / "supervisord.conf"

    @property
    def socket(self) -> Path:
        return self.supervisor / "supervisor.sock"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def secrets(self) -> Path:
        return self.root / "secrets.json"

    @property
    def record(self) -> Path:
        return self.root / "state.json"

    def log_of(self, program: str) -> Path:
        return self.logs / f"{program}.log"

    def create(self) -> None:
        """Make the folders with mode 0700; existing ones are kept.

        Raises:
            CannotRun: the path is too long for the supervisor's socket.
        """
        if len(os.fsencode(self.socket)) > _MAX_SOCKET_PATH:
            raise CannotRun(f"{self.root} is too long a path; give a shorter one with --state.")
        for folder in (self.root, self.supervisor, self.programs, self.logs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.root.chmod(0o700)

    @contextmanager
    def held(self) -> Iterator[bool]:
        """Lock the directory for one `aether up`; yields False when another one has the lock."""
        with os.fdopen(_open_private(self.root / "lock"), "w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True


@dataclass(frozen=True, slots=True)
class Record:
    """What the last start chose, for the next start and for commands in other terminals.

    Attributes:
        ports: of each embedded part.
        addresses: values of the settings that say where the stack's servers are; they may hold
            passwords.
    """

    ports: dict[str, int] = field(default_factory=dict)
    api_url: str = ""
    flower_url: str = ""
    addresses: dict[str, str] = field(default_factory=dict)


def read_record(directory: StateDirectory) -> Record:
    """Return the record of the last start; an empty one before the first start."""
    found = _read_json(directory.record)
    return Record(**found) if found else Record()


def write_record(directory: StateDirectory, record: Record) -> None:
    write_private(directory.record, json.dumps(asdict(record), indent=2) + "\n")


def keep_secrets(directory: StateDirectory) -> dict[str, str]:
    """Return the secrets of this directory's stack; the first call generates and stores them."""
    found = read_secrets(directory)
    wanted = (*GENERATED, "redis_password", "redis_operator_password", "mongo_password")
    kept = found | {name: found.get(name) or new_secret() for name in wanted}
    if kept != found:
        write_secrets(directory, kept)
    return kept


def read_secrets(directory: StateDirectory) -> dict[str, str]:
    """Return the secrets that the directory has; none before the first start."""
    return _read_json(directory.secrets)


def new_secret() -> str:
    return secrets.token_urlsafe(_SECRET_BYTES)


def write_secrets(directory: StateDirectory, values: dict[str, str]) -> None:
    write_private(directory.secrets, json.dumps(values, indent=2) + "\n")


def write_private(path: Path, text: str) -> None:
    """Replace `path` atomically by a file that only its owner can read."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(_open_private(draft), "w") as file:
        file.write(text)
    draft.replace(path)


def _open_private(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise CannotRun(f"{path} is not readable JSON; repair or remove it.") from error
    return found
