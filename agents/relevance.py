"""How near a message is to each persona: the words and phrases of their skills that it names."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache

from msgspec import Struct

from core.personas import Persona

#: Letters of other scripts separate words, so that a name in the middle of Chinese text is found.
_WORD = re.compile(r"\bc(?:\+\+|#)|[a-z0-9]+")


class Relevance(Struct, frozen=True):
    """One persona's part in a message: the terms named, in their order, and their weight."""

    score: int
    terms: tuple[str, ...]


def rate(message: str, personas: Mapping[str, Persona]) -> dict[str, Relevance]:
    """Rate every persona; a term counts once, however often the message repeats it."""
    vocabulary = _by_first_word(frozenset().union(*(p.skills for p in personas.values())))
    named = dict.fromkeys(_terms_in(_words(message), vocabulary))
    return {name: _rate(named, persona.skills) for name, persona in personas.items()}


def _rate(named: Mapping[str, None], skills: Mapping[str, int]) -> Relevance:
    terms = tuple(term for term in named if term in skills)
    return Relevance(sum(skills[term] for term in terms), terms)


@lru_cache(maxsize=8)
def _by_first_word(terms_of_all: frozenset[str]) -> dict[str, list[tuple[str, ...]]]:
    """Return all personas' terms by their first word, the longest first."""
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
    """Yield the terms from left to right; the words of a longer one are not read again."""
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
    there = words[start : start + len(term)]
    return len(there) == len(term) and all(
        part in forms[word] for part, word in zip(term, there, strict=True)
    )


def _words(message: str) -> list[str]:
    decomposed = unicodedata.normalize("NFKD", message.casefold())
    return _WORD.findall("".join(c for c in decomposed if not unicodedata.combining(c)))


def _forms(word: str) -> tuple[str, ...]:
    """Return the word and what it may be a plural, -ing or -ed form of, likeliest first.

    Most are no words; comparing them with a list of words does no harm, unlike cutting both.
    """
    forms = [word]
    if word.endswith("s") and not word.endswith("ss"):
        forms += [word[:-1], word[:-2], word[:-3] + "y"]
    for ending in ("ing", "ed"):
        stem = word.removesuffix(ending)
        if stem != word and len(stem) > 1:
            forms += [stem, stem + "e", stem[:-1] if stem[-1] == stem[-2] else stem]
    return tuple(dict.fromkeys(forms))
