"""Which model a stack answers with when no variable says: kept in its state directory."""

from __future__ import annotations

import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final

import httpx

from core.forms.addresses import read_llm_url
from ops.stack.embedded import MODEL_ALIAS
from ops.stack.state import CannotRun, StateDirectory, write_private

_KNOWN: Final = Path(__file__).with_name("known.toml")
_MAGIC: Final = b"GGUF"
_TIMEOUT_S: Final = 10.0
#: What two slots of the embedded server leave each.
_CONTEXT_TOKENS: Final = 4_096
_EMBEDDED_OUTPUT_TOKENS: Final = 1_024
_SERVED_OUTPUT_TOKENS: Final = 4_096
_SERVED_CONTEXT_TOKENS: Final = 8_192


@dataclass(frozen=True, kw_only=True)
class KnownModel:
    """A model of `known.toml`; one without a URL ships with Aether."""

    name: str
    title: str
    licence: str
    bytes: int
    note: str
    url: str = ""
    sha256: str = ""
    sampling: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A model file for the embedded server, or the address of a server that runs already."""

    model: str
    path: str = ""
    url: str = ""
    sampling: dict[str, float] = field(default_factory=dict)


def known_models() -> dict[str, KnownModel]:
    """Return the models that can be had by name."""
    rows = tomllib.loads(_KNOWN.read_text())
    return {name: KnownModel(name=name, **row) for name, row in rows.items()}


def file_of(directory: StateDirectory, model: KnownModel) -> Path:
    """Return where a downloaded model lies."""
    return directory.root / "models" / f"{model.name}.gguf"


def read_choice(directory: StateDirectory) -> Choice | None:
    """Return what was chosen; None for the model that ships.

    Raises:
        CannotRun: the file is broken, or the chosen model is gone.
    """
    try:
        found = Choice(**json.loads(_choice_file(directory).read_text()))
    except FileNotFoundError:
        return None
    except (ValueError, TypeError) as error:
        raise CannotRun(f"{_choice_file(directory)} cannot be read; remove it.") from error
    if found.path and not Path(found.path).is_file():
        raise CannotRun(f"{found.path} is gone; `aether model use {MODEL_ALIAS}` goes back.")
    return found


def catalogue_file(directory: StateDirectory) -> Path:
    """Return the catalogue of the chosen model."""
    return directory.root / "models.toml"


def choose(directory: StateDirectory, choice: Choice | None) -> None:
    """Keep the choice, with a catalogue for it, from the next start on; None for what ships."""
    directory.create()
    if choice is None:
        _choice_file(directory).unlink(missing_ok=True)
        catalogue_file(directory).unlink(missing_ok=True)
        return
    write_private(catalogue_file(directory), _catalogue(choice))
    write_private(_choice_file(directory), json.dumps(asdict(choice), indent=2) + "\n")


def choice_of_file(path: Path) -> Choice:
    """Return the choice of a GGUF file of one's own.

    Raises:
        CannotRun: it is none.
    """
    try:
        with path.open("rb") as file:
            is_gguf = file.read(len(_MAGIC)) == _MAGIC
    except OSError as error:
        raise CannotRun(f"{path} cannot be read: {error.strerror}.") from error
    if not is_gguf:
        raise CannotRun(f"{path} is no GGUF file.")
    return Choice(model=path.stem, path=str(path.resolve()))


def choice_of_server(address: str, model: str | None) -> Choice:
    """Return the choice of a server that speaks OpenAI's protocol, such as Ollama or vLLM.

    Args:
        model: its id there; None for the first that the server lists.

    Raises:
        CannotRun: the server does not list the model, or does not answer.
    """
    try:
        url = read_llm_url(address)
    except ValueError as error:
        raise CannotRun(f"{address}: it {error}.") from error
    ids = _listed(url)
    if model is not None and model not in ids:
        raise CannotRun(f"{url} does not serve {model}; it serves {', '.join(ids) or 'nothing'}.")
    if not ids:
        raise CannotRun(f"{url} serves no model.")
    return Choice(model=model or ids[0], url=url)


def _listed(url: str) -> list[str]:
    paths = ("/models",) if httpx.URL(url).path.strip("/") else ("/v1/models", "/openai/v1/models")
    for path in paths:
        try:
            answer = httpx.get(url + path, timeout=_TIMEOUT_S)
            if answer.is_success:
                return [str(row["id"]) for row in answer.json()["data"]][:100]
        except httpx.HTTPError as error:
            raise CannotRun(f"{url} does not answer ({type(error).__name__}).") from error
        except (ValueError, KeyError, TypeError):
            continue
    raise CannotRun(f"{url} does not list models as OpenAI's protocol does.")


def _catalogue(choice: Choice) -> str:
    """Return a catalogue whose every tier is the one model, in TOML."""
    provider = "custom" if choice.url else "embedded"
    name = json.dumps(choice.model)
    context = _SERVED_CONTEXT_TOKENS if choice.url else _CONTEXT_TOKENS
    output = _SERVED_OUTPUT_TOKENS if choice.url else _EMBEDDED_OUTPUT_TOKENS
    sampling = ", ".join(f"{option} = {value}" for option, value in choice.sampling.items())
    return (
        "# Written by `aether model use`; edit it as you like, prices and limits above all.\n"
        f"[{provider}]\nprices_as_of = 2026-11-26\n"
        f"tiers = {{ quick = {name}, standard = {name}, deep = {name} }}\n\n"
        f"[{provider}.models.{name}]\ncontext_tokens = {context}\nmax_output_tokens = {output}\n"
        "input_usd = 0.0\ncached_input_usd = 0.0\noutput_usd = 0.0\n"
        f'system_prompt = "brief"\nsampling = {{ {sampling} }}\n'
    )


def _choice_file(directory: StateDirectory) -> Path:
    return directory.root / "model.json"
