"""The stub upstream's directives: how a request's question scripts its own answer."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

DIRECTIVES: Final = """directives, inside the user's question:
  [[stub:tokens=50 gap_ms=20 first_ms=100]]  in place of the command line's values
  [[stub:say=hello_world]]                   answers this text, underscores as spaces
  [[stub:length]]                            finish_reason "length"
  [[stub:429 retry_after=1]] [[stub:500]]    answers any status of 400 and above
  [[stub:stall_before=30]]                   sends nothing for N seconds; 600 without a number
  [[stub:stall_after=3]]                     sends nothing more after N tokens
  [[stub:cut_after=3]]                       closes the connection after N tokens
  [[stub:error_after=3]]                     sends x_groq.error after N tokens
  [[stub:garbage_after=3]]                   sends a line that is not JSON after N tokens
  [[stub:no_usage]]                          reports no usage
  [[stub:once ...]] [[stub:once:500]]        applies only when an agent first sees this question

Of several directives, later ones take precedence. A directive can be for one agent of a team:
  [[stub@dev:500]]                           only Dev
  [[stub@dev/1:500]] [[stub@dev/2:500]]      only Dev's first reply, or only its revisions
  [[stub@synthesis:cut_after=3]]             only the synthesis
"""
_DIRECTIVE: Final = re.compile(r"\[\[stub(?:@(\w+)(?:/([12]))?)?:([^\]]*)\]\]")
_PERSONA: Final = re.compile(r"You are (\w+)")
#: How the messages of `agents/team_prompts.py` begin: of a synthesis, and of a revision.
_QUESTION_OF_SYNTHESIS: Final = re.compile(
    r"=== (\w+) begin the question\n(.*?)\n=== \1 end", re.DOTALL
)
_REVISION: Final = "Other specialists answered the same question"


class Prompt(NamedTuple):
    """The agent that a request addresses, the round (2 stands for all revisions), the question."""

    persona: str
    round: str
    question: str


@dataclass(frozen=True)
class ScriptedAnswer:
    """The answer to one request: its tokens, delays, and the options of its directives."""

    tokens: list[str]
    first_ms: float
    gap_ms: float
    options: dict[str, str]

    def after(self, fault: str) -> int | None:
        return int(self.options[fault] or 0) if fault in self.options else None


def read_prompt(request: dict[str, Any]) -> Prompt:
    """Find the agent and the user's question, without the replies that are quoted beside it."""
    messages = request["messages"]
    persona = _PERSONA.match(messages[0]["content"])
    name = persona[1].lower() if persona else ""
    texts = [message["content"] for message in messages if message["role"] == "user"]
    if texts[-1].startswith(_REVISION):
        return Prompt(name, "2", texts[-2])
    quoted = _QUESTION_OF_SYNTHESIS.match(texts[-1])
    return Prompt(name, "1", quoted[2] if quoted else texts[-1])


def has_directive(prompt: Prompt) -> bool:
    return _DIRECTIVE.search(prompt.question) is not None


def script_answer(
    prompt: Prompt, *, is_repeat: bool, tokens: int, first_ms: float, gap_ms: float, max_tokens: int
) -> ScriptedAnswer:
    """Return the answer; directives for this agent and round override the arguments."""
    words = _words_for(prompt, is_repeat=is_repeat)
    options = {name: value for name, _, value in (word.partition("=") for word in words)}
    given = [f"{part} " for part in options["say"].split("_")] if "say" in options else None
    counted = [f"token-{number} " for number in range(1, int(options.get("tokens", tokens)) + 1)]
    return ScriptedAnswer(
        tokens=(counted if given is None else given)[
            : None if "ignore_max" in options else max_tokens
        ],
        first_ms=float(options.get("first_ms", first_ms)),
        gap_ms=float(options.get("gap_ms", gap_ms)),
        options=options,
    )


def _words_for(prompt: Prompt, *, is_repeat: bool) -> Iterator[str]:
    for persona, round_, text in _DIRECTIVE.findall(prompt.question):
        words = text.replace("once:", "once ").split()
        is_meant = persona in ("", prompt.persona) and round_ in ("", prompt.round)
        if is_meant and not ("once" in words and is_repeat):
            yield from words


def usage_of(script: ScriptedAnswer, request: dict[str, Any]) -> dict[str, int]:
    input_tokens, output_tokens = prompt_tokens(request), len(script.tokens)
    return {
        "prompt_tokens": input_tokens,
        "completion_tokens": output_tokens,
        "total_tokens": input_tokens + output_tokens,
    }


def prompt_tokens(request: dict[str, Any]) -> int:
    return sum(len(message["content"]) for message in request["messages"]) // 4
