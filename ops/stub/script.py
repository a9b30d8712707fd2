"""What the stub upstream is asked to do: the directives in a request's question."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

DIRECTIVES: Final = """directives, inside the user's question:
  [[stub:tokens=50 gap_ms=20 first_ms=100]]  another answer than the command line says
  [[stub:say=hello_world]]                   this text, with spaces for the underscores
  [[stub:length]]                            finish_reason "length"
  [[stub:429 retry_after=1]] [[stub:500]]    any status of 400 and above
  [[stub:stall_before=30]]                   nothing comes for so many seconds; without, for ever
  [[stub:stall_after=3]]                     nothing more comes after N tokens
  [[stub:cut_after=3]]                       the connection closes after N tokens
  [[stub:error_after=3]]                     x_groq.error after N tokens
  [[stub:garbage_after=3]]                   a line that is not JSON after N tokens
  [[stub:no_usage]]                          no usage anywhere
  [[stub:once ...]] [[stub:once:500]]        only the first time an agent sees this question

A question may carry several; the later ones win. Each can be meant for one agent of a team:
  [[stub@dev:500]]                           only Dev
  [[stub@dev/1:500]] [[stub@dev/2:500]]      only Dev's first reply, or only its revisions
  [[stub@synthesis:cut_after=3]]             only the synthesis
"""
_DIRECTIVE: Final = re.compile(r"\[\[stub(?:@(\w+)(?:/([12]))?)?:([^\]]*)\]\]")
_PERSONA: Final = re.compile(r"You are (\w+)")
#: How the data of `agents/team_prompts.py` and of a revision begin.
_QUESTION_OF_SYNTHESIS: Final = re.compile(
    r"=== (\w+) begin the question\n(.*?)\n=== \1 end", re.DOTALL
)
_REVISION: Final = "Other specialists answered the same question"


class Asked(NamedTuple):
    """Who is asked, for which round of its reply (1, or 2 for every revision), and what."""

    persona: str
    round: str
    question: str


@dataclass(frozen=True)
class Script:
    """How one request is to be answered, token by token."""

    tokens: list[str]
    first_ms: float
    gap_ms: float
    options: dict[str, str]

    def after(self, fault: str) -> int | None:
        return int(self.options[fault] or 0) if fault in self.options else None


def read_asked(request: dict[str, Any]) -> Asked:
    """Find the user's question; replies of agents that are quoted beside it are not part of it."""
    messages = request["messages"]
    persona = _PERSONA.match(messages[0]["content"])
    name = persona[1].lower() if persona else ""
    said = [message["content"] for message in messages if message["role"] == "user"]
    if said[-1].startswith(_REVISION):
        return Asked(name, "2", said[-2])
    quoted = _QUESTION_OF_SYNTHESIS.match(said[-1])
    return Asked(name, "1", quoted[2] if quoted else said[-1])


def has_directive(asked: Asked) -> bool:
    return _DIRECTIVE.search(asked.question) is not None


def write_script(
    asked: Asked, *, is_repeat: bool, tokens: int, first_ms: float, gap_ms: float, most_tokens: int
) -> Script:
    """Return how to answer: as the directives for this agent say, else as the arguments do."""
    words = _words_for(asked, is_repeat=is_repeat)
    options = {name: value for name, _, value in (word.partition("=") for word in words)}
    said = [f"{part} " for part in options["say"].split("_")] if "say" in options else None
    counted = [f"token-{number} " for number in range(1, int(options.get("tokens", tokens)) + 1)]
    return Script(
        tokens=(counted if said is None else said)[:most_tokens],
        first_ms=float(options.get("first_ms", first_ms)),
        gap_ms=float(options.get("gap_ms", gap_ms)),
        options=options,
    )


def _words_for(asked: Asked, *, is_repeat: bool) -> Iterator[str]:
    for persona, round_, text in _DIRECTIVE.findall(asked.question):
        words = text.replace("once:", "once ").split()
        is_meant = persona in ("", asked.persona) and round_ in ("", asked.round)
        if is_meant and not ("once" in words and is_repeat):
            yield from words
