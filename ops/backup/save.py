"""Writing a backup of a database that may be in use.

Collections are read one after the other, so what happens meanwhile can fall between two of them.
The order makes what is missing something that a restore can put right: the ledger is read before
jobs, so that an end may lack its settlement, which is made of the job again, and never the other
way round for a job whose end was on record; users are read last, so that everybody's jobs have
their user unless he was deleted meanwhile.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

import msgspec
from bson import json_util

from ops.backup.archive import ABOUT, ARCHIVE_FORMAT, SECRETS, About, ArchiveWriter
from storage.failures import store_errors
from storage.format import META, format_of
from storage.records.migrations import LOCK_ID, seen_migrations

if TYPE_CHECKING:
    from pymongo.database import Database

_FIRST: Final = ("ledger", "jobs")
_LAST: Final = ("users", META)
_AT_ONCE: Final = 500


@dataclass(frozen=True, slots=True)
class Saved:
    """How many documents of how many collections were saved, and their bytes."""

    collections: int
    documents: int
    bytes: int


def save(database: Database[dict[str, Any]], secrets: dict[str, str], to: ArchiveWriter) -> Saved:
    """Write every collection of the database, and the secrets if there are any.

    Raises:
        StoreUnavailable: MongoDB is away or refuses.
        OtherFormat: a restore into this database has not ended.
    """
    to.add_bytes(ABOUT, msgspec.json.format(msgspec.json.encode(_about(database))))
    if secrets:
        to.add_bytes(SECRETS, msgspec.json.format(msgspec.json.encode(secrets)))
    names = _names(database)
    counter = _Counter()
    total_bytes = 0
    for name in names:
        folder = f"dump/{database.name}/{name}"
        to.add_bytes(f"{folder}.metadata.json", _metadata(database, name))
        total_bytes += to.add_pieces(f"{folder}.bson", counter.counted(_pieces(database, name)))
    return Saved(len(names), counter.documents, total_bytes)


class _Counter:
    """Counts the documents that pass."""

    def __init__(self) -> None:
        self.documents = 0

    def counted(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            at = 0
            # A document begins with its length, which counts these four bytes too.
            while at < len(piece):
                at += struct.unpack_from("<i", piece, at)[0]
                self.documents += 1
            yield piece


def _about(database: Database[dict[str, Any]]) -> About:
    return About(
        archive_format=ARCHIVE_FORMAT,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        database=database.name,
        database_format=format_of(database),
        migrations=tuple(sorted(seen_migrations(database))),
    )


def _names(database: Database[dict[str, Any]]) -> list[str]:
    with store_errors():
        found = {name for name in database.list_collection_names() if not name.startswith("system")}
    others = sorted(found - {*_FIRST, *_LAST})
    return [name for name in (*_FIRST, *others, *_LAST) if name in found]


def _pieces(database: Database[dict[str, Any]], name: str) -> Iterator[bytes]:
    # By _id, which no document ever changes: each is seen once, however it is rewritten meanwhile.
    criteria = {"_id": {"$ne": LOCK_ID}} if name == META else {}
    with store_errors():
        yield from database[name].find_raw_batches(criteria, batch_size=_AT_ONCE).sort("_id", 1)


def _metadata(database: Database[dict[str, Any]], name: str) -> bytes:
    """Return what mongorestore makes the collection with; Aether's restore makes its own."""
    with store_errors():
        (found,) = database.list_collections(filter={"name": name})
        indexes = [dict(index) for index in database[name].list_indexes()]
    return json_util.dumps(
        {
            "options": found.get("options", {}),
            "indexes": indexes,
            "collectionName": name,
            "type": "collection",
        }
    ).encode()
