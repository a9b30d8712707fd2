"""What is left of an attempt whose worker is gone."""

from __future__ import annotations

import msgspec

from core.chat import Usage
from core.events import Event
from core.models import read_catalogue
from tests.jobs import make_spec
from workers.upkeep.partial_answer import remains_of

CATALOGUE = read_catalogue("groq")
ROUTE = ("route.selected", {"model": "openai/gpt-oss-120b"})


def log_of(*entries):
    return [
        Event(sequence=number, type=kind, body=msgspec.json.encode({"data": data}))
        for number, (kind, data) in enumerate(entries, 1)
    ]


def delta(text):
    return ("answer.delta", {"text": text, "agent": "dev"})


def test_nothing_is_left_and_owed_when_nothing_was_written():
    assert remains_of(make_spec(), log_of(ROUTE), CATALOGUE) == (None, Usage(), 0)


def test_only_the_last_attempts_text_is_left_when_there_were_two():
    log = log_of(ROUTE, delta("old"), ("job.retrying", {}), ROUTE, delta("new "), delta("text"))

    answer, usage, cost_micros = remains_of(make_spec(), log, CATALOGUE)

    assert (answer.text, answer.finish_reason, answer.agents) == (
        "new text",
        "interrupted",
        ("dev",),
    )
    assert usage.output_tokens > 0
    assert cost_micros > 0
