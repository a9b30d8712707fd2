"""Words of a text, as searches compare them."""

from __future__ import annotations

import re
import unicodedata
from typing import Final

#: A text is found by its first different words, and each word by its first characters.
MOST_WORDS: Final = 64
MOST_CHARS: Final = 32
_LOOKED_AT_CHARS: Final = 8_192
_WORD: Final = re.compile(r"\w+")


def words_of(text: str) -> tuple[str, ...]:
    """Return the first 64 different words of a text, without case, accents and forms of letters.

    Of a longer text the first 8,192 characters count, of a longer word the first 32.
    """
    plain = unicodedata.normalize("NFKD", text[:_LOOKED_AT_CHARS].casefold())
    letters = "".join(c for c in plain if not unicodedata.combining(c))
    found: dict[str, None] = {}
    for match in _WORD.finditer(letters):
        found.setdefault(match.group()[:MOST_CHARS])
        if len(found) == MOST_WORDS:
            break
    return tuple(found)
