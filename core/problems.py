"""What is wrong with settings, in sentences that an operator can act on."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from pydantic import ValidationError
    from pydantic_core import ErrorDetails

_SHOWN_CHARS: Final = 60
_LOGIN: Final = re.compile(r"//[^/]*@")
#: How pydantic begins what it says, and how a sentence about a variable goes on instead.
_BEGINNINGS: Final = (
    ("Value error, ", ""),
    ("Input should be ", "must be "),
    ("Path does not point to a file", "must be the path of a file that exists"),
    ("String should match pattern", "must match the pattern"),
)


class SettingsError(ValueError):
    """One or more variables are wrong; the text has a sentence for each, and no secret."""


def sentences_of(
    error: ValidationError, variables: Mapping[str, str], secret: Collection[str]
) -> str:
    """Return a line for each variable that is wrong: its name, what was read, what is right.

    Args:
        variables: the variable of each field.
        secret: fields whose values are not shown.
    """
    lines: dict[str, str] = {}
    for fault in error.errors(include_url=False):
        name = str(fault["loc"][0]) if fault["loc"] else ""
        fields = (field for field, variable in variables.items() if name in (field, variable))
        field = next(fields, name)
        shown = _shown(fault, is_secret=field in secret)
        lines.setdefault(field, f"{variables.get(field, name)} is {shown}; it {_reason(fault)}.")
    return "\n".join(lines.values())


def _shown(fault: ErrorDetails, *, is_secret: bool) -> str:
    if is_secret:
        return "wrong (what it holds is not shown)"
    text = _LOGIN.sub("//…@", str(fault["input"]))
    return repr(text if len(text) <= _SHOWN_CHARS else f"{text[:_SHOWN_CHARS]}…")


def _reason(fault: ErrorDetails) -> str:
    message = fault["msg"]
    for beginning, instead in _BEGINNINGS:
        if message.startswith(beginning):
            return instead + message.removeprefix(beginning)
    return f"is refused: {message}".rstrip(".?")
