"""What requests about accounts and sessions may contain, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, StringConstraints, ValidationInfo, field_validator

from core.models import Tier
from core.plans import PlanName, Role
from web.accounts.passwords import normalised, problem_of
from web.http.schemas import Documented, Fits, OptionalBody, RequestBody, ResponseBody, Time

#: Before normalising, which makes one character of up to four.
_MAX_TYPED_CHARS: Final = 512

Email = Annotated[
    str,
    StringConstraints(strip_whitespace=True, max_length=254),
    Fits(
        r"[A-Za-z0-9.!#%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}",
        "must be an e-mail address",
    ),
]
PersonName = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
    Fits(r"[^\x00-\x1f\x7f]*", "must not contain control characters"),
]
TypedPassword = Annotated[SecretStr, Field(min_length=2, max_length=_MAX_TYPED_CHARS)]


class RegisterRequest(RequestBody):
    """A new account."""

    email: Email
    """The account's address; it can have only one account."""
    password: TypedPassword
    """At least 8 and at most 128 characters, counted as Unicode's NFKC writes them. Common
    passwords, the address itself and runs of one character are refused."""
    name: PersonName | None = None
    """What the account's owner is called."""

    @field_validator("password")
    @classmethod
    def _refuse_unfit(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        return _fit(password, str(info.data.get("email", "")))


def _fit(password: SecretStr, email: str = "") -> SecretStr:
    """Return the password; raises ValueError with the reason when it is not to be chosen."""
    if problem := problem_of(normalised(password.get_secret_value()), email):
        raise ValueError(problem)
    return password


class PasswordRequest(RequestBody):
    """A new password of the account, and the one that it has."""

    current_password: Annotated[SecretStr, Field(min_length=1, max_length=_MAX_TYPED_CHARS)]
    new_password: TypedPassword
    """As at registration."""

    _refuse_unfit = field_validator("new_password")(_fit)


class ResetRequest(RequestBody):
    """A new password, with what shows that it may be set."""

    token: Annotated[SecretStr, Field(min_length=1, max_length=128)]
    """Of the link that an operator made; works once, for an hour."""
    new_password: TypedPassword
    """As at registration."""

    _refuse_unfit = field_validator("new_password")(_fit)


class LoginRequest(RequestBody):
    """An account's credentials."""

    email: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=254)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=_MAX_TYPED_CHARS)]


class RefreshRequest(RequestBody):
    """A refresh token."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=4096)]
    """Works once; the response has the next one."""


class LogoutRequest(OptionalBody):
    """Which sessions end."""

    everywhere: bool = False
    """`true` ends every session of the account, `false` only this one."""


class DemoRequest(OptionalBody):
    """Nothing; a demo account needs no input."""


class User(ResponseBody):
    """An account."""

    id: str
    email: str | None
    """Null for a demo account."""
    name: str | None
    plan: PlanName
    role: Role
    """An `admin` changes the plans of others."""
    created_at: Time
    trial_ends_at: Time | None
    """When the trial ends; null without one."""


class TrialRequest(OptionalBody):
    """Nothing; a trial needs no input."""


class PlanLimits(ResponseBody):
    """What a plan allows."""

    running: int
    """Model calls at a time; of a team each agent counts."""
    unfinished: int
    """Accepted jobs that have not ended, at a time; a team counts once for each agent."""
    requests_per_minute: int
    requests_per_day: int
    """Jobs taken in, in any such span, whether a model or the cache answers them."""
    tokens_per_day: int
    """Input and output of jobs that have ended."""
    bytes_per_hour: int
    """Of questions and kept answers."""
    agents: int
    """Of one job."""
    batch_lines: int
    """Unanswered lines of batches."""
    max_tier: Tier
    """The strongest tier that may answer."""
    monthly_budget_usd: float
    """Per calendar month (UTC)."""


class PlanUsage(ResponseBody):
    """What is used of a plan."""

    unfinished: int
    month_spent_usd: float
    """In this calendar month (UTC)."""
    month_reserved_usd: float
    """Held for unfinished jobs."""


class Subscription(ResponseBody):
    """An account's plan."""

    plan: PlanName
    status: Literal["trialing", "trial_ended", "active"]
    """After the end of its trial an account can only be read."""
    trial_ends_at: Time | None
    """When the account's one trial ends or ended; null if it had none."""
    limits: PlanLimits
    usage: PlanUsage


class Session(ResponseBody):
    """The tokens of a session."""

    access_token: str
    """Goes into the header `Authorization: Bearer …` of every request that needs a token."""
    refresh_token: str
    """Trades once for new tokens at `/api/auth/refresh`."""
    token_type: Literal["Bearer"]
    expires_in: int
    """How long the access token is valid, in seconds."""
    user: User


class SessionPath(Documented):
    """Which session."""

    session_id: str
    """The session's id, as the list of sessions has it."""


class SessionEntry(ResponseBody):
    """A session that goes on."""

    id: str
    created_at: Time
    last_used_at: Time
    """When its tokens were last traded for new ones, or issued first."""
    expires_at: Time
    """When it ends unless it is used until then."""
    user_agent: str | None
    """What the program that used it last calls itself; null where it did not say."""
    address: str | None
    """The network address that it was last used from; null where it is not known."""
    is_current: bool
    """Whether this request belongs to it."""


class SessionList(ResponseBody):
    """The account's sessions, the latest used first."""

    object: Literal["list"]
    data: list[SessionEntry]
