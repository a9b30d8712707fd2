"""What is left of an attempt whose worker is gone: its text, and what it will have cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import msgspec

from core import events
from core.chat import Usage
from core.jobs import JobSpec
from core.models import estimate_tokens
from core.outcome import Answer

if TYPE_CHECKING:
    from core.events import Event
    from core.models import Catalogue


class _Body(msgspec.Struct):
    data: dict[str, Any]


_decoder = msgspec.json.Decoder(_Body)


def remains_of(
    spec: JobSpec, log: Iterable[Event], catalogue: Catalogue
) -> tuple[Answer | None, Usage, int]:
    """Return the last attempt's answer so far, its estimated usage and the cost of that.

    The provider's own figures died with the worker; an attempt that wrote nothing counts as free.
    """
    text: list[str] = []
    agents: dict[str, None] = {}
    model_id = ""
    for event in log:
        if event.type == events.JOB_RETRYING:
            text, agents = [], {}
        elif event.type in (events.ROUTE_SELECTED, events.SYNTHESIS_STARTED):
            # A team's route names a model for each agent; the answer is the synthesis's.
            model_id = _decoder.decode(event.body).data.get("model", "")
        elif event.type == events.ANSWER_DELTA:
            data = _decoder.decode(event.body).data
            text.append(data["text"])
            agents[data["agent"]] = None
    if not text:
        return None, Usage(), 0
    answer = Answer(text="".join(text), finish_reason="interrupted", agents=tuple(agents))
    usage = Usage(
        input_tokens=estimate_tokens(spec.message),
        output_tokens=estimate_tokens(answer.text),
    )
    model = catalogue.get(model_id)
    return answer, usage, 0 if model is None else catalogue.cost_micros(model, usage)
