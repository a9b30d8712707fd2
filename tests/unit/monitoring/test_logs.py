"""Log lines: JSON with the ids of request and job, and never a secret."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st
from structlog.contextvars import bound_contextvars

from monitoring.logs import REDACTED, configure_logs, redact, redact_text

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJ1c3JfMSJ9.c2lnbmF0dXJl"


@pytest.fixture
def stream():
    """Capture the process's log, and leave logging as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    out = io.BytesIO()
    configure_logs("info", "test", out)
    yield out
    structlog.reset_defaults()
    logging.captureWarnings(False)
    root.handlers[:] = handlers
    root.setLevel(level)


def lines(stream):
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_line_says_when_where_and_for_whom_when_something_is_logged(stream):
    with bound_contextvars(request_id="req-12345678", job_id="job_1"):
        structlog.get_logger().info("job accepted", count=3)

    (line,) = lines(stream)
    assert line.pop("ts").endswith("Z")
    assert line == {
        "level": "info",
        "event": "job accepted",
        "service": "test",
        "request_id": "req-12345678",
        "job_id": "job_1",
        "count": 3,
    }


def test_line_is_left_out_when_its_level_is_too_low(stream):
    structlog.get_logger().debug("detail")

    assert lines(stream) == []


def test_library_warning_becomes_such_a_line_when_it_uses_standard_logging(stream):
    logging.getLogger("pymongo").warning("no server at %s", "mongodb://root:hunter2@db:27017")
    logging.getLogger("pymongo").info("chatter")

    (line,) = lines(stream)
    assert line["level"] == "warning"
    assert line["logger"] == "pymongo"
    assert line["event"] == f"no server at mongodb://{REDACTED}@db:27017"


def test_traceback_is_logged_without_its_secrets_when_an_exception_is(stream):
    try:
        raise ValueError(f"refused Bearer {JWT}")
    except ValueError:
        structlog.get_logger().exception("request failed")

    (line,) = lines(stream)
    assert line["level"] == "error"
    assert "ValueError" in line["exception"]
    assert JWT not in line["exception"]


@pytest.mark.parametrize(
    "text",
    [
        "Authorization: Bearer {}",
        "authorization=Basic {}",
        "bearer {}",
        "{{'password': '{}'}}",
        '{{"api_key": "{}"}}',
        "AETHER_JWT_SECRET={}",
        "redis://:{}@127.0.0.1:6379/0",
        "mongodb+srv://user:p@ss{}@db/x?y=1",
        "key gsk_{} refused",
        "(ak-{})",
        "refresh_token = {}",
        "GET /reset-password?token={} HTTP/1.1",
    ],
)
def test_secret_is_left_out_when_a_text_holds_one(text):
    canary = "c4n4ryC4N4RYc4n4ry"

    shown = redact_text(text.format(canary))

    assert canary not in shown
    assert REDACTED in shown


@given(st.text(alphabet=st.characters(codec="utf-8"), max_size=40), st.text(max_size=40))
def test_token_is_left_out_when_anything_surrounds_it(before, after):
    shown = redact_text(f"{before} {JWT} {after}")

    assert JWT not in shown


@pytest.mark.parametrize("name", ["password", "Authorization", "refresh_token", "groq_api_key"])
def test_value_is_left_out_when_its_name_says_it_is_secret(name):
    shown = redact("details", {"deep": [{name: "hunter2"}]})

    assert shown == {"deep": [{name: REDACTED}]}


def test_counts_of_tokens_stay_when_they_are_logged():
    assert redact("input_tokens", 7) == 7
    assert redact("max_tokens", 100) == 100


def test_any_object_can_be_logged_when_json_has_no_form_for_it(stream):
    structlog.get_logger().info("odd \udce9", value=object, items={1, 2}, raw=b"x\xff")

    (line,) = lines(stream)
    assert line["items"] == [1, 2]
    assert "object" in line["value"]
