"""The file of a backup: a compressed tar with the parts of one database, and their checksums.

    aether-backup.json                     what made it and when; always the first
    secrets.json                           unless it was left out
    dump/<database>/<collection>.bson      documents, as mongodump writes them
    dump/<database>/<collection>.metadata.json
    SHA256SUMS                             of every part before it; always the last

Without its last part a file is not whole. `tar`, `sha256sum --check` and `mongorestore` read it.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Final

from msgspec import Struct

from ops.stack.state import CannotRun

#: Raised by one when a version before could not restore what this one writes.
ARCHIVE_FORMAT: Final = 1
ABOUT: Final = "aether-backup.json"
SECRETS: Final = "secrets.json"
CHECKSUMS: Final = "SHA256SUMS"
_PART: Final = re.compile(r"dump/[\w.-]+/((?!system\.)[A-Za-z_][\w.-]*)\.(?:bson|metadata\.json)")
_PIECE_BYTES: Final = 1 << 20
#: A description, secrets and checksums are small; whatever claims to be more is no backup.
_MOST_SMALL_BYTES: Final = 4 << 20
_BROKEN: Final = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError)


class About(Struct, frozen=True, kw_only=True):
    """What made a backup.

    Attributes:
        created_at: when it began, ISO 8601 in UTC.
        database_format: of storage/format.py; None where the database has no mark.
        migrations: the numbers of those that the database has seen.
    """

    archive_format: int
    created_at: str
    database: str
    database_format: int | None
    migrations: tuple[int, ...]


class ArchiveWriter:
    """Writes parts one after the other; memory is bounded, a part at a time is kept on disk."""

    def __init__(self, tar: tarfile.TarFile, folder: Path) -> None:
        self._tar = tar
        self._folder = folder
        self._sums: list[str] = []

    def add_bytes(self, name: str, content: bytes) -> None:
        self._add(name, io.BytesIO(content), len(content), hashlib.sha256(content).hexdigest())

    def add_pieces(self, name: str, pieces: Iterable[bytes]) -> int:
        """Add a part of unknown length and return its bytes."""
        digest = hashlib.sha256()
        with tempfile.TemporaryFile(dir=self._folder) as spool:
            for piece in pieces:
                spool.write(piece)
                digest.update(piece)
            size = spool.tell()
            spool.seek(0)
            self._add(name, spool, size, digest.hexdigest())
        return size

    def close(self) -> None:
        self.add_bytes(CHECKSUMS, "".join(self._sums).encode())

    def _add(self, name: str, content: IO[bytes], size: int, digest: str) -> None:
        member = tarfile.TarInfo(name)
        member.size, member.mode = size, 0o600
        self._tar.addfile(member, content)
        self._sums.append(f"{digest}  {name}\n")


@contextmanager
def new_archive(path: Path) -> Iterator[ArchiveWriter]:
    """Write a file that its owner alone can read; it appears when it is whole, or not at all.

    Raises:
        CannotRun: there is such a file already, or it cannot be written.
    """
    if path.exists():
        raise CannotRun(f"{path} exists; name another file, or a folder.")
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            with (
                gzip.GzipFile(filename="", mode="wb", fileobj=file, compresslevel=6) as packed,
                tarfile.open(fileobj=packed, mode="w|") as tar,
            ):
                writer = ArchiveWriter(tar, path.parent)
                yield writer
                writer.close()
            file.flush()
            os.fsync(file.fileno())
        # Unlike a rename, a link never replaces a file that came meanwhile.
        os.link(draft, path)
        _sync_folder(path.parent)
    except OSError as error:
        raise CannotRun(f"{path} cannot be written: {error.strerror}.") from error
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


def verify(path: Path) -> About:
    """Read a whole file against its checksums and return what made it.

    Raises:
        CannotRun: it is damaged, cut off, of a newer version, or no backup.
    """
    expected, about, sums = list[str](), None, None
    with _tar(path) as tar:
        for member in tar:
            content = _content(tar, member)
            if member.name == ABOUT and not expected:
                text = content.read(_MOST_SMALL_BYTES)
                about = _about(path, text)
                digest = hashlib.sha256(text).hexdigest()
            elif about is None:
                raise CannotRun(f"{path} is no backup of Aether.")
            elif member.name == CHECKSUMS:
                # Whatever came after it would not be in it.
                sums = content.read(_MOST_SMALL_BYTES).decode()
                continue
            else:
                digest = _digest(member.name, content)
            expected.append(f"{digest}  {member.name}\n")
    if about is None or sums != "".join(expected):
        raise CannotRun(f"{path} is damaged: it is cut off, or a part is not what was written.")
    return about


def documents(path: Path) -> Iterator[tuple[str, IO[bytes]]]:
    """Yield each collection's name with its documents, to be read before the next is asked for."""
    with _tar(path) as tar:
        for member in tar:
            found = _PART.fullmatch(member.name)
            if found and member.name.endswith(".bson"):
                yield found[1], _content(tar, member)


def secrets_in(path: Path) -> dict[str, str]:
    """Return the secrets of a backup; none where they were left out."""
    with _tar(path) as tar:
        for member in tar:
            if member.name == SECRETS:
                found = json.loads(_content(tar, member).read(_MOST_SMALL_BYTES))
                return {str(name): str(value) for name, value in found.items()}
            if member.name.startswith("dump/"):
                break
    return {}


@contextmanager
def _tar(path: Path) -> Iterator[tarfile.TarFile]:
    try:
        with path.open("rb") as file, tarfile.open(fileobj=file, mode="r|gz") as tar:
            yield tar
    except FileNotFoundError as error:
        raise CannotRun(f"There is no file {path}.") from error
    except _BROKEN as error:
        raise CannotRun(f"{path} is damaged, or no backup of Aether ({error}).") from error


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> IO[bytes]:
    content = tar.extractfile(member) if member.isreg() else None
    if content is None:
        raise ValueError(f"{member.name!r} is no file")
    return content


def _digest(name: str, content: IO[bytes]) -> str:
    if name != SECRETS and not _PART.fullmatch(name):
        raise ValueError(f"{name!r} is no part of one")
    digest = hashlib.sha256()
    while piece := content.read(_PIECE_BYTES):
        digest.update(piece)
    return digest.hexdigest()


def _about(path: Path, text: bytes) -> About:
    found: dict[str, Any] = json.loads(text)
    if found.get("archive_format", 0) > ARCHIVE_FORMAT:
        raise CannotRun(
            f"{path} has format {found['archive_format']}, of a newer version; "
            f"this one reads {ARCHIVE_FORMAT}. Restore it with that version."
        )
    try:
        return About(**{name: found[name] for name in About.__struct_fields__})
    except KeyError as error:
        raise ValueError(f"{ABOUT} lacks {error}") from error


def _sync_folder(folder: Path) -> None:
    """Let the file's name survive a crash of the machine."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
