"""`aether routing`: what cheaper answers are worth, and weights fitted to that."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from agents.groq.model import GroqModel
from agents.plan import Planner
from agents.rate_limited_model import RateLimitedModel
from core.comparisons import Comparison, worth_by_route
from core.errors import StoreUnavailable
from core.models import Tier, read_catalogue
from core.money import to_usd
from core.personas import load_judge, load_personas, load_synthesis, load_title
from core.routing_rules import RULES_FILE, read_rules
from core.settings import Settings
from ops.routing.deployment import TooFewLabels, labels_of, refit
from ops.routing.evaluate import INTERRUPTED, Evaluation, Evaluator, evaluate
from ops.routing.fit import write_weights
from ops.routing.labels import Labelled
from ops.routing.paid_model import PaidModel
from ops.stack.running import command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import say
from storage.connections import close_all, mongo_database, redis_client
from storage.limits.upstream_budget import UpstreamBudget
from storage.records.answers import CheaperAnswers
from storage.records.comparisons import Comparisons

if TYPE_CHECKING:
    from pymongo.database import Database

routing_app = typer.Typer(
    no_args_is_help=True, help="What cheaper answers are worth, and weights fitted to that."
)
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="How far to look back.")]
_DAY_MS: Final = 86_400_000
#: What a shell reports of a program that Ctrl-C ended.
_INTERRUPTED_STATUS: Final = 130


@routing_app.command("report")
def report_command(state: State = DEFAULT_STATE, days: Days = 30) -> None:
    """Show regret and saving by tier and model of the stored comparisons."""
    with _opened(state) as (_, database):
        comparisons = Comparisons(database).since(_since_ms(days))
    if not comparisons:
        _say(f"Nothing was compared in {days} days; `aether routing evaluate` does it.")
        return
    _show(comparisons)


@routing_app.command("evaluate")
def evaluate_command(
    budget_usd: Annotated[float, typer.Option(min=0, help="What all calls may cost, in dollars.")],
    state: State = DEFAULT_STATE,
    sample: Annotated[int, typer.Option(min=1, max=100_000, help="How many answers.")] = 100,
    days: Days = 30,
) -> None:
    """Compare a random sample of cheaper answers with the deep tier's; Ctrl-C ends it early."""
    with _opened(state) as (settings, database), _chat_model(settings) as chat_model:
        catalogue = read_catalogue(settings.llm_provider, settings.models_file)
        deep = catalogue.for_tier("deep")
        paid = PaidModel(chat_model, catalogue, deep, budget_micros=int(budget_usd * 1e6))
        planner = Planner(catalogue, read_rules(), load_personas(), load_synthesis(), load_title())
        evaluator = Evaluator(deep, paid, planner, load_judge())
        answers, comparisons = CheaperAnswers(database), Comparisons(database)
        since_ms = _since_ms(days)
        compared = {comparison.job_id for comparison in comparisons.since(since_ms)}
        left = [job_id for job_id in answers.ids(deep, since_ms=since_ms) if job_id not in compared]
        chosen = random.sample(left, min(sample, len(left)))
        _say(f"{len(left)} answers of {days} days can be compared; {len(chosen)} are chosen.")
        result = evaluate(answers.get(chosen), evaluator, _keep(comparisons, paid))
    _show_result(result, len(chosen), paid.spent_micros)
    if result.ended_by == INTERRUPTED:
        raise typer.Exit(_INTERRUPTED_STATUS)


@routing_app.command("fit")
def fit_command(
    state: State = DEFAULT_STATE,
    out: Annotated[Path | None, typer.Option(help="Default: routing.toml in the state.")] = None,
    days: Days = 365,
) -> None:
    """Fit the router's weights to the stored comparisons, and write a data file for it."""
    target = out or state / "routing.toml"
    with _opened(state) as (settings, database):
        compared, rated = _labels(settings, database, _since_ms(days))
        fitted = refit(compared, rated, read_rules())
        write_weights(RULES_FILE, target, fitted.rules)
    low, high = fitted.random_range
    _say(f"Fitted to {len(compared)} compared and {len(rated)} rated questions.")
    _say(
        f"APGR, cross-validated: {fitted.apgr:.3f}; shipped weights {fitted.shipped_apgr:.3f},"
        f" length {fitted.length_apgr:.3f}, random 0.500 ({low:.3f} to {high:.3f})."
    )
    if fitted.apgr <= max(fitted.shipped_apgr, high):
        _say("That is no better than the shipped weights or chance: more comparisons are needed.")
    _say(
        f"Tiers of these questions: {_in_percent(fitted.tiers)};"
        f" by the shipped weights {_in_percent(fitted.shipped_tiers)}."
    )
    _say(f"Written to {target}. AETHER_ROUTING_FILE names it to the API and the workers.")


def _labels(
    settings: Settings, database: Database[dict[str, Any]], since_ms: int
) -> tuple[list[Labelled], list[Labelled]]:
    """Return the labels of comparisons, and those of users' ratings of other questions."""
    catalogue = read_catalogue(settings.llm_provider, settings.models_file)
    answers, comparisons = CheaperAnswers(database), Comparisons(database).since(since_ms)
    questions = answers.questions([comparison.job_id for comparison in comparisons])
    compared = labels_of(comparisons, questions, catalogue)
    ratings = answers.ratings(catalogue.for_tier("deep"), since_ms=since_ms)
    known = {label.prompt for label in compared}
    asked = answers.questions(list(ratings))
    rated = {
        question: Labelled(question, weak=ratings[job_id], strong=1.0)
        for job_id, question in asked.items()
        if question not in known
    }
    return compared, list(rated.values())


@contextmanager
def _chat_model(settings: Settings) -> Iterator[RateLimitedModel]:
    """Open the model behind the budget that the workers share, so that jobs get their turn."""
    redis = redis_client(settings, name="aether-ops")
    budget = UpstreamBudget(
        redis,
        requests_per_minute=settings.llm_requests_per_minute,
        tokens_per_minute=settings.llm_tokens_per_minute,
    )
    key = settings.groq_api_key.get_secret_value()
    provider = GroqModel(key, settings.llm_url, max_connections=1)
    try:
        yield RateLimitedModel(provider, budget)
    finally:
        provider.close()
        redis.close()


def _keep(comparisons: Comparisons, paid: PaidModel) -> Callable[[Comparison], None]:
    """Return what stores a comparison and shows a line of it."""

    def keep(comparison: Comparison) -> None:
        comparisons.add(comparison)
        spent = _usd(paid.spent_micros)
        _say(f"{comparison.job_id} {comparison.tier} {comparison.verdict}, {spent} spent")

    return keep


def _show_result(result: Evaluation, chosen: int, spent_micros: int) -> None:
    for reason, count in Counter(result.failures).most_common():
        _say(f"Not compared: {count}. {reason}")
    if result.ended_by:
        tried = len(result.compared) + len(result.failures)
        _say(f"{result.ended_by} Not tried: {chosen - tried}.")
    _say(f"Compared: {len(result.compared)} of {chosen}. Spent: {_usd(spent_micros)}.")
    if result.compared:
        _show(result.compared)


def _show(comparisons: list[Comparison]) -> None:
    for row in worth_by_route(comparisons):
        _say(
            f"{row.tier}, {row.model}: {row.compared} compared, {row.worse} worse,"
            f" {row.better} better, {row.ties} ties; regret {row.regret:.1%}"
        )
        _say(
            f"  cost {_usd(row.cost_micros)}, deep tier {_usd(row.deep_cost_micros)},"
            f" saved {_usd(row.saved_micros)}; judging {_usd(row.judging_cost_micros)}"
        )


@contextmanager
def _opened(state: Path) -> Iterator[tuple[Settings, Database[dict[str, Any]]]]:
    """Open the database of the running stack, or of the environment's settings.

    What the operator can change is a sentence on stderr and exit status 1.
    """
    try:
        settings = command_settings(StateDirectory(state.resolve()))
        database = mongo_database(settings)
        try:
            yield settings, database
        finally:
            close_all(database)
    except (CannotRun, TooFewLabels, ValueError, OSError) as error:
        problem = str(error)
    except StoreUnavailable as error:
        problem = error.message
    else:
        return
    say(problem, err=True)
    raise typer.Exit(1)


def _since_ms(days: int) -> int:
    return int(time.time() * 1000) - days * _DAY_MS


def _usd(micros: int) -> str:
    return f"${to_usd(micros):,.6f}"


def _in_percent(shares: Mapping[Tier, float]) -> str:
    return ", ".join(f"{tier} {share:.0%}" for tier, share in shares.items())


def _say(text: str) -> None:
    say(text)
