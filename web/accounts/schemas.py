"""What requests about accounts and sessions may contain."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, SecretStr, StringConstraints, ValidationInfo, field_validator

from web.accounts.passwords import is_easy_to_guess
from web.http.schemas import Body

Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        max_length=254,
        pattern=r"^[A-Za-z0-9.!#%&'*+/=?^_`{|}~-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,63}$",
    ),
]


class RegisterRequest(Body):
    """A new account."""

    email: Email
    password: Annotated[SecretStr, Field(min_length=8, max_length=128)]
    name: (
        Annotated[
            str,
            StringConstraints(
                strip_whitespace=True, min_length=1, max_length=80, pattern=r"^[^\x00-\x1f\x7f]*$"
            ),
        ]
        | None
    ) = None

    @field_validator("password")
    @classmethod
    def _refuse_trivial(cls, password: SecretStr, info: ValidationInfo) -> SecretStr:
        if is_easy_to_guess(password.get_secret_value(), str(info.data.get("email", ""))):
            raise ValueError("The password is too easy to guess")
        return password


class LoginRequest(Body):
    """An account's credentials."""

    email: Annotated[str, StringConstraints(strip_whitespace=True, min_length=3, max_length=254)]
    password: Annotated[SecretStr, Field(min_length=1, max_length=128)]


class RefreshRequest(Body):
    """A refresh token, good once."""

    refresh_token: Annotated[SecretStr, Field(min_length=1, max_length=4096)]


class LogoutRequest(Body):
    """Whether only this session ends, or every one of the account."""

    everywhere: bool = False


class DemoRequest(Body):
    """Nothing needs to be said to get a demo account."""
