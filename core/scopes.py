"""What an API key may do, and which routes that allows."""

from __future__ import annotations

from typing import Final, Literal, get_args

Scope = Literal["jobs:read", "jobs:write", "account:read"]
SCOPES: Final[tuple[Scope, ...]] = get_args(Scope)
#: Of a key that was made without any.
DEFAULT_SCOPES: Final[tuple[Scope, ...]] = ("jobs:read", "jobs:write")
