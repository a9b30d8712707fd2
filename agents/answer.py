"""One turn: ask the model, try again where it helps, account for every call.

A model's failure is part of the reply; nothing here raises for it.
"""

from __future__ import annotations

import time
from typing import Final

import structlog
from msgspec import Struct, field
from msgspec.structs import replace

from agents.answer_checks import fault_of
from agents.endings import ENDED_EARLY, Ending, ended, failed, out_of_money, stopped
from agents.plan import Turn
from agents.reply import SILENT, Listener, Reply, as_first_text, behind_draft
from agents.retry_policy import (
    AskAnother,
    BackIntoLine,
    Breaker,
    ComeBack,
    GiveUp,
    TryAgain,
    next_step,
)
from agents.spending import Spending
from core.chat import ChatModel, ModelRequest, StreamEnd, Usage
from core.model_errors import (
    BudgetGone,
    CostLimitReached,
    ModelError,
    NoAnswer,
    RateLimited,
    TransientModelError,
    TurnStopped,
)
from core.models import Catalogue, Model
from core.outcome import AgentReport
from core.stop import StopSignal

logger = structlog.get_logger(__name__)

#: How long a job waits in the queue when every model's circuit is open, in seconds.
_OPEN_CIRCUIT_WAIT_S: Final = 10.0


class _Run(Struct):
    """One turn while it runs: its bounds, and what it has used so far, call by call."""

    turn: Turn
    booking: str
    deadline: float
    stop: StopSignal
    listener: Listener
    spending: Spending
    started: float = field(default_factory=time.monotonic)
    text: list[str] = field(default_factory=list)
    first_token_s: float | None = None
    usage: Usage = Usage()
    cost_micros: int = 0

    @property
    def left_s(self) -> float:
        return self.deadline - time.monotonic()

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self.started

    def take(self, text: str) -> None:
        if self.first_token_s is None:
            self.first_token_s = self.elapsed_s
        self.text.append(text)
        self.spending.take(text)
        self.listener.on_text(text)

    def restart(self, reason: str) -> None:
        """Void the text of a failed call; what it used stays in the account."""
        if self.text:
            self.text.clear()
            self.listener.on_restart(reason)


class AnswerRunner:
    """Runs turns one after another; safe to share between threads."""

    def __init__(self, chat_model: ChatModel, catalogue: Catalogue, breaker: Breaker) -> None:
        self._chat_model = chat_model
        self._catalogue = catalogue
        self._breaker = breaker

    def run(
        self,
        turn: Turn,
        *,
        booking: str,
        deadline: float,
        stop: StopSignal,
        listener: Listener,
        spending: Spending,
    ) -> Reply:
        """Return the agent's reply; a failure of the models is part of it and raises nothing.

        A turn with a `stronger` one behind it is a cascade: its reply is published only when it
        passes `fault_of`; otherwise the stronger turn answers, and the draft counts as used.

        Args:
            booking: names the call in the provider's budget, the same in every attempt.
            deadline: `time.monotonic()` value at which the reply ends as it is.
            spending: what the turn may cost; each call is covered before it is made.
        """
        if turn.stronger is None:
            return self._run(_Run(turn, booking, deadline, stop, listener, spending))
        draft = self._run(_Run(turn, booking, deadline, stop, SILENT, spending))
        if draft.retry_in_s is not None or draft.finish_reason in ENDED_EARLY:
            # No other model can help. The text was never published, so it is not the answer.
            return replace(draft, text="")
        fault = _fault_of_draft(turn, draft)
        if fault is None:
            listener.on_text(draft.text)
            return as_first_text(draft)
        model = turn.stronger.models[0]
        listener.on_route(turn.stronger.tier, model, f"cascade: {fault}", draft.report.model)
        reply = self._run(_Run(turn.stronger, booking, deadline, stop, listener, spending))
        return behind_draft(reply, draft.report, fault)

    def _run(self, run: _Run) -> Reply:
        """Run one turn.

        Where the provider sent no usage, it is estimated from the text that came; a call that
        brought no text counts as unused. Calls that failed are part of the usage.
        """
        turn = run.turn
        model, ending = self._ask_in_turn(run)
        is_fallback = model is not turn.models[0]
        report = AgentReport(
            name=turn.agent,
            status=ending.status,
            tier=turn.tier,
            model=model.id,
            reason=turn.reason,
            usage=run.usage,
            cost_micros=run.cost_micros,
            timing_ms={"first_token": _to_ms(run.first_token_s), "total": _to_ms(run.elapsed_s)},
            error=ending.error,
            fallback_from=turn.models[0].id if is_fallback else None,
            exchanges=turn.exchanges,
        )
        return Reply(
            text="".join(run.text),
            finish_reason=ending.finish_reason,
            report=report,
            retry_in_s=ending.retry_in_s,
            awaited_model=ending.awaited_model,
        )

    def _ask_in_turn(self, run: _Run) -> tuple[Model, Ending]:
        """Ask one model after the other until one has the last word."""
        failure: ModelError = TransientModelError("Every model that could answer is failing.")
        models = run.turn.models
        was_asked = False
        for model in models:
            if not self._breaker.allows(model.id):
                continue
            if model is not models[0]:
                run.listener.on_route(
                    run.turn.tier, model, f"fallback: {failure.message}", models[0].id
                )
            was_asked = True
            result = self._ask(run, model)
            if isinstance(result, Ending):
                return model, result
            failure = result
        if not was_asked and run.left_s > _OPEN_CIRCUIT_WAIT_S:
            return models[0], failed(failure, retry_in_s=_OPEN_CIRCUIT_WAIT_S)
        return models[-1], failed(failure)

    def _ask(self, run: _Run, model: Model) -> Ending | ModelError:
        """Ask one model, again if that may help; an error means that another is to be asked."""
        tries = 0
        while True:
            tries += 1
            try:
                return self._call(run, model)
            except TurnStopped:
                return stopped(run.stop.reason)
            except (BudgetGone, CostLimitReached) as error:
                return out_of_money(error)
            except ModelError as error:
                result = self._after_failure(run, model, error, tries)
                if not isinstance(result, TryAgain):
                    return result
                run.stop.wait(result.wait_s)

    def _after_failure(
        self, run: _Run, model: Model, error: ModelError, tries: int
    ) -> TryAgain | Ending | ModelError:
        logger.warning("model failed", model=model.id, code=error.code, why=error.message)
        # A limit is not a failure of the model, nor is a request that it refuses or cannot answer:
        # one user's bad requests must not take the model from the others.
        if isinstance(error, TransientModelError) and not isinstance(error, RateLimited | NoAnswer):
            self._breaker.record(model.id, is_success=False)
        step = next_step(error, tries=tries, left_s=run.left_s)
        if isinstance(step, ComeBack):
            return failed(error, retry_in_s=step.wait_s)
        if isinstance(step, BackIntoLine):
            return failed(error, retry_in_s=step.wait_s, awaited_model=model.id)
        if isinstance(step, GiveUp) or (
            isinstance(step, AskAnother) and model is run.turn.models[-1]
        ):
            return failed(error)
        run.restart(error.code)
        return step if isinstance(step, TryAgain) else error

    def _call(self, run: _Run, model: Model) -> Ending:
        """Ask once and put the call on the account, however it ends."""
        turn, spending = run.turn, run.spending
        most = min(turn.max_tokens, model.max_output_tokens)
        request = ModelRequest(
            model=model.id,
            messages=turn.messages,
            max_tokens=spending.begin_call(model, turn.messages, most),
            temperature=_temperature(turn, model),
            sampling={n: value for n, value in model.sampling.items() if n != "temperature"},
            booking=run.booking,
        )
        usage: Usage | None = None
        counted: StreamEnd | None = None
        try:
            for item in self._chat_model.stream(request, deadline=run.deadline, stop=run.stop):
                if isinstance(item, StreamEnd):
                    usage, counted = item.usage, item
                    self._breaker.record(model.id, is_success=True)
                    return ended(item, is_narrowed=spending.is_narrowed)
                run.take(item.text)
        except NoAnswer as error:
            usage = error.usage
            raise
        finally:
            usage = usage or spending.estimate()
            cost_micros = self._catalogue.cost_micros(model, usage)
            run.usage += usage
            run.cost_micros += cost_micros
            spending.end_call(model, cost_micros, counted)
        raise AssertionError("a stream ends with StreamEnd or raises")


def _fault_of_draft(turn: Turn, draft: Reply) -> str | None:
    if draft.report.status == "failed":
        return "the quick model failed"
    return fault_of(turn.messages[-1].content, draft.text, draft.finish_reason)


def _to_ms(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds * 1000)


def _temperature(turn: Turn, model: Model) -> float | None:
    return model.sampling.get("temperature") if turn.temperature is None else turn.temperature
