"""A model whose every call is measured."""

from __future__ import annotations

import time
from collections.abc import Iterator

from core.chat import ChatModel, ModelRequest, StreamEnd, TextDelta, Usage
from core.model_errors import ModelError, TurnStopped
from core.models import Catalogue
from core.stop import StopSignal
from monitoring import families
from monitoring.metrics import Metrics


class MeasuredModel:
    """Wraps a model; calls that end by themselves, fail, or are closed count once each."""

    def __init__(
        self,
        chat_model: ChatModel,
        metrics: Metrics,
        catalogue: Catalogue,
    ) -> None:
        self._chat_model = chat_model
        self._metrics = metrics
        self._catalogue = catalogue

    def stream(
        self, request: ModelRequest, *, deadline: float, stop: StopSignal
    ) -> Iterator[TextDelta | StreamEnd]:
        """Stream one answer; see `core.chat.ChatModel` for the contract."""
        model, began, first = request.model, time.monotonic(), 0.0
        outcome, usage = "closed", None
        try:
            for item in self._chat_model.stream(request, deadline=deadline, stop=stop):
                if isinstance(item, StreamEnd):
                    outcome, usage = "ok", item.usage
                elif not first:
                    first = time.monotonic()
                    self._metrics.observe(families.LLM_FIRST_CHUNK, model, value=first - began)
                yield item
        except TurnStopped:
            outcome = "stopped"
            raise
        except ModelError as error:
            outcome = error.code
            raise
        finally:
            ended = time.monotonic()
            self._metrics.count(families.LLM_REQUESTS, model, outcome)
            self._metrics.observe(families.LLM_DURATION, model, value=ended - began)
            if usage is not None:
                self._measure_usage(model, usage, ended - first if first else 0.0)

    def _measure_usage(self, model: str, usage: Usage, spoke_for_s: float) -> None:
        count = self._metrics.count
        for kind, tokens in (
            ("input", usage.input_tokens),
            ("cached", usage.cached_input_tokens),
            ("output", usage.output_tokens),
        ):
            if tokens:
                count(families.LLM_TOKENS, model, kind, amount=tokens)
        if found := self._catalogue.models.get(model):
            count(families.LLM_COST, model, amount=self._catalogue.cost_micros(found, usage))
        if usage.output_tokens and spoke_for_s > 0:
            rate = usage.output_tokens / spoke_for_s
            self._metrics.observe(families.LLM_TOKENS_PER_SECOND, model, value=rate)
