"""What one turn may spend: each call is covered before it is made, each text before it is kept."""

from __future__ import annotations

import pytest

from agents.spending import STEP_TOKENS, Funding, Spending
from core.chat import Message, StreamEnd, Usage
from core.lessons import Lesson
from core.model_errors import BudgetGone, BudgetHeld, CostLimitReached
from core.models import Model, read_catalogue

CATALOGUE = read_catalogue("groq")
#: A token of output costs a micro-dollar, a token of input a tenth.
MODEL = Model(
    id="openai/gpt-oss-20b",
    context_tokens=10_000,
    max_output_tokens=10_000,
    input_usd=0.1,
    cached_input_usd=0.1,
    output_usd=1.0,
)
#: A character is a token.
PLAIN = Lesson(calls=99, input_per_char=1.0, text_per_char=1.0)
PROMPT = [Message("user", "x" * 100)]
PROMPT_MICROS = 10


class Budget:
    """Grants what is asked for up to `most`, and remembers it."""

    def __init__(self, most=10**9, refusal=Funding.GONE):
        self.most, self.refusal = most, refusal
        self.asked = []

    def extend(self, wanted):
        self.asked.append(wanted)
        return Funding.HELD if wanted <= self.most else self.refusal


def begin(budget=None, lesson=PLAIN, **fields):
    learned = []
    spending = Spending(
        CATALOGUE,
        user_id="usr_1",
        extend=(budget or Budget()).extend,
        lesson_of=lambda _: lesson,
        learn=learned.append,
        **({"held": 0} | fields),
    )
    return spending, learned


def test_nothing_is_asked_for_when_what_is_held_covers_the_first_step():
    budget = Budget()
    spending, _ = begin(budget, held=PROMPT_MICROS + STEP_TOKENS)

    assert spending.begin_call(MODEL, PROMPT, 1_000) == 1_000
    assert budget.asked == []


def test_more_is_asked_for_before_a_call_that_costs_more_than_is_held():
    budget = Budget()
    spending, _ = begin(budget, held=5, paid=40)

    spending.begin_call(MODEL, PROMPT, 1_000)

    assert budget.asked == [40 + PROMPT_MICROS + STEP_TOKENS]


def test_a_short_answer_is_covered_by_less_than_a_step():
    budget = Budget()
    spending, _ = begin(budget)

    spending.begin_call(MODEL, PROMPT, 7)

    assert budget.asked == [PROMPT_MICROS + 7]


@pytest.mark.parametrize(
    ("refusal", "error"), [(Funding.GONE, BudgetGone), (Funding.BUSY, BudgetHeld)]
)
def test_no_call_is_made_when_the_budgets_do_not_cover_it(refusal, error):
    spending, _ = begin(Budget(most=0, refusal=refusal))

    with pytest.raises(error):
        spending.begin_call(MODEL, PROMPT, 1_000)


def test_hidden_tokens_are_held_before_the_call():
    budget = Budget()
    spending, _ = begin(budget, lesson=Lesson(hidden_tokens=500, input_per_char=1.0))

    spending.begin_call(MODEL, PROMPT, 1_000)

    assert budget.asked == [PROMPT_MICROS + 500 + STEP_TOKENS]


def test_more_is_wanted_in_steps_while_text_is_still_covered():
    spending, _ = begin(held=PROMPT_MICROS + STEP_TOKENS)
    spending.begin_call(MODEL, PROMPT, 1_000)

    spending.take("x" * 100)
    assert spending.wanted() is None
    spending.take("x" * 100)
    wanted = spending.wanted()

    assert wanted == PROMPT_MICROS + 2 * STEP_TOKENS
    spending.was_held(wanted)
    assert spending.wanted() is None


def test_a_text_that_is_longer_than_a_step_is_covered_at_once():
    spending, _ = begin(held=PROMPT_MICROS + STEP_TOKENS)
    spending.begin_call(MODEL, PROMPT, 5_000)

    spending.take("x" * 1_000)

    assert spending.wanted() == PROMPT_MICROS + 1_000


def test_a_piece_of_a_stream_is_a_token_at_least():
    sparse = Lesson(calls=99, input_per_char=1.0, text_per_char=0.05)
    spending, _ = begin(lesson=sparse, held=PROMPT_MICROS + STEP_TOKENS)
    spending.begin_call(MODEL, PROMPT, 1_000)

    for _ in range(250):
        spending.take("x")

    assert spending.wanted() == PROMPT_MICROS + 2 * STEP_TOKENS


def test_a_refused_turn_goes_on_as_far_as_it_is_covered():
    spending, _ = begin(held=PROMPT_MICROS + STEP_TOKENS)
    spending.begin_call(MODEL, PROMPT, 1_000)
    spending.take("x" * 200)
    spending.was_refused()

    assert not spending.is_out
    spending.take("x" * 57)
    assert spending.is_out


def test_a_turn_that_was_refused_goes_on_when_more_is_held_after_all():
    spending, _ = begin(held=PROMPT_MICROS + STEP_TOKENS)
    spending.begin_call(MODEL, PROMPT, 1_000)
    spending.was_refused()
    spending.take("x" * 300)
    assert spending.is_out

    spending.was_held(PROMPT_MICROS + 2 * STEP_TOKENS)

    assert not spending.is_out


def test_the_jobs_own_limit_narrows_each_call_to_what_is_left():
    spending, _ = begin(most=100, paid=50)

    assert spending.begin_call(MODEL, PROMPT, 1_000) == 40
    assert spending.is_narrowed


def test_no_call_is_made_when_the_jobs_own_limit_does_not_cover_its_prompt():
    spending, _ = begin(most=PROMPT_MICROS, paid=1)

    with pytest.raises(CostLimitReached):
        spending.begin_call(MODEL, PROMPT, 1_000)


def test_no_more_than_the_jobs_own_limit_is_ever_held():
    budget = Budget()
    spending, _ = begin(budget, most=100)
    spending.begin_call(MODEL, PROMPT, 1_000)
    spending.take("x" * 90)

    assert budget.asked == [100]
    assert spending.wanted() is None


def test_what_a_failed_call_cost_counts_before_the_next():
    budget = Budget()
    spending, _ = begin(budget, held=PROMPT_MICROS + STEP_TOKENS)
    spending.begin_call(MODEL, PROMPT, 1_000)
    spending.take("x" * 100)
    spending.end_call(MODEL, 110, None)

    spending.begin_call(MODEL, PROMPT, 1_000)

    assert budget.asked == [110 + PROMPT_MICROS + STEP_TOKENS]


def test_only_calls_that_the_provider_counted_teach():
    spending, learned = begin(held=10**6)
    spending.begin_call(MODEL, PROMPT, 1_000)
    spending.take("x" * 40)
    spending.end_call(MODEL, 1, StreamEnd(finish_reason="stop"))
    spending.begin_call(MODEL, PROMPT, 1_000)
    spending.take("x" * 40)
    end = StreamEnd(finish_reason="stop", usage=Usage(25, 0, 30), hidden_tokens=20)
    spending.end_call(MODEL, 1, end)

    (sample,) = learned
    assert (sample.prompt_chars, sample.input_tokens) == (100, 25)
    assert (sample.text_chars, sample.text_tokens, sample.hidden_tokens) == (40, 10, 20)


def test_a_model_that_costs_nothing_asks_for_nothing():
    free = Model(
        id="free",
        context_tokens=1_000,
        max_output_tokens=1_000,
        input_usd=0,
        cached_input_usd=0,
        output_usd=0,
    )
    budget = Budget(most=0)
    spending, _ = begin(budget)

    spending.begin_call(free, PROMPT, 1_000)
    spending.take("x" * 10_000)

    assert budget.asked == []
    assert spending.wanted() is None
    assert not spending.is_out
