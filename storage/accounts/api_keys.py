"""API keys, in MongoDB: what programs send in place of a session's token."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
import sys
import threading
import time
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from cachetools import TTLCache
from msgspec import Struct
from pymongo import DESCENDING, WriteConcern

from core.account_errors import ApiKeyNotFound, TooManyApiKeys
from core.budgets import KeyLimits
from core.errors import StoreUnavailable
from core.models import Tier
from core.plans import PLANS, Plan, PlanName
from core.scopes import Scope
from core.timing import now_ms
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

#: Keys of one account.
MAX_KEYS: Final = 50
#: What a key looks like: a mark that scanners of secrets find, its id, its secret of 256 bits.
_FORM: Final = re.compile(r"ak-([0-9a-f]{16})-([A-Za-z0-9_-]{43})")
PREFIX: Final = "ak-"
#: For how long a process goes by what it last read of a key, and while MongoDB is away, in seconds.
_CACHE_S: Final = 10.0
CACHE_WITHOUT_STORE_S: Final = 15 * 60
_CACHED_KEYS: Final = 10_000
#: How often the time of a key's last use is written, and how long a request waits for that.
_USE_EVERY_S: Final = 60.0
_USE_WITHIN_S: Final = 0.2


class ApiKey(Struct, frozen=True, kw_only=True):
    """A key without its secret.

    Attributes:
        hint: the end of its text, by which its owner knows it again.
        plan: narrows what its account's plan allows; None for that plan itself.
        webhook: is told of the ends of its jobs that name no other one.
        used_ms: when it was last used, to the minute; None if never.
        expires_ms: from when on it is void; None if it stays.
    """

    id: str
    user_id: str
    name: str
    hint: str
    scopes: tuple[Scope, ...]
    created_ms: int
    plan: PlanName | None = None
    limits: KeyLimits = KeyLimits()
    webhook: str | None = None
    used_ms: int | None = None
    expires_ms: int | None = None

    def narrowed(self, plan: Plan) -> KeyBounds:
        """Return what holds for the key where its account has the plan: the lower of both."""
        if self.plan is None:
            return KeyBounds(max_tier=plan.max_tier, agents=plan.agents, limits=self.limits)
        own = min(plan, PLANS[self.plan], key=rank_of)
        per_minute, micros = self.limits.requests_per_minute, self.limits.monthly_budget_micros
        return KeyBounds(
            max_tier=own.max_tier,
            agents=own.agents,
            limits=KeyLimits(
                requests_per_minute=min(per_minute or sys.maxsize, own.requests_per_minute),
                monthly_budget_micros=min(micros or sys.maxsize, own.monthly_budget_micros),
            ),
        )

    def has_expired(self) -> bool:
        return self.expires_ms is not None and self.expires_ms <= now_ms()


class KeyBounds(Struct, frozen=True, kw_only=True):
    """What a key may use: the strongest tier, agents of one job, and its own limits."""

    max_tier: Tier
    agents: int
    limits: KeyLimits


class NewKey(Struct, frozen=True, kw_only=True):
    """What a key is to be like; see `ApiKey`."""

    name: str
    scopes: tuple[Scope, ...]
    plan: PlanName | None = None
    limits: KeyLimits = KeyLimits()
    webhook: str | None = None
    expires_ms: int | None = None


class ApiKeys:
    """The keys; raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._keys = database.get_collection("api_keys", write_concern=WriteConcern("majority"))
        self._cache: TTLCache[str, dict[str, Any]] = TTLCache(_CACHED_KEYS, _CACHE_S)
        self._last_seen: TTLCache[str, dict[str, Any]] = TTLCache(
            _CACHED_KEYS, CACHE_WITHOUT_STORE_S
        )
        self._noted: TTLCache[str, bool] = TTLCache(_CACHED_KEYS, _USE_EVERY_S)
        self._lock = threading.Lock()

    def create(self, user_id: str, wanted: NewKey) -> tuple[ApiKey, str]:
        """Store a new key and return it with its text, which is not kept.

        Raises:
            TooManyApiKeys: the account has as many as it may.
        """
        number, secret = secrets.token_hex(8), secrets.token_urlsafe(32)
        document = {
            "_id": f"key_{number}",
            "user_id": user_id,
            "name": wanted.name,
            "hint": secret[-4:],
            "secret_hash": _hash(secret),
            "scopes": list(wanted.scopes),
            "created_at": _to_time(now_ms()),
            "plan": wanted.plan,
            "requests_per_minute": wanted.limits.requests_per_minute,
            "monthly_budget_micros": wanted.limits.monthly_budget_micros,
            "webhook": wanted.webhook,
            "expires_at": _to_time(wanted.expires_ms),
        }
        present = {name: value for name, value in document.items() if value is not None}
        with store_errors():
            if self._keys.count_documents({"user_id": user_id}) >= MAX_KEYS:
                raise TooManyApiKeys
            self._keys.insert_one(present)
        return _to_key(present), f"{PREFIX}{number}-{secret}"

    def list(self, user_id: str) -> list[ApiKey]:
        """Return the account's keys, the latest first."""
        with store_errors():
            found = self._keys.find({"user_id": user_id}).sort("created_at", DESCENDING)
            return [_to_key(document) for document in found.limit(MAX_KEYS)]

    def revoke(self, user_id: str, key_id: str) -> ApiKey:
        """Remove a key; this process does not take it any more, others within ten seconds.

        Raises:
            ApiKeyNotFound: the account has no such key.
        """
        with store_errors():
            document = self._keys.find_one_and_delete({"user_id": user_id, "_id": key_id})
        if document is None:
            raise ApiKeyNotFound
        self._forget(key_id)
        return _to_key(document)

    def check(self, text: str) -> ApiKey | None:
        """Return the key that the text is, None for what is none, or has expired.

        While MongoDB is away it is as this process last saw it. A wrong secret takes as long as an
        unknown key.
        """
        found = _FORM.fullmatch(text)
        number, secret = (found[1], found[2]) if found else ("", "")
        document = self._find(f"key_{number}") if found else None
        expected = document["secret_hash"] if document else _hash("")
        is_right = hmac.compare_digest(expected, _hash(secret))
        if document is None or not is_right:
            return None
        key = _to_key(document)
        return None if key.has_expired() else key

    def exists(self, key: ApiKey) -> bool:
        """Say whether the key can still be used, by what is stored now."""
        with store_errors():
            return self._keys.find_one({"user_id": key.user_id, "_id": key.id}) is not None

    def note_use(self, key: ApiKey) -> None:
        """Keep when the key was used; at most once a minute, and never at a request's cost."""
        with self._lock:
            if key.id in self._noted:
                return
            self._noted[key.id] = True
        change = {"$set": {"used_at": datetime.now(UTC)}}
        with suppress(StoreUnavailable), store_errors(within_s=_USE_WITHIN_S):
            self._keys.update_one({"user_id": key.user_id, "_id": key.id}, change)

    def _find(self, key_id: str) -> dict[str, Any] | None:
        with self._lock:
            cached: dict[str, Any] | None = self._cache.get(key_id)
            known: dict[str, Any] | None = self._last_seen.get(key_id)
        if cached is not None:
            return cached
        try:
            with store_errors(within_s=_USE_WITHIN_S if known else None):
                document = self._keys.find_one({"_id": key_id})
        except StoreUnavailable:
            if known is None:
                raise
            document = known
        with self._lock:
            if document is None:
                self._last_seen.pop(key_id, None)
            else:
                self._cache[key_id] = self._last_seen[key_id] = document
        return document

    def _forget(self, key_id: str) -> None:
        with self._lock:
            self._cache.pop(key_id, None)
            self._last_seen.pop(key_id, None)


def rank_of(plan: Plan) -> int:
    """Return the place of a plan in the order of plans; the trial's is the lowest."""
    return list(PLANS).index(plan.name)


def issued_s() -> int:
    """Return since when a revocation matters to a process that still takes the key, Unix s."""
    return int(time.time()) - CACHE_WITHOUT_STORE_S


def _hash(secret: str) -> str:
    """Hash without salt or stretching: the secret is 256 random bits."""
    return hashlib.sha256(secret.encode()).hexdigest()


def _to_key(document: dict[str, Any]) -> ApiKey:
    return ApiKey(
        id=document["_id"],
        user_id=document["user_id"],
        name=document["name"],
        hint=document["hint"],
        scopes=tuple(document["scopes"]),
        created_ms=_to_ms(document["created_at"]),
        plan=document.get("plan"),
        limits=KeyLimits(
            requests_per_minute=document.get("requests_per_minute"),
            monthly_budget_micros=document.get("monthly_budget_micros"),
        ),
        webhook=document.get("webhook"),
        used_ms=_optional_ms(document.get("used_at")),
        expires_ms=_optional_ms(document.get("expires_at")),
    )


def _to_time(unix_ms: int | None) -> datetime | None:
    return None if unix_ms is None else datetime.fromtimestamp(unix_ms / 1000, UTC)


def _optional_ms(moment: datetime | None) -> int | None:
    return None if moment is None else _to_ms(moment)


def _to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
