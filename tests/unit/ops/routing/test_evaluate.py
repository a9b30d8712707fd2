"""Comparisons of cheaper answers, one after the other."""

from __future__ import annotations

import msgspec
import pytest

from agents.plan import Planner
from core.chat import StreamEnd, TextDelta
from core.comparisons import CheaperAnswer
from core.jobs import Question
from core.model_errors import PermanentModelError
from core.models import read_catalogue
from core.outcome import Route
from core.personas import load_judge, load_personas, load_synthesis, load_title
from core.routing_rules import read_rules
from ops.routing.evaluate import INTERRUPTED, Evaluator, NoVerdict, evaluate
from ops.routing.paid_model import BudgetUsedUp, PaidModel
from tests.fakes import ScriptedModel
from tests.jobs import make_spec
from tests.unit.ops.routing.test_paid_model import PRICE, said

CATALOGUE = read_catalogue("groq")
DEEP, QUICK = CATALOGUE.for_tier("deep"), CATALOGUE.for_tier("quick")
TIE = [said("Rayleigh."), said("tie"), said("tie")]


def cheaper(agent="sage"):
    return CheaperAnswer(
        spec=make_spec(max_tokens=100, temperature=0.2),
        question=Question("Why is the sky blue?"),
        agent=agent,
        text="Because.",
        route=Route(tier="quick", model=QUICK.id, reason="small talk (-0.20)"),
        cost_micros=7,
    )


def evaluator(*calls, budget_micros=1_000_000):
    model = ScriptedModel(*calls)
    paid = PaidModel(model, CATALOGUE, DEEP, budget_micros=budget_micros)
    planner = Planner(CATALOGUE, read_rules(), load_personas(), load_synthesis(), load_title())
    return Evaluator(DEEP, paid, planner, load_judge()), model


def run(sample, *scripts, **options):
    kept = []
    judged, model = evaluator(*scripts, **options)
    result = evaluate(sample, judged, kept.append)
    assert result.compared == kept
    return result, model


def test_the_deep_tier_is_asked_the_same_question_in_the_same_way():
    judged, model = evaluator(*TIE)

    judged.compare(cheaper())

    first = model.requests[0]
    assert (first.model, first.max_tokens, first.temperature) == (DEEP.id, 100, 0.2)
    assert [message.content for message in first.messages] == [
        load_personas()["sage"].prompt,
        "Why is the sky blue?",
    ]


def test_the_judge_sees_both_answers_in_both_orders():
    judged, model = evaluator(said("Rayleigh."), said("second"), said("first"))

    found = judged.compare(cheaper())

    shown = [request.messages[1].content for request in model.requests[1:]]
    assert [text.index("Because.") < text.index("Rayleigh.") for text in shown] == [True, False]
    assert found.verdict == "worse"
    assert (found.cost_micros, found.deep_cost_micros) == (7, PRICE)
    assert found.judging_cost_micros == 2 * PRICE
    assert (found.tier, found.model, found.deep_model) == ("quick", QUICK.id, DEEP.id)


@pytest.mark.parametrize(
    ("scripts", "why"),
    [
        ([[TextDelta("Ray"), StreamEnd(finish_reason="length")]], "no whole answer"),
        ([said(" ")], "no whole answer"),
        ([said("Rayleigh."), said("I cannot tell")], "none of its three words"),
        ([said("Rayleigh."), said("first"), said("")], "none of its three words"),
    ],
)
def test_there_is_no_verdict_when_a_reply_is_of_no_use(scripts, why):
    judged, _ = evaluator(*scripts)

    with pytest.raises(NoVerdict, match=why):
        judged.compare(cheaper())


def test_there_is_no_verdict_when_the_agent_is_gone():
    judged, model = evaluator()

    with pytest.raises(NoVerdict, match="no agent merlin"):
        judged.compare(cheaper(agent="merlin"))

    assert model.requests == []


def test_nothing_is_called_when_the_budget_may_not_hold_all_three_calls():
    judged, model = evaluator(said("Rayleigh."), budget_micros=1_500)

    with pytest.raises(BudgetUsedUp):
        judged.compare(cheaper())

    assert model.requests == []


def test_each_comparison_is_kept_before_the_next_begins():
    result, _ = run([cheaper(), cheaper()], *TIE, *TIE)

    assert [found.verdict for found in result.compared] == ["tie", "tie"]
    assert (result.failures, result.ended_by) == ([], "")


def test_an_answer_that_cannot_be_compared_is_passed_over():
    result, _ = run(
        [cheaper(), cheaper()],
        [PermanentModelError("It is too long.")],
        *TIE,
    )

    assert result.failures == ["It is too long."]
    assert len(result.compared) == 1


def test_the_rest_is_not_tried_when_five_in_a_row_fail():
    result, model = run([cheaper()] * 9, *[[PermanentModelError("No.")]] * 9)

    assert "5 in a row" in result.ended_by
    assert len(model.requests) == len(result.failures) == 5


def test_what_was_made_is_kept_when_the_budget_ends():
    # Room for the highest price of one comparison, and for the true price of a few.
    budget_micros = 3_900

    result, model = run([cheaper()] * 9, *TIE * 9, budget_micros=budget_micros)

    assert result.ended_by == "The budget is used up."
    assert 0 < len(result.compared) < 9
    assert len(model.requests) == 3 * len(result.compared)


def test_what_was_made_is_kept_when_the_operator_interrupts():
    def press_ctrl_c():
        raise KeyboardInterrupt

    result, model = run([cheaper()] * 3, *TIE, [press_ctrl_c])

    assert result.ended_by == INTERRUPTED
    assert (len(result.compared), len(model.requests)) == (1, 4)


def test_a_comparison_holds_no_text_of_users_or_models():
    judged, _ = evaluator(*TIE)

    found = str(msgspec.to_builtins(judged.compare(cheaper())))

    assert not {"sky", "Because", "Rayleigh"} & set(found.replace(".", " ").split())
