"""Users, in MongoDB."""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from cachetools import TTLCache
from msgspec import Struct
from pymongo import ReturnDocument, WriteConcern
from pymongo.errors import DuplicateKeyError

from core.account_errors import AccountExists, TrialEnded, TrialUsed, UserNotFound
from core.errors import AetherError, StoreUnavailable
from core.ids import new_user_id
from core.plans import PLANS, Plan, PlanName, Role
from core.timing import now_ms
from storage.accounts.cache_secrets import new_cache_secret
from storage.failures import store_errors

if TYPE_CHECKING:
    from pymongo.database import Database

#: How long a new account may try Aether; a demo account is gone after it.
TRIAL_DAYS: Final = 14
#: Of an account that is not being deleted.
STAYS: Final[dict[str, Any]] = {"deleting_at": {"$exists": False}}
#: How long a process may use what it last read of a user, in seconds.
_CACHE_S: Final = 10.0
#: The same while MongoDB is away; Redis keeps revoked tokens for as long.
_CACHE_WITHOUT_STORE_S: Final = 15 * 60.0
_CACHED_USERS: Final = 10_000
#: How long a request waits for MongoDB to read a user again whom the process has seen before.
_READ_AGAIN_S: Final = 0.2


class User(Struct, frozen=True, kw_only=True):
    """An account as requests need it.

    Attributes:
        email: None for a demo account, which has no password either.
        role: an `admin` changes others' plans.
        token_version: tokens of an earlier version are void.
        trial_ends_ms: when the account's one trial ends or ended; None if it had none.
        expires_ms: when the account is deleted, None if it stays.
        is_deleting: its data is being removed: it exists no more for anybody but the remover.
        cache_secret: names kept answers; empty for an account of before that never needed one.
    """

    id: str
    plan: Plan
    name: str
    created_ms: int
    email: str | None = None
    role: Role = "user"
    token_version: int = 0
    trial_ends_ms: int | None = None
    expires_ms: int | None = None
    is_deleting: bool = False
    cache_secret: str = ""

    def __repr__(self) -> str:
        """Return what a log may hold."""
        return f"User(id={self.id!r}, plan={self.plan.name!r}, role={self.role!r})"

    def has_trial_ended(self) -> bool:
        """Say whether the account is on trial no more and has no other plan."""
        is_on_trial = self.plan.name == "trial" and self.trial_ends_ms is not None
        return is_on_trial and (self.trial_ends_ms or 0) <= now_ms()

    def plan_in_force(self) -> Plan:
        """Return what the account may use now.

        Raises:
            TrialEnded: nothing; it can only be read.
        """
        if self.has_trial_ended():
            raise TrialEnded
        return self.plan


class Credentials(Struct, frozen=True):
    """A user who can log in, and the hash to check the password against."""

    user: User
    password_hash: str


class Accounts:
    """The users; raises StoreUnavailable when MongoDB does not answer in time."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._users = database.get_collection("users", write_concern=WriteConcern("majority"))
        self._cache: TTLCache[str, User] = TTLCache(_CACHED_USERS, _CACHE_S)
        self._last_seen: TTLCache[str, User] = TTLCache(_CACHED_USERS, _CACHE_WITHOUT_STORE_S)
        self._cache_lock = threading.Lock()

    def create(self, email: str, password_hash: str, name: str | None = None) -> User:
        """Store a new user, on trial.

        Raises:
            AccountExists: the address is taken, in whatever case it is written.
        """
        address = _normal(email)
        document = _new_document(name or address.partition("@")[0])
        document |= {"email": address, "password_hash": password_hash}
        return self._insert(document)

    def create_trial(self) -> User:
        """Store a new demo user, who is deleted when the trial ends."""
        document = _new_document(f"Guest {secrets.token_hex(2)}")
        document["expires_at"] = document["trial_ends_at"]
        return self._insert(document)

    def _insert(self, document: dict[str, Any]) -> User:
        with store_errors():
            try:
                self._users.insert_one(document)
            except DuplicateKeyError:
                raise AccountExists from None
        return _to_user(document)

    def find_by_email(self, email: str) -> Credentials | None:
        with store_errors():
            document = self._users.find_one({"email": _normal(email), **STAYS})
        if document is None:
            return None
        return Credentials(_to_user(document), document["password_hash"])

    def get(self, user_id: str) -> User | None:
        """Return the user as of at most ten seconds ago; None also for one that has expired, or is
        being deleted.

        While MongoDB is away a user is returned as this process last saw it, so that polls and
        streams go on.
        """
        with self._cache_lock:
            user: User | None = self._cache.get(user_id)
        user = user or self._read(user_id)
        if user is None:
            return None
        is_over = user.is_deleting or (
            user.expires_ms is not None and user.expires_ms <= _now().timestamp() * 1000
        )
        return None if is_over else user

    def _read(self, user_id: str) -> User | None:
        with self._cache_lock:
            known: User | None = self._last_seen.get(user_id)
        try:
            with store_errors(within_s=_READ_AGAIN_S if known else None):
                document = self._users.find_one({"_id": user_id})
        except StoreUnavailable:
            if known is None:
                raise
            with self._cache_lock:
                # Without this every request would wait for MongoDB again.
                self._cache[user_id] = known
            return known
        if document is None:
            return None
        user = _to_user(document)
        self._remember(user)
        return user

    def set_plan(self, user_id: str, plan: PlanName) -> User:
        """Give the account a plan and return it; a trial begins anew, a demo account stays.

        Raises:
            UserNotFound: there is no such account.
        """
        changes: dict[str, Any] = {"plan": plan}
        if plan == "trial":
            changes["trial_ends_at"] = _now() + timedelta(days=TRIAL_DAYS)
        return self.change(
            {"_id": user_id}, {"$set": changes, "$unset": {"expires_at": ""}}, UserNotFound
        )

    def start_trial(self, user_id: str) -> User:
        """Begin the account's one trial and return the account.

        Raises:
            TrialUsed: it began before.
        """
        changes = {"plan": "trial", "trial_ends_at": _now() + timedelta(days=TRIAL_DAYS)}
        untried = {"_id": user_id, "trial_ends_at": {"$exists": False}}
        return self.change(untried, {"$set": changes}, TrialUsed)

    def set_role(self, user_id: str, role: Role) -> User:
        """Give the account a role and return it.

        Raises:
            UserNotFound: there is no such account.
        """
        return self.change({"_id": user_id}, {"$set": {"role": role}}, UserNotFound)

    def change(
        self, chosen: dict[str, Any], changes: dict[str, Any], missing: type[AetherError]
    ) -> User:
        """Change the account that the filter chooses and return it, or raise `missing`."""
        with store_errors():
            document = self._users.find_one_and_update(
                {**chosen, **STAYS}, changes, return_document=ReturnDocument.AFTER
            )
        if document is None:
            raise missing
        user = _to_user(document)
        self._remember(user)
        return user

    def renew_password_hash(self, user_id: str, former: str, renewed: str) -> None:
        """Replace a hash by another one of the same password, unless it was changed meanwhile."""
        as_read = {"_id": user_id, "password_hash": former}
        with store_errors():
            self._users.update_one(as_read, {"$set": {"password_hash": renewed}})

    def raise_token_version(self, user_id: str) -> None:
        """Make every token of the user void; other processes notice within ten seconds."""
        with store_errors():
            document = self._users.find_one_and_update(
                {"_id": user_id},
                {"$inc": {"token_version": 1}},
                return_document=ReturnDocument.AFTER,
            )
        if document is not None:
            self._remember(_to_user(document))

    def forget(self, user_id: str) -> None:
        """Read the user anew at the next look, in this process."""
        with self._cache_lock:
            self._cache.pop(user_id, None)
            self._last_seen.pop(user_id, None)

    def _remember(self, user: User) -> None:
        with self._cache_lock:
            self._cache[user.id] = self._last_seen[user.id] = user


def _normal(email: str) -> str:
    return email.strip().lower()


def _new_document(name: str) -> dict[str, Any]:
    now = _now()
    return {
        "_id": new_user_id(),
        "name": name,
        "plan": "trial",
        "token_version": 0,
        "created_at": now,
        "trial_ends_at": now + timedelta(days=TRIAL_DAYS),
        "cache_secret": new_cache_secret(),
    }


def _to_user(document: dict[str, Any]) -> User:
    return User(
        id=document["_id"],
        plan=PLANS[document["plan"]],
        name=document["name"],
        created_ms=_to_ms(document["created_at"]),
        email=document.get("email"),
        role=document.get("role", "user"),
        token_version=document["token_version"],
        trial_ends_ms=_optional_ms(document.get("trial_ends_at")),
        expires_ms=_optional_ms(document.get("expires_at")),
        is_deleting="deleting_at" in document,
        cache_secret=document.get("cache_secret", ""),
    )


def _now() -> datetime:
    """Return the time as MongoDB keeps it, in whole milliseconds."""
    now = datetime.now(UTC)
    return now.replace(microsecond=now.microsecond // 1000 * 1000)


def _optional_ms(moment: datetime | None) -> int | None:
    return None if moment is None else _to_ms(moment)


def _to_ms(moment: datetime) -> int:
    return round(moment.timestamp() * 1000)
