"""`aether cache`: what the response cache does for a deployment, and how to void its answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.table import Table

from cache.invalidation import Dependency
from cache.response_cache import ResponseCache
from core.errors import CoordinatorUnavailable
from core.policy_version import policy_version
from core.settings import Settings
from monitoring import families
from monitoring.readings import Readings
from ops.stack.running import command_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import PlainConsole, say
from storage.connections import cache_redis_client, redis_client

cache_app = typer.Typer(no_args_is_help=True, help="The response cache: its counts, purges.")
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
_console = PlainConsole()

#: How jobs were served, and the titles, in the order they are shown.
_TITLES: Final = {
    "hit_memory": "hits in a process's memory (L1)",
    "hit_session": "hits within conversations (L2)",
    "hit_redis": "hits in Redis (L3)",
    "coalesced": "jobs that shared another job's call",
    "miss": "misses",
}
_STORED: Final = {
    families.CACHE_STORED: "answers stored",
    families.CACHE_STORED_BYTES: "bytes stored",
    families.CACHE_ERRORS: "commands that Redis did not answer",
}


@cache_app.command("stats")
def show_stats(state: State = DEFAULT_STATE) -> None:
    """Show the last 24 hours' counts of all processes; each job counts once, when it has ended."""
    settings = _settings(state)
    readings = Readings(redis_client(settings, answer_timeout_s=2.0))
    try:
        reading = readings.window("24h")
    except CoordinatorUnavailable:
        say("Redis does not answer, so there are no counts to show.", err=True)
        raise typer.Exit(1) from None
    served = {name: reading.total(families.CACHE_LOOKUPS, result=name) for name in _TITLES}
    hits = sum(count for name, count in served.items() if name.startswith("hit_"))
    jobs = sum(served.values())
    table = Table("in the last 24 hours", "count", box=None)
    table.columns[1].justify = "right"
    for name, title in _TITLES.items():
        table.add_row(title, f"{served[name]:,.0f}")
    for family, title in _STORED.items():
        table.add_row(title, f"{reading.total(family):,.0f}")
    table.add_row("hit rate", f"{hits / jobs:.1%}" if jobs else "no jobs yet")
    table.add_row("prompts and weights now", policy_version(settings.routing_file))
    saved_usd = reading.total(families.LLM_SAVED, reason="cache")
    table.add_row("saved", f"${saved_usd:,.6f}")
    _console.print(table)


@cache_app.command("purge")
def purge(
    state: State = DEFAULT_STATE,
    everything: Annotated[bool, typer.Option("--all", help="Every kept answer.")] = False,
    user: Annotated[str, typer.Option(help="Answers to this user's questions.")] = "",
    model: Annotated[str, typer.Option(help="Answers that this model contributed to.")] = "",
    prompt_version: Annotated[str, typer.Option(help="Answers made with this version.")] = "",
) -> None:
    """Void kept answers in every process within a second."""
    named: dict[Dependency, str] = {"user": user, "model": model, "version": prompt_version}
    wanted = [(kind, value) for kind, value in named.items() if value]
    if everything + len(wanted) != 1:
        say("Give exactly one of --all, --user, --model, --prompt-version.", err=True)
        raise typer.Exit(2)
    kind, value = wanted[0] if wanted else ("all", "")
    settings = _settings(state)
    cache = ResponseCache(cache_redis_client(settings), ttl_s=settings.cache_ttl_s)
    if not cache.purge(kind, value):
        say("The cache's Redis does not answer; nothing was voided.", err=True)
        raise typer.Exit(1)
    _console.print(f"Voided: {'everything' if kind == 'all' else f'{kind} {value}'}.")


def _settings(state: Path) -> Settings:
    """Return the settings of the running stack, or of the environment where none runs."""
    try:
        return command_settings(StateDirectory(state.resolve()))
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
