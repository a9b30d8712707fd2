"""Which requests have the same fingerprint, and which must not."""

from __future__ import annotations

import unicodedata

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cache.fingerprint import Fingerprints, canonical, fingerprints_of
from core.chat import Message
from core.ids import new_user_id
from core.jobs import CacheControl, JobSpec, Question, RouteRequest, TeamRequest
from core.settings import Settings
from ops.stack.state import ROOT
from tests.jobs import make_spec

FINGERPRINTS = Fingerprints("secret", "v1", is_shared=False)
SPEC = make_spec(cache_secret="5" * 64)
QUESTION = Question("What is a mutex?")


def changed(**fields):
    return msgspec.structs.replace(SPEC, **fields)


def fingerprint_of(spec=SPEC, message=QUESTION.message, history=()):
    return FINGERPRINTS.of(spec, Question(message), history)


@pytest.mark.parametrize(
    "fields",
    [
        {"id": "job_" + "0" * 32},
        {"created_ms": 1, "allowed_ms": 2},
        {"plan": "pro", "priority": 9, "run_at_ms": 1, "expires_at_ms": 2, "is_batch": True},
        {"concurrency_key": "a", "concurrency_limit": 2},
        {"metadata": {"ticket": "42"}},
        {"request_id": "another"},
        {"cache": CacheControl(ttl_s=5)},
        {"mode": "stream"},
    ],
)
def test_fingerprint_is_the_same_when_the_answer_does_not_depend_on_the_change(fields):
    assert fingerprint_of(changed(**fields)) == fingerprint_of()


@pytest.mark.parametrize(
    "fields",
    [
        {"user_id": new_user_id()},
        {"cache_secret": "6" * 64},
        {"mode": "quick"},
        {"agent": "dev"},
        {"team": TeamRequest()},
        {"team": TeamRequest(agents=("dev", "sage"))},
        {"max_tokens": 101},
        {"temperature": 0.0},
    ],
)
def test_fingerprint_differs_when_the_answer_may(fields):
    assert fingerprint_of(changed(**fields)) != fingerprint_of()


def test_fingerprint_differs_by_the_message_but_not_by_blanks_that_nobody_sees():
    assert fingerprint_of(message="What  is a   mutex?") == fingerprint_of()
    assert (
        len({fingerprint_of(message=text) for text in ("what is a mutex?", "What is a mutex")}) == 2
    )
    assert fingerprint_of(message="What is a mutex") != fingerprint_of()


def test_every_part_of_a_job_counts_or_is_known_not_to():
    # A new field belongs into one of these sets; one that the answer depends on, also into `of`.
    counts = {"user_id", "mode", "max_tokens", "temperature", "agent", "team"}
    counts |= {"route", "cache_secret"}
    by_history = {"conversation_id", "parent_id", "turn"}
    does_not = {"id", "created_ms", "allowed_ms", "cache", "metadata", "reserved_micros"}
    does_not |= {"request_id", "plan", "is_batch", "priority", "run_at_ms", "expires_at_ms"}
    does_not |= {"concurrency_key", "concurrency_limit"}
    does_not |= {
        "least_micros",
        "budgets",
        "api_key_id",
        "units",
        "retry_of",
        "title_of",
        "webhook",
    }

    assert set(JobSpec.__struct_fields__) == counts | by_history | does_not


def test_fingerprint_differs_by_the_models_that_answer(tmp_path):
    shipped = (ROOT / "core" / "models.toml").read_text()
    catalogue = tmp_path / "models.toml"
    catalogue.write_text(shipped.replace("gpt-oss-20b", "gpt-oss-21b"))

    fingerprints = [
        fingerprints_of(Settings(cache_secret="s" * 40, models_file=file)).of(SPEC, QUESTION)
        for file in (None, catalogue)
    ]

    assert fingerprints[0] != fingerprints[1]


def test_fingerprint_differs_by_the_weights_of_the_router(tmp_path):
    shipped = (ROOT / "core" / "routing.toml").read_text()
    own = tmp_path / "routing.toml"
    own.write_text(shipped.replace("bias = -", "bias = -1"))

    fingerprints = [
        fingerprints_of(Settings(cache_secret="s" * 40, routing_file=file)).of(SPEC, QUESTION)
        for file in (None, own)
    ]

    assert fingerprints[0] != fingerprints[1]


def test_fingerprint_differs_when_the_history_does():
    histories = [
        (),
        (Message("user", "a"), Message("assistant", "b")),
        (Message("user", "ab"), Message("assistant", "")),
        (Message("user", "a"), Message("assistant", "c")),
    ]

    assert len({fingerprint_of(history=history) for history in histories}) == len(histories)


def test_fingerprint_differs_when_the_requested_route_does():
    asked = [
        RouteRequest(),
        RouteRequest(tier="quick"),
        RouteRequest(model="openai/gpt-oss-20b"),
        RouteRequest(max_tier="standard"),
        RouteRequest(is_cascade=True),
    ]

    assert len({fingerprint_of(changed(route=route)) for route in asked}) == len(asked)
    assert fingerprint_of(changed(route=RouteRequest(max_cost_micros=9))) == fingerprint_of()


def test_fingerprint_differs_by_secret_and_version():
    others = [
        Fingerprints("other", "v1", is_shared=False),
        Fingerprints("secret", "v2", is_shared=False),
    ]

    assert len({fingerprints.of(SPEC, QUESTION) for fingerprints in (FINGERPRINTS, *others)}) == 3


def test_there_is_no_fingerprint_when_an_answer_would_outlive_its_only_user():
    of_before = changed(cache_secret="")
    shared = Fingerprints("secret", "v1", is_shared=True)

    assert FINGERPRINTS.of(of_before, QUESTION) == ""
    assert shared.of(msgspec.structs.replace(of_before, conversation_id="c"), QUESTION) == ""
    assert shared.of(of_before, QUESTION) == shared.of(SPEC, QUESTION) != ""


def test_fingerprint_is_shared_by_users_only_without_a_conversation():
    shared = Fingerprints("secret", "v1", is_shared=True)
    other = changed(user_id=new_user_id(), cache_secret="6" * 64)

    assert shared.of(SPEC, QUESTION) == shared.of(other, QUESTION)
    mine, theirs = (msgspec.structs.replace(spec, conversation_id="c") for spec in (SPEC, other))
    assert shared.of(mine, QUESTION) != shared.of(theirs, QUESTION)


@given(st.text())
def test_canonical_text_does_not_change_again(text):
    assert canonical(canonical(text)) == canonical(text)


@given(st.text())
def test_composed_and_decomposed_text_are_one(text):
    assert canonical(unicodedata.normalize("NFD", text)) == canonical(text)


@pytest.mark.parametrize(
    "text",
    [
        "if x:\n    y()",
        "print('a  b')",
        "`a  b`",
        "| a  | b |",
        "STRASSE",
        "你好　世界",
        "İstanbul",
        "“a  b”",
        "a\tb  c",
        "make \\ \n  all",
        "```\na  \n```",
    ],
)
def test_significant_spaces_and_letters_are_unchanged(text):
    assert canonical(text) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (" a   b ", "a b"),
        ("a\r\nb\rc", "a\nb\nc"),
        ("a  \nb  ", "a\nb"),
        ("\n\na\n\n", "a"),
        ("    x = 1\n  y = 2", "    x = 1\n  y = 2"),
    ],
)
def test_invisible_differences_are_dropped(text, expected):
    assert canonical(text) == expected
