"""What sees a message or a log line takes linear time, whatever its shape.

Compared is the processor's time, not the clock's, of the shortest of several runs on a text and
on one of twice its size.
"""

from __future__ import annotations

import time

import pytest

from agents.features import measure
from agents.relevance import rate
from cache.fingerprint import canonical
from core.forms.addresses import read_llm_url, read_redis_url
from core.forms.text import clean
from core.personas import load_personas
from core.routing_rules import read_rules
from monitoring.logs import redact_text
from ops.terminal import printable
from web.accounts.passwords import normalised
from web.jobs.chat import _preferred_wait_s
from web.jobs.schemas import _without_stacked_marks


def _or_none(read, text):
    try:
        return read(text)
    except ValueError:
        return None


PERSONAS, FEATURES = load_personas(), read_rules().features
FUNCTIONS = {
    "canonical": canonical,
    "relevance": lambda text: rate(text, PERSONAS),
    "features": lambda text: measure(text, 0, FEATURES),
    "redaction": redact_text,
    "marks": _without_stacked_marks,
    "terminal": printable,
    "settings": clean,
    "addresses": lambda text: (_or_none(read_llm_url, text), _or_none(read_redis_url, text)),
    "prefer": lambda text: _preferred_wait_s(text, 0.0),
    "passwords": lambda text: normalised(text[:512]),
}
#: Text before and after a unit that is repeated; what normalises has runs that are accepted.
SHAPES = [
    ("q\n", " ", "x\ny"),
    ("", " ", "x"),
    ("", "\n", "x"),
    ("x", "\t ", "x"),
    ("x", "\r\n ", ""),
    ("", "a" + "\u0301\u0323" * 15, ""),
    ("", "\u1100\u1161\u11a8", ""),
    ("", "\ufb03", ""),
    ("", "1,", "x"),
    ("", "c+", ""),
    ("", "\\_{", "$"),
    ("return", " x", ""),
    ("", "return ", ""),
    ("", "testing", ""),
    ("", "://", ""),
    ("://", "a", ""),
    ("token", "-a", ""),
    ("", "token-", ""),
    ("", "token = ", ""),
    ("token=", " ", ""),
    ("", "token='\"", ""),
    ("bearer", " ", ""),
    ("", "basic ", ""),
    ("", "eyJ-", ""),
    ("eyJ", "a.", ""),
    ("", "ak-", ""),
    ("secret", "\ud800", ""),
    ("", "\x1b[", "m"),
    ("http://", "a.", ""),
    ("redis://", ":@", ""),
    ("wait=", " ", "x"),
    ("wait", "=1,", ""),
    ("", "\u202e", ""),
]
CHARS = 6_000
#: Below this a difference says nothing.
FLOOR_S = 0.003


def cpu_time(function, text):
    began = time.thread_time()
    function(text)
    return time.thread_time() - began


def is_linear(function, text, doubled, rounds=15):
    """Compare the shortest runs so far, up to so many rounds: a busy machine only adds to a run."""
    once = twice = float("inf")
    for done in range(rounds):
        once = min(once, cpu_time(function, text))
        twice = min(twice, cpu_time(function, doubled))
        if done >= 2 and twice <= 2.5 * once + FLOOR_S:
            return True
    return False


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_twice_the_text_takes_at_most_twice_the_time(name, shape):
    if name not in ("redaction", "marks", "terminal") and "\ud800" in shape[1]:
        pytest.skip("A request with a lone surrogate is refused.")
    before, unit, after = shape
    count = CHARS // len(unit)

    text, doubled = (before + unit * size + after for size in (count, 2 * count))

    assert is_linear(FUNCTIONS[name], text, doubled)


@pytest.mark.parametrize("mark", ["\u0301", "\u0323\u0301", "\u0345"])
def test_stacked_marks_are_refused(mark):
    assert _without_stacked_marks("a" + (mark * 30)[:30]) == "a" + (mark * 30)[:30]
    with pytest.raises(ValueError, match="at most 30 combining marks"):
        _without_stacked_marks("a" + (mark * 31)[:31])
