"""What is ours is called by the usual terms: no metaphor stands in a name, docstring or comment."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterable, Iterator

import pytest

from ops.stack.state import ROOT
from tests.repo.tree import PACKAGES, name_of

#: Words that are no part of a name, each with the term to be used.
TERMS = {
    "born": "accepted as completed",
    "bulletin": "stream",
    "climb": "fall back",
    "enlist": "start a round",
    "flight": "single flight, in flight",
    "hear": "read",
    "heard": "text so far",
    "join": "claim a slot",
    "ladder": "fallbacks",
    "loose": "without a round",
    "patiently": "retry",
    "pen": "event writer",
    "remains": "partial answer",
    "seat": "slot",
    "seize": "take over",
    "tell": "emit",
    "telling": "emit",
    "told": "emitted",
}
#: Those that are plain English in a sentence.
IN_PROSE = {"hear", "heard", "join", "loose", "remains", "tell", "telling", "told"}
_TERMS_WITH_FLIGHT = re.compile(r"(?<![a-zA-Z])(single|in)[ _-]?flights?(?![a-z])", re.IGNORECASE)
_LUA_COMMENT = re.compile(r"--.*")


def words_in(text: str) -> set[str]:
    """Return the words of a name or a sentence, in lower case and the singular."""
    parts = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", _TERMS_WITH_FLIGHT.sub(" ", text))
    return {word for part in parts for word in (part.lower(), part.lower().removesuffix("s"))}


def names_in(tree: ast.Module) -> Iterator[str]:
    """Yield the names that a module gives: what it calls by others' names is not its own choice."""
    for node in ast.walk(tree):
        match node:
            case ast.FunctionDef(name=name) | ast.ClassDef(name=name):
                yield name
            case ast.arg(arg=name) | ast.Name(id=name, ctx=ast.Store()):
                yield name
            case ast.Attribute(attr=name, ctx=ast.Store()):
                yield name


def prose_in(text: str, tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
            yield ast.get_docstring(node) or ""
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield token.string


def metaphors_in(text: str, name: str = "") -> set[str]:
    """Return the words of `TERMS` that a module uses, its name included."""
    tree = ast.parse(text)
    return banned_of([name, *names_in(tree)], prose_in(text, tree))


def metaphors_in_lua(text: str, name: str = "") -> set[str]:
    return banned_of([name, _LUA_COMMENT.sub("", text)], _LUA_COMMENT.findall(text))


def banned_of(named: Iterable[str], said: Iterable[str]) -> set[str]:
    names, prose = (set().union(*map(words_in, texts)) for texts in (named, said))
    return (names & TERMS.keys()) | (prose & TERMS.keys() - IN_PROSE)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("def patiently(call): ...", {"patiently"}),
        ("class JobPens: ...", {"pen"}),
        ("def run(self, told): ...", {"told"}),
        ("self.ladder_of = 1", {"ladder"}),
        ("flights = 1", {"flight"}),
        ('"""Put on the bulletin."""', {"bulletin"}),
        ("x = 1  # the job's pen", {"pen"}),
        (
            "max_in_flight = single_flights = SingleFlight = 1  # single-flight jobs in flight",
            set(),
        ),
        ('"""What a client is told; what remains."""', set()),
        ("open_it = spent = happening = opener = 1", set()),
        ("', '.join(pen.tell())", set()),
    ],
)
def test_metaphor_is_found_in_what_is_named_and_said_and_nowhere_else(text, found):
    assert metaphors_in(text) == found


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("local loose = 1", {"loose"}),
        ("return 1 -- its seat", {"seat"}),
        ("redis.call('HSET', key, 'left', 1) -- a client is told", set()),
    ],
)
def test_metaphor_is_found_in_a_script(text, found):
    assert metaphors_in_lua(text) == found


@pytest.mark.parametrize("package", [*PACKAGES, "bench"])
def test_a_package_calls_nothing_by_a_metaphor(package):
    readers = {".py": metaphors_in, ".lua": metaphors_in_lua}
    files = [path for path in sorted((ROOT / package).rglob("*")) if path.suffix in readers]

    found = {name_of(path): readers[path.suffix](path.read_text(), path.stem) for path in files}
    assert {name: words for name, words in found.items() if words} == {}
