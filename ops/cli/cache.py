"""`aether cache`: what kept answers do for a deployment, and how to void them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.table import Table

from cache.invalidation import Dependency
from cache.response_cache import ResponseCache
from core.money import to_usd
from core.policy_version import policy_version
from core.settings import read_settings
from ops.stack.resolve import running_settings
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from storage.connections import cache_redis_client

cache_app = typer.Typer(no_args_is_help=True, help="Kept answers: what they do, and voiding them.")
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
_console = Console()

#: What the counts are called, in the order they are shown.
_COUNTS: Final = {
    "hits:memory": "hits in a process's memory (L1)",
    "hits:session": "hits within conversations (L2)",
    "hits:redis": "hits in Redis (L3)",
    "misses": "misses",
    "stores": "answers kept",
    "stored_bytes": "bytes of them",
    "errors": "commands Redis did not answer",
}


@cache_app.command("stats")
def show_stats(state: State = DEFAULT_STATE) -> None:
    """Show today's counts (UTC) of all processes."""
    counts = _open(state).stats()
    hits = sum(count for name, count in counts.items() if name.startswith("hits:"))
    looks = hits + counts.get("misses", 0)
    table = Table("since midnight UTC", "count", box=None)
    table.columns[1].justify = "right"
    for name, title in _COUNTS.items():
        table.add_row(title, f"{counts.get(name, 0):,}")
    table.add_row("hit rate", f"{hits / looks:.1%}" if looks else "no lookups yet")
    table.add_row("prompts and weights now", policy_version(read_settings().routing_file))
    table.add_row("saved", f"${to_usd(counts.get('saved_micros', 0)):,.6f}")
    _console.print(table)


@cache_app.command("purge")
def purge(
    state: State = DEFAULT_STATE,
    everything: Annotated[bool, typer.Option("--all", help="Every kept answer.")] = False,
    user: Annotated[str, typer.Option(help="Answers to this user's questions.")] = "",
    model: Annotated[str, typer.Option(help="Answers that this model had a part in.")] = "",
    prompt_version: Annotated[str, typer.Option(help="Answers made with this version.")] = "",
) -> None:
    """Void kept answers in every process within a second."""
    named: dict[Dependency, str] = {"user": user, "model": model, "version": prompt_version}
    wanted = [(kind, value) for kind, value in named.items() if value]
    if everything + len(wanted) != 1:
        typer.echo("Say one of --all, --user, --model, --prompt-version.", err=True)
        raise typer.Exit(2)
    kind, value = wanted[0] if wanted else ("all", "")
    if not _open(state).purge(kind, value):
        typer.echo("The cache's Redis does not answer; nothing was voided.", err=True)
        raise typer.Exit(1)
    _console.print(f"Voided: {'everything' if kind == 'all' else f'{kind} {value}'}.")


def _open(state: Path) -> ResponseCache:
    """Return the running stack's cache, or that of the settings in the environment."""
    try:
        settings = running_settings(read_settings(), StateDirectory(state.resolve()))
    except (CannotRun, ValidationError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    return ResponseCache(cache_redis_client(settings), ttl_s=settings.cache_ttl_s)
