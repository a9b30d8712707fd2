"""How relevant each persona is to a message: by the terms of its skills that the message names."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from core.personas import Persona

#: Letters of other scripts separate words: an English term within Chinese text is found.
_WORD = re.compile(r"\bc(?:\+\+|#)|[a-z0-9]+")


class Relevance(Struct, frozen=True):
    """One persona's terms in a message, in the order they appear, and the sum of their weights."""

    score: int
    terms: tuple[str, ...]


def rate(message: str, personas: Mapping[str, Persona]) -> dict[str, Relevance]:
    """Return every persona's relevance by name; a repeated term counts once."""
    vocabulary = _by_first_word(frozenset().union(*(p.skills for p in personas.values())))
    named = dict.fromkeys(_terms_in(_words(message), vocabulary))
    return {name: _rate(named, persona.skills) for name, persona in personas.items()}


def _rate(named: Mapping[str, None], skills: Mapping[str, int]) -> Relevance:
    terms = tuple(term for term in named if term in skills)
    return Relevance(sum(skills[term] for term in terms), terms)


@lru_cache(maxsize=8)
def _by_first_word(terms_of_all: frozenset[str]) -> dict[str, list[tuple[str, ...]]]:
    """Index terms by their first word, the longest term first."""
    vocabulary: defaultdict[str, list[tuple[str, ...]]] = defaultdict(list)
    for term in terms_of_all:
        words = tuple(term.split())
        vocabulary[words[0]].append(words)
    for terms in vocabulary.values():
        terms.sort(key=lambda words: (-len(words), words))
    return vocabulary


def _terms_in(
    words: Sequence[str], vocabulary: Mapping[str, list[tuple[str, ...]]]
) -> Iterator[str]:
    """Yield the terms from left to right; words that one term has used are not read again."""
    forms = {word: _forms(word) for word in set(words)}
    start = 0
    while start < len(words):
        candidates = (term for first in forms[words[start]] for term in vocabulary.get(first, ()))
        found = next((term for term in candidates if _begins(words, start, term, forms)), None)
        if found is not None:
            yield " ".join(found)
        start += len(found) if found else 1


def _begins(
    words: Sequence[str], start: int, term: tuple[str, ...], forms: Mapping[str, tuple[str, ...]]
) -> bool:
    found = words[start : start + len(term)]
    return len(found) == len(term) and all(
        part in forms[word] for part, word in zip(term, found, strict=True)
    )


def _words(message: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", message.casefold())
    return _WORD.findall("".join(c for c in decomposed if not unicodedata.combining(c)))


def _forms(word: str) -> tuple[str, ...]:
    """Return the word and its possible base forms (of a plural, -ing or -ed), likeliest first.

    Many of them are no words. That does no harm, because they are only compared with known terms;
    stemming both sides would make different words equal.
    """
    forms = [word]
    if word.endswith("s") and not word.endswith("ss"):
        forms += [word[:-1], word[:-2], word[:-3] + "y"]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 1:
            forms += [stem, stem + "e", stem[:-1] if stem[-1] == stem[-2] else stem]
    return tuple(dict.fromkeys(forms))
