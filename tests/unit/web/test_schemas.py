"""What requests may contain."""

from __future__ import annotations

import re

import pytest
from pydantic import ValidationError

from web.accounts.schemas import RegisterRequest
from web.http.errors import to_invalid_request
from web.jobs.filter_schemas import JobListQuery
from web.jobs.schemas import (
    ChatRequest,
    JobQuery,
    StreamHeaders,
    SubmitHeaders,
    TeamChatRequest,
)

OPERATORS = [{"$ne": None}, {"$gt": ""}, {"$regex": ".*"}, ["a"], [], 1, 1.5, True]


@pytest.fixture(autouse=True)
def _within_application(app):
    with app.app_context():
        yield


def refusal_of(model, values):
    with pytest.raises(ValidationError) as refusal:
        model.model_validate(values)
    return to_invalid_request(refusal.value)


def refused_field(model, values):
    """Return the field at fault, of which the detail has to be a sentence in our own words."""
    refusal = refusal_of(model, values)
    start = re.escape(f"`{refusal.field}` ")
    assert re.fullmatch(start + r"(is|must) .*[^.]\.", refusal.message), refusal.message
    assert "should" not in refusal.message
    return refusal.field


def test_message_is_all_a_chat_request_needs():
    request = ChatRequest.model_validate({"message": "  Help me build a scalable web app\n"})

    assert request.message == "Help me build a scalable web app"
    assert request.metadata == {}
    assert (request.agent, request.max_tokens, request.temperature) == (None, None, None)


def test_bounds_are_allowed_when_a_chat_request_reaches_them():
    request = ChatRequest.model_validate(
        {
            "message": " " + "m" * 100 + " ",
            "conversation_id": "c" * 64,
            "max_tokens": 50,
            "temperature": 2,
            "metadata": {f"key.{n}": "v" * 512 for n in range(16)},
        }
    )

    assert len(request.message) == 100
    assert len(request.metadata) == 16


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"message": ""}, "message"),
        ({"message": " \n\t "}, "message"),
        ({"message": "m" * 101}, "message"),
        ({"conversation_id": "a/b"}, "conversation_id"),
        ({"conversation_id": "c" * 65}, "conversation_id"),
        ({"conversation_id": "c\n"}, "conversation_id"),
        ({"agent": ""}, "agent"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": 51}, "max_tokens"),
        ({"max_tokens": "5"}, "max_tokens"),
        ({"max_tokens": 5.0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"temperature": 2.01}, "temperature"),
        ({"temperature": -0.1}, "temperature"),
        ({"temperature": "1"}, "temperature"),
        ({"temperature": True}, "temperature"),
        ({"metadata": {str(n): "" for n in range(17)}}, "metadata"),
        ({"metadata": {"key": "v" * 513}}, "metadata.key"),
        ({"metadata": {"key": 1}}, "metadata.key"),
        ({"metadata": {"$where": "1"}}, "metadata.$where"),
        ({"metadata": {"": "1"}}, "metadata."),
        ({"user_id": "usr_1"}, "user_id"),
        ({"plan": "enterprise"}, "plan"),
    ],
)
def test_field_is_named_when_a_chat_request_is_wrong(changes, field):
    assert refused_field(ChatRequest, {"message": "hello"} | changes) == field


@pytest.mark.parametrize(
    ("model", "values", "detail"),
    [
        (ChatRequest, {}, "`message` is required."),
        (ChatRequest, {"message": " "}, "`message` must not be empty."),
        (ChatRequest, {"message": 1}, "`message` must be text."),
        (
            ChatRequest,
            {"message": "m" * 101},
            "`message` must be at most 100 characters long.",
        ),
        (ChatRequest, {"message": "m", "max_tokens": 51}, "`max_tokens` must be at most 50."),
        (ChatRequest, {"message": "m", "temperature": 3}, "`temperature` must be at most 2."),
        (ChatRequest, {"message": "m", "plan": "pro"}, "`plan` is not a field of this request."),
        (
            ChatRequest,
            {"message": "m", "agent": "a/b"},
            "`agent` must consist of 1 to 64 letters, digits, `_` or `-`.",
        ),
        (
            ChatRequest,
            {"message": "m", "tier": "huge"},
            "`tier` must be 'quick', 'standard' or 'deep'.",
        ),
        (
            ChatRequest,
            {"message": "m", "tier": "quick", "model": "m"},
            "Give `tier` or `model`, not both.",
        ),
        (
            TeamChatRequest,
            {"message": "m", "agents": "all"},
            '`agents` must be a list of agents or "auto".',
        ),
        (
            TeamChatRequest,
            {"message": "m", "agents": ["a/b"]},
            "`agents.0` must consist of 1 to 64 letters, digits, `_` or `-`.",
        ),
        (
            TeamChatRequest,
            {"message": "m", "agents": ["dev"] * 6},
            "`agents` must have at most 5 entries.",
        ),
        (ChatRequest, None, "A JSON body is required."),
        (JobQuery, {"after": "x"}, "`after` must be a whole number."),
        (
            JobQuery,
            {"types": "job.done"},
            "`types` must name types of events; there is no job.done.",
        ),
        (RegisterRequest, {"email": "ann"}, "`email` must be an e-mail address."),
        (SubmitHeaders, {"Idempotency-Key": ""}, "`Idempotency-Key` must not be empty."),
        (
            SubmitHeaders,
            {"Idempotency-Key": "k" * 256},
            "`Idempotency-Key` must be at most 255 characters long.",
        ),
        (StreamHeaders, {"Last-Event-ID": "x"}, "`Last-Event-ID` must be a whole number."),
    ],
)
def test_detail_says_what_is_wrong_with_which_field(model, values, detail):
    assert refusal_of(model, values).message == detail


def test_empty_event_number_stands_for_none():
    assert StreamHeaders.model_validate({"Last-Event-ID": ""}).last_event_id is None


@pytest.mark.parametrize("value", OPERATORS, ids=str)
@pytest.mark.parametrize("field", ["message", "conversation_id", "agent"])
def test_text_is_asked_for_when_an_operator_is_sent(field, value):
    assert refused_field(ChatRequest, {"message": "hello"} | {field: value}) == field


@pytest.mark.parametrize("after", ["-1", "1.0", "+1", " 1", "1_0", "1" * 16, "x", "", "٣"])
def test_cursor_is_refused_when_it_is_no_plain_number(after):
    assert refused_field(JobQuery, {"after": after}) == "after"


def test_query_is_read_when_its_numbers_are_text():
    query = JobQuery.model_validate({"after": "7", "wait": "2.5"})

    assert (query.after, query.wait) == (7, 2.5)


@pytest.mark.parametrize("wait", ["61", "-1", "nan", "inf", "x"])
def test_wait_is_refused_when_it_is_out_of_range(wait):
    assert refused_field(JobQuery, {"wait": wait}) == "wait"


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "101"}, "limit"),
        ({"status": "done"}, "status"),
        ({"cursor": ""}, "cursor"),
        ({"owner": "usr_1"}, "owner"),
    ],
)
def test_field_is_named_when_a_list_query_is_wrong(values, field):
    assert refused_field(JobListQuery, values) == field


@pytest.mark.parametrize(
    "password",
    ["short", "p" * 129, "password", "PASSWORD", "aaaaaaaabbbb", "ann@example.com", "12345678"],
)
def test_password_is_refused_when_it_is_trivial(password):
    values = {"email": "ann@example.com", "password": password}

    assert refused_field(RegisterRequest, values) == "password"


@pytest.mark.parametrize(
    "email", ["", "ann", "ann@", "@b.io", "a b@c.io", "ann@localhost", "ann@b.io\n.x", "a@b@c.io"]
)
def test_address_is_refused_when_it_is_none(email):
    values = {"email": email, "password": "correct horse"}

    assert refused_field(RegisterRequest, values) == "email"


def test_password_is_not_shown_when_a_request_is_printed():
    request = RegisterRequest.model_validate({"email": "a@b.io", "password": "canary horse"})

    assert "canary" not in repr(request)
