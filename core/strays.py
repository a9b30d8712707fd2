"""Variables of libraries that would override Aether's own settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

#: What Celery, Flower, gunicorn, Flask and the SDK read by themselves, before or over our settings.
_PREFIXES: Final = ("CELERY_", "FLOWER_", "FLASK_", "REDBEAT_")
_NAMES: Final = frozenset(
    {
        "BROKER_URL",
        "RESULT_BACKEND",
        "CONFIG_MODULE",
        "LOADER",
        "WORKDIR",
        "APP",
        "SKIP_CHECKS",
        "GUNICORN_CMD_ARGS",
        "WEB_CONCURRENCY",
        "FORWARDED_ALLOW_IPS",
        "GROQ_BASE_URL",
        "DEFAULT_FAILOVER_STRATEGY",
    }
)


def is_stray(variable: str) -> bool:
    """Say whether a library would take its settings from this variable."""
    return variable in _NAMES or variable.startswith(_PREFIXES)


def without_strays(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the environment without such variables."""
    return {name: value for name, value in environment.items() if not is_stray(name)}
