"""Identifiers of users and jobs, and the shard that both lie in."""

from __future__ import annotations

import re
import secrets
from typing import Final

#: Users are spread over this many shards; one shard's keys share one Redis Cluster slot.
SHARDS: Final = tuple("0123456789abcdef")
#: Stands in the place of a user who was deleted; no account has this id.
DELETED_USER: Final = "usr_" + "0" * 32
#: Stands for all users together, where sums are kept of them.
ALL_USERS: Final = "usr_" + "f" * 32
_JOB_ID = re.compile(r"job_[0-9a-f]{32}")


def new_user_id() -> str:
    """Return a random user id; its first digit is the user's shard."""
    return f"usr_{secrets.token_hex(16)}"


def new_job_id(user_id: str) -> str:
    """Return a random job id in the shard of its user (124 random bits)."""
    return f"job_{shard_of(user_id)}{secrets.token_hex(16)[1:]}"


def is_job_id(value: str) -> bool:
    return _JOB_ID.fullmatch(value) is not None


def shard_of(identifier: str) -> str:
    """Return the shard of a user or job id."""
    return identifier[4]
