"""docker-compose.yml as Compose reads it, with a shell that sets no more than the secrets."""

from __future__ import annotations

import re
import shlex
from typing import Any

import yaml

from ops.stack.state import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
SERVICES: dict[str, Any] = yaml.safe_load(TEXT)["services"]
#: The services that run Aether's image.
OWN = tuple(name for name, service in SERVICES.items() if service["image"] == "aether")
_REFERENCE = re.compile(r"\$\{(\w+)(?:(:-|:\?)([^}]*))?\}")
#: As long and as mixed as production wants a secret.
_SECRET = "Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA"


def command_of(service: str) -> tuple[str, ...]:
    """Return the words of its command."""
    command = SERVICES[service]["command"]
    words = command if isinstance(command, list) else shlex.split(command)
    return tuple(_filled_in(word) for word in words)


def environment_of(service: str) -> dict[str, str]:
    """Return the variables that its container sees; what the shell does not set is not there."""
    given = SERVICES[service]["environment"]
    return {name: _filled_in(str(value)) for name, value in given.items() if value is not None}


def _filled_in(text: str) -> str:
    """Replace `${NAME:-default}` by its default and any other reference by a secret."""
    return _REFERENCE.sub(lambda found: found[3] if found[2] == ":-" else _SECRET, text)
