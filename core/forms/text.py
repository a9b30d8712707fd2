"""Text as it comes out of files, shells and copied pages."""

from __future__ import annotations

import re
from typing import Final

#: What no value begins or ends with: blanks of every kind, line ends, and characters without width.
_AROUND: Final = " \t\r\n\v\f\u00a0\u2007\u202f\ufeff\u200b\u200c\u200d\u2060\u00ad"
_QUOTES: Final = ('""', "''", "“”", "‘’", "„“", "«»", "``")
#: How Kubernetes announces a service: one called `aether` sets AETHER_PORT in every pod.
_SERVICE_LINK: Final = re.compile(r"(tcp|udp|sctp)://\S+:\d+")


def clean(text: str) -> str:
    """Return the text without what surrounds it by accident, and without one pair of quotes."""
    bare = text.strip(_AROUND)
    if len(bare) >= 2 and bare[0] + bare[-1] in _QUOTES:
        bare = bare[1:-1].strip(_AROUND)
    return bare


def is_service_link(text: str) -> bool:
    """Say whether Kubernetes wrote this, and not the operator."""
    return _SERVICE_LINK.fullmatch(text) is not None


def read_key(text: str) -> str:
    """Return a key for a header.

    Raises:
        ValueError: no header can carry it.
    """
    if not re.fullmatch(r"[\x21-\x7e]*", text):
        raise ValueError("must be printable ASCII without blanks, copied whole and alone")
    return text
