"""What the log still holds of an attempt whose worker is gone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import msgspec

from core import events
from core.chat import Usage
from core.events import Event
from core.jobs import Question
from core.models import Catalogue, estimate_tokens
from core.outcome import Answer, Spent


class _Body(msgspec.Struct):
    data: dict[str, Any]


_decoder = msgspec.json.Decoder(_Body)


def partial_answer(
    question: Question, log: Iterable[Event], catalogue: Catalogue
) -> tuple[Answer | None, Spent]:
    """Return the last attempt's answer so far and an estimate of what it used and cost.

    The provider's own figures died with the worker. An attempt without text counts as free.
    """
    entries = [(event.type, _decoder.decode(event.body).data) for event in log]
    text = events.answer_text(entries)
    if not text:
        return None, Spent()
    agents = dict.fromkeys(data["agent"] for kind, data in entries if kind == events.ANSWER_DELTA)
    answer = Answer(text=text, finish_reason="interrupted", agents=tuple(agents))
    usage = Usage(
        input_tokens=estimate_tokens(question.message), output_tokens=estimate_tokens(text)
    )
    model = catalogue.get(_model_of_answer(entries))
    return answer, Spent(usage, 0 if model is None else catalogue.cost_micros(model, usage))


def _model_of_answer(entries: list[tuple[str, dict[str, Any]]]) -> str:
    """Return the id of the model that wrote the answer: the synthesis's, or the agent's alone.

    A team's answer has no model before its synthesis began; one agent's reply that became the
    answer is in the job's account already.
    """
    synthesis = [data["model"] for kind, data in entries if kind == events.SYNTHESIS_STARTED]
    routes = [data["model"] for kind, data in entries if kind == events.ROUTE_SELECTED]
    is_team = len({data["agent"] for kind, data in entries if kind == events.ROUTE_SELECTED}) > 1
    if synthesis:
        return str(synthesis[-1])
    return "" if is_team or not routes else str(routes[-1])
