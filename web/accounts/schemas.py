"""What requests about accounts and sessions may contain, and what they are answered with."""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field, SecretStr, StringConstraints, ValidationInfo, field_validator

from core.models import Tier
from core.plans import PlanName, Role
from web.accounts.passwords import is_easy_to_guess, normalised
from web.http.schemas import Fits, OptionalBody, RequestBody, ResponseBody, Time

_MIN_PASSWORD_CHARS: Final = 8
_MAX_PASSWORD_CHARS: Final = 128
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


class RegisterRequest(RequestBody):
    """A new account."""

    email: Email
    """The account's address; it can have only one account."""
    password: Annotated[SecretStr, Field(min_length=2, max_length=_MAX_TYPED_CHARS)]
    """At least 8 and at most 128 characters, counted as Unicode's NFKC writes them. Common
    passwords, the address itself and runs of one character are refused."""
    name: PersonName | None = None
    """What the account's owner is called."""

    @field_validator("password")
    @classmethod
    def _refuse_trivial(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        plain = normalised(password.get_secret_value())
        if len(plain) < _MIN_PASSWORD_CHARS:
            raise ValueError(f"must be at least {_MIN_PASSWORD_CHARS} characters long")
        if len(plain) > _MAX_PASSWORD_CHARS:
            raise ValueError(f"must be at most {_MAX_PASSWORD_CHARS} characters long")
        if is_easy_to_guess(plain, str(info.data.get("email", ""))):
            raise ValueError("is too easy to guess; choose a longer or less common one")
        return password


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
