"""What a collection of MongoDB is to have: its indexes, and what every document has to meet."""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct
from pymongo import IndexModel


class CollectionPlan(Struct, frozen=True, kw_only=True):
    """A collection's indexes, and the JSON schema that every write to it has to meet, if any."""

    name: str
    indexes: tuple[IndexModel, ...]
    schema: dict[str, Any] | None = None


TEXT: Final = {"bsonType": "string", "maxLength": 256}
TIME: Final = {"bsonType": "date"}
USER_ID: Final = {"bsonType": "string", "pattern": "^usr_[0-9a-f]{32}$"}
JOB_ID: Final = {"bsonType": "string", "pattern": "^job_[0-9a-f]{32}$"}
