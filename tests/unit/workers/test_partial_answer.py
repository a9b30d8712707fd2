"""What the log still holds of an attempt whose worker is gone."""

from __future__ import annotations

import msgspec

from core.events import Event
from core.jobs import Question
from core.models import read_catalogue
from core.outcome import Spent
from workers.upkeep.partial_answer import partial_answer

CATALOGUE = read_catalogue("groq")
QUESTION = Question("What is a queue?")
ROUTE = ("route.selected", {"agent": "dev", "model": "openai/gpt-oss-120b"})
RETRYING = ("job.retrying", {"agent": None})


def log_of(*entries):
    return [
        Event(sequence=number, type=kind, body=msgspec.json.encode({"data": data}))
        for number, (kind, data) in enumerate(entries, 1)
    ]


def delta(text):
    return ("answer.delta", {"text": text, "agent": "dev"})


def test_an_attempt_that_wrote_nothing_is_free():
    assert partial_answer(QUESTION, log_of(ROUTE), CATALOGUE) == (None, Spent())


def test_only_the_last_attempts_text_counts_when_there_were_two():
    log = log_of(ROUTE, delta("old"), RETRYING, ROUTE, delta("new "), delta("text"))

    answer, used = partial_answer(QUESTION, log, CATALOGUE)

    assert (answer.text, answer.finish_reason, answer.agents) == (
        "new text",
        "interrupted",
        ("dev",),
    )
    assert used.usage.output_tokens > 0
    assert used.cost_micros > 0


def test_a_teams_text_is_priced_by_the_model_of_its_synthesis():
    other = ("route.selected", {"agent": "luna", "model": "openai/gpt-oss-20b"})
    synthesis = ("synthesis.started", {"model": "openai/gpt-oss-120b"})
    words = ("answer.delta", {"text": "one answer", "agent": "synthesis"})

    _, replies_only = partial_answer(QUESTION, log_of(ROUTE, other, words), CATALOGUE)
    _, with_synthesis = partial_answer(QUESTION, log_of(ROUTE, other, synthesis, words), CATALOGUE)

    # A reply that became the answer is in the job's account already.
    assert replies_only.cost_micros == 0
    assert with_synthesis.cost_micros > 0
