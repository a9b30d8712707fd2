"""What a model is shown."""

from __future__ import annotations

from agents.context import build_messages
from core.chat import Message
from core.models import estimate_tokens
from core.personas import load_personas

DEV = load_personas()["dev"]
HISTORY = [
    Message("user", "first question"),
    Message("assistant", "first answer"),
    Message("user", "second question"),
    Message("assistant", "second answer"),
]


def contents(messages):
    return [message.content for message in messages]


def test_persona_comes_first_and_the_message_last():
    messages = build_messages(DEV, HISTORY, "now?", budget_tokens=10_000)

    assert contents(messages) == [DEV.prompt, *contents(HISTORY), "now?"]
    assert [message.role for message in messages] == [
        "system", "user", "assistant", "user", "assistant", "user",
    ]  # fmt: skip


def test_oldest_turn_goes_first_when_the_budget_is_short():
    fixed = estimate_tokens(DEV.prompt) + estimate_tokens("now?")
    one_turn = estimate_tokens("second question") + estimate_tokens("second answer")

    messages = build_messages(DEV, HISTORY, "now?", budget_tokens=fixed + one_turn)

    assert contents(messages)[1:-1] == ["second question", "second answer"]


def test_message_stays_when_there_is_no_budget_at_all():
    assert contents(build_messages(DEV, HISTORY, "now?", budget_tokens=0)) == [DEV.prompt, "now?"]
