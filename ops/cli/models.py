"""`aether model`: which language model answers when no provider is set."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, DownloadColumn, Progress, TimeRemainingColumn
from rich.table import Table

from ops.models.choice import (
    Choice,
    KnownModel,
    choice_of_file,
    choice_of_server,
    choose,
    file_of,
    known_models,
    read_choice,
)
from ops.models.download import download
from ops.stack.embedded import MODEL_ALIAS
from ops.stack.state import DEFAULT_STATE, CannotRun, StateDirectory
from ops.terminal import PlainConsole, say

model_app = typer.Typer(no_args_is_help=True, help="The model that answers when no key is set.")
State = Annotated[Path, typer.Option(help="Where the stack keeps its data, logs and secrets.")]
_console = PlainConsole()


@model_app.command("list")
def list_models(state: State = DEFAULT_STATE) -> None:
    """Show the models that can be had by name, and the one in use."""
    directory = StateDirectory(state.resolve())
    chosen = _chosen(directory)
    table = Table("name", "size", "licence", "", box=None)
    for model in known_models().values():
        is_here = not model.url or file_of(directory, model).is_file()
        here = "here" if is_here else "not here yet"
        mark = "in use" if model.name == chosen else here
        table.add_row(model.name, f"{model.bytes / 1e6:,.0f} MB", model.licence, mark)
    _console.print(table)
    for model in known_models().values():
        say(f"{model.name}: {model.title}; {model.note}")
    if chosen not in known_models():
        say(f"In use: {chosen}")


@model_app.command("get")
def get_model(
    name: Annotated[str, typer.Argument(help="A name that `model list` shows.")],
    state: State = DEFAULT_STATE,
) -> None:
    """Bring a model from its publisher; a repeat goes on where it ended."""
    directory = StateDirectory(state.resolve())
    try:
        model = _known(name)
        target = file_of(directory, model)
        if model.url and not target.is_file():
            columns = (BarColumn(), DownloadColumn(), TimeRemainingColumn())
            with Progress(*columns, console=_console) as progress:
                bar = progress.add_task(name, total=model.bytes)
                download(
                    model.url,
                    target,
                    size=model.bytes,
                    sha256=model.sha256,
                    on_bytes=lambda there: progress.update(bar, completed=there),
                )
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
    say(f"{name} is here. `aether model use {name}` has it answer.")


@model_app.command("use")
def use_model(
    what: Annotated[str, typer.Argument(help="A name, a GGUF file, or the URL of a server.")],
    model: Annotated[str | None, typer.Option(help="Of a server: which of its models.")] = None,
    state: State = DEFAULT_STATE,
) -> None:
    """Choose the model that answers from the stack's next start on."""
    directory = StateDirectory(state.resolve())
    try:
        choice = _choice(directory, what, model)
        choose(directory, choice)
    except CannotRun as error:
        say(error, err=True)
        raise typer.Exit(1) from error
    say(f"{choice.model if choice else what} answers from the next start on (`aether stop`, `up`).")
    say("GROQ_API_KEY and AETHER_LLM_URL, where they are set, still come first.")


def _choice(directory: StateDirectory, what: str, model: str | None) -> Choice | None:
    if what == MODEL_ALIAS:
        return None
    if "://" in what:
        return choice_of_server(what, model)
    if what not in known_models():
        return choice_of_file(Path(what))
    known = _known(what)
    path = file_of(directory, known)
    if not path.is_file():
        raise CannotRun(f"{what} is not here yet; `aether model get {what}` brings it.")
    return Choice(model=known.name, path=str(path), sampling=known.sampling)


def _known(name: str) -> KnownModel:
    models = known_models()
    if name not in models:
        raise CannotRun(f"There is no model {name}; there are {', '.join(models)}.")
    return models[name]


def _chosen(directory: StateDirectory) -> str:
    try:
        choice = read_choice(directory)
    except CannotRun as error:
        return str(error)
    return choice.model if choice else MODEL_ALIAS
