"""How every program begins: with settings that are right, or with a sentence and status 2."""

from __future__ import annotations

import sys

from core.settings import Role, Settings, read_settings

_WRONG_SETTINGS = 2


def settings_or_exit(role: Role | None = None) -> Settings:
    """Return the settings; end this process where they are wrong, or unfit for the role.

    Raises:
        SystemExit: the sentences are on standard error.
    """
    try:
        settings = read_settings()
        if role is not None:
            settings.check_secrets(role)
    except ValueError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(_WRONG_SETTINGS) from None
    return settings
