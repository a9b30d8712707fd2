"""Putting a backup into a database, and removing what Redis holds of another time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Final

import bson
from bson.codec_options import CodecOptions
from bson.errors import BSONError
from bson.raw_bson import RawBSONDocument
from pymongo import WriteConcern

from ops.backup import archive
from ops.backup.archive import About
from ops.stack.state import CannotRun
from storage.accounts.personal_data import HOLDINGS
from storage.failures import coordinator_errors, store_errors
from storage.format import FORMAT, META, begin_restore, end_restore
from storage.records.indexes import ensure_indexes, ensure_validators
from storage.records.migrations import MIGRATIONS, mark_ownerless
from storage.records.reconciliation import Reconciliation

if TYPE_CHECKING:
    from pymongo.database import Database
    from redis import Redis

    Row = dict[str, Any]

_RAW: Final[CodecOptions[Any]] = CodecOptions(document_class=RawBSONDocument)
_DOCUMENTS_AT_ONCE: Final = 500
_BYTES_AT_ONCE: Final = 4 << 20
_KEYS: Final = "aether:*"
_KEYS_AT_ONCE: Final = 1_000


@dataclass(frozen=True, slots=True)
class Restored:
    """What was put back.

    Attributes:
        settlements: made again for jobs that ended while the backup was written.
        unfinished: jobs that the stack will answer when it starts.
    """

    documents: int
    settlements: int
    unfinished: int


def check_version(path: Path, about: About) -> None:
    """Refuse what a newer version has written.

    Raises:
        CannotRun: the backup's data has a layout that this version does not know.
    """
    unknown = set(about.migrations) - {step.number for step in MIGRATIONS}
    if unknown or (about.database_format or 0) > FORMAT:
        raise CannotRun(
            f"{path} was made by a newer version (format {about.database_format}, migration "
            f"{max(about.migrations, default=0)}). Restore it with that version."
        )


def is_used(database: Database[Row]) -> bool:
    """Say whether any collection holds something; marks of versions do not count."""
    with store_errors():
        return any(
            database[name].find_one({}, {"_id": 1}) is not None
            for name in _collections(database)
            if name != META
        )


def restore(path: Path, database: Database[Row], reconciliation: Reconciliation) -> Restored:
    """Replace all that the database holds by a verified backup.

    While it runs, and after it has failed, no process starts on this database. A repeat begins
    anew.

    Raises:
        CannotRun: the file cannot be read any more.
        StoreUnavailable: MongoDB is away or refuses.
    """
    begin_restore(database)
    with store_errors():
        for name in _collections(database):
            if name != META:
                database.drop_collection(name)
        database[META].delete_many({"_id": {"$in": ["format", "migrations", "lock"]}})
    # Indexes first: what a unique one refuses is found at its document.
    ensure_indexes(database)
    count = sum(_insert(database, path, name, rows) for name, rows in archive.documents(path))
    ensure_validators(database)
    for holding in HOLDINGS:
        if "user_id" in holding.users_in and holding.end != "anonymise":
            mark_ownerless(database, holding.collection)
    settlements = reconciliation.add_settlements()
    with store_errors():
        unfinished = database["jobs"].count_documents({"status": "queued"})
    end_restore(database)
    return Restored(count, settlements, unfinished)


def has_keys(redis: Redis) -> bool:
    """Say whether Redis holds anything of Aether."""
    with coordinator_errors():
        return next(iter(redis.scan_iter(_KEYS, count=_KEYS_AT_ONCE)), None) is not None


def forget_all(redis: Redis) -> int:
    """Remove every key of Aether and return how many; other programs' keys stay."""
    removed = 0
    with coordinator_errors():
        names = redis.scan_iter(_KEYS, count=_KEYS_AT_ONCE)
        while found := list(islice(names, _KEYS_AT_ONCE)):
            removed += int(redis.unlink(*found))
    return removed


def _collections(database: Database[Row]) -> list[str]:
    return [name for name in database.list_collection_names() if not name.startswith("system.")]


def _insert(database: Database[Row], path: Path, name: str, rows: IO[bytes]) -> int:
    collection: Any = database.get_collection(
        name, codec_options=_RAW, write_concern=WriteConcern("majority")
    )
    count = 0
    try:
        for batch in _batches(bson.decode_file_iter(rows, _RAW)):
            with store_errors():
                collection.insert_many(batch, ordered=False, bypass_document_validation=True)
            count += len(batch)
    except BSONError as error:
        raise CannotRun(f"{path} is damaged in its collection {name} ({error}).") from error
    return count


def _batches(rows: Iterator[Any]) -> Iterator[list[Any]]:
    batch, size = list[Any](), 0
    for row in rows:
        batch.append(row)
        size += len(row.raw)
        if len(batch) == _DOCUMENTS_AT_ONCE or size > _BYTES_AT_ONCE:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
