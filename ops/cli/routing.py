"""`aether routing`: what cheaper answers are worth, and weights fitted to that."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from agents.groq.model import GroqModel
from agents.plan import Planner
from agents.rate_limited_model import RateLimitedModel
from core.comparisons import Comparison, RouteWorth, worth_by_route
from core.errors import StoreUnavailable
from core.models import Tier, read_catalogue
from core.money import to_usd
from core.personas import load_judge, load_personas, load_synthesis
from core.routing_rules import RULES_FILE, read_rules
from core.settings import Settings, read_settings
from ops.routing.deployment import TooFewLabels, labels_of, refit
from ops.routing.evaluate import INTERRUPTED, Evaluation, Evaluator, evaluate
from ops.routing.fit import write_weights
from ops.routing.labels import Labelled
from ops.routing.paid_model import PaidModel
from ops.stack.resolve import running_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from storage.connections import mongo_database, redis_client
from storage.limits.upstream_budget import UpstreamBudget
from storage.records.answers import CheaperAnswers
from storage.records.comparisons import Comparisons

routing_app = typer.Typer(
    no_args_is_help=True, help="What cheaper answers are worth, and weights fitted to that."
)
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
Days = Annotated[int, typer.Option(min=1, max=3650, help="How far to look back.")]
_DAY_MS: Final = 86_400_000
#: What a shell reports of a program that Ctrl-C ended.
_INTERRUPTED_STATUS: Final = 130
_console = Console()


@routing_app.command("report")
def report_command(state: State = DEFAULT_STATE, days: Days = 30) -> None:
    """Show regret and saving by tier and model of the stored comparisons."""
    with _sentences():
        comparisons = Comparisons(mongo_database(_settings(state))).since(_since_ms(days))
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
    """Compare a random sample of cheaper answers with the deep tier's; Ctrl-C keeps the rest."""
    with _sentences():
        settings = _settings(state)
        database = mongo_database(settings)
        catalogue = read_catalogue(settings.llm_provider, settings.models_file)
        deep = catalogue.for_tier("deep")
        answers, comparisons = CheaperAnswers(database), Comparisons(database)
        paid = PaidModel(
            _chat_model(settings), catalogue, deep, budget_micros=int(budget_usd * 1e6)
        )
        planner = Planner(catalogue, read_rules(), load_personas(), load_synthesis())
        evaluator = Evaluator(deep, paid, planner, load_judge())
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
    with _sentences():
        settings = _settings(state)
        compared, rated = _labels(settings, _since_ms(days))
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


def _labels(settings: Settings, since_ms: int) -> tuple[list[Labelled], list[Labelled]]:
    """Return the labels of comparisons, and those of users' ratings of other questions."""
    database = mongo_database(settings)
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


def _chat_model(settings: Settings) -> RateLimitedModel:
    """Return the model behind the budget that the workers share, so that jobs get their turn."""
    budget = UpstreamBudget(
        redis_client(settings),
        requests_per_minute=settings.llm_requests_per_minute,
        tokens_per_minute=settings.llm_tokens_per_minute,
    )
    key = settings.groq_api_key.get_secret_value()
    return RateLimitedModel(GroqModel(key, settings.llm_url, max_connections=1), budget)


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
    table = Table("tier", "model", box=None)
    for title in ("compared", "regret", "wins", "ties", "cost", "deep", "saved", "judging"):
        table.add_column(title, justify="right", no_wrap=True)
    for route in worth_by_route(comparisons):
        table.add_row(*_cells(route))
    _console.print(table)


def _cells(route: RouteWorth) -> tuple[str, ...]:
    costs = (
        route.cost_micros,
        route.deep_cost_micros,
        route.saved_micros,
        route.judging_cost_micros,
    )
    return (
        route.tier,
        route.model,
        f"{route.compared:,}",
        f"{route.regret:.1%}",
        f"{route.better:,}",
        f"{route.ties:,}",
        *(_usd(micros) for micros in costs),
    )


def _settings(state: Path) -> Settings:
    """Return the running stack's settings, or those of the environment."""
    return running_settings(read_settings(), StateDirectory(state.resolve()))


@contextmanager
def _sentences() -> Iterator[None]:
    """Turn what the operator can change into a sentence on stderr and exit status 1."""
    try:
        yield
    except (CannotRun, TooFewLabels, ValueError, OSError) as error:
        problem = str(error)
    except StoreUnavailable as error:
        problem = error.message
    else:
        return
    typer.echo(problem, err=True)
    raise typer.Exit(1)


def _since_ms(days: int) -> int:
    return int(time.time() * 1000) - days * _DAY_MS


def _usd(micros: int) -> str:
    return f"${to_usd(micros):,.6f}"


def _in_percent(shares: Mapping[Tier, float]) -> str:
    return ", ".join(f"{tier} {share:.0%}" for tier, share in shares.items())


def _say(text: str) -> None:
    typer.echo(text)
