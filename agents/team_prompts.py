"""The messages that show a team's replies to a model: to revise one, or to synthesize an answer.

Replies are untrusted: a model wrote them, possibly under instructions hidden in what it had read.
Each reply stands between two lines with a mark that no text of the request contains, so that a
reply can neither end its own block nor begin another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from agents.context import latest_exchanges, system_message
from core.chat import Message
from core.models import cut_to_tokens, estimate_tokens
from core.personas import Persona

_MARK_CHARS: Final = 16


class Contribution(Struct, frozen=True, kw_only=True):
    """One agent's usable reply; `title` is the agent's name in prompts."""

    name: str
    title: str
    text: str
    finish_reason: str = "stop"


def build_synthesis(
    persona: Persona,
    question: str,
    contributions: Sequence[Contribution],
    history: Sequence[Message],
    *,
    budget_tokens: int,
) -> tuple[Message, ...]:
    """Return the messages that ask for one answer from the replies.

    When the budget is short, replies take precedence over the history. Long replies are cut to the
    same length and marked as cut.

    Args:
        persona: of `load_synthesis`.
        history: whole exchanges, each a user's message and the assistant's answer, oldest first.
        budget_tokens: for all messages; the prompt and the question are always included.
    """
    texts = [reply.text for reply in contributions]
    mark = _mark_for([question, *texts])
    question_block = f"{_delimit(mark, 'the question', 'the question', question)}\n\n"
    frame = question_block + _replies(mark, contributions, [""] * len(texts))
    left_tokens = budget_tokens - estimate_tokens(persona.prompt) - estimate_tokens(frame)
    shown = cut_fairly(texts, left_tokens)
    return (
        *system_message(persona),
        *latest_exchanges(history, left_tokens - sum(map(estimate_tokens, shown))),
        Message("user", question_block + _replies(mark, contributions, shown)),
    )


def build_revision(
    persona: Persona,
    question: str,
    own_reply: str,
    others: Sequence[Contribution],
    history: Sequence[Message],
    *,
    budget_tokens: int,
) -> tuple[Message, ...]:
    """Return the messages that ask an agent to revise its reply in view of the others'.

    They begin with the messages of its first reply, so that the provider's prompt cache serves
    that part again. Budget and cuts are those of `build_synthesis`; `own_reply` is one of the
    replies.

    Args:
        own_reply: the persona's reply in the round before.
        others: the other agents' replies in that round.
    """
    texts = [own_reply, *(reply.text for reply in others)]
    mark = _mark_for([question, *texts])
    instruction = f"{persona.revision_prompt}\n\n"
    frames = [persona.prompt, question, instruction + _replies(mark, others, [""] * len(others))]
    left_tokens = budget_tokens - sum(map(estimate_tokens, frames))
    own_shown, *others_shown = cut_fairly(texts, left_tokens)
    spent_tokens = sum(map(estimate_tokens, [own_shown, *others_shown]))
    return (
        *system_message(persona),
        *latest_exchanges(history, left_tokens - spent_tokens),
        Message("user", question),
        Message("assistant", own_shown),
        Message("user", instruction + _replies(mark, others, others_shown)),
    )


def cut_fairly(texts: Sequence[str], budget_tokens: int) -> list[str]:
    """Cut the longest texts to one common length, so that all texts fit into the budget."""
    left_tokens, left_texts = max(0, budget_tokens), len(texts)
    # From the shortest up: what a text leaves of its share is divided among the longer ones.
    for tokens in sorted(map(estimate_tokens, texts)):
        share_tokens = left_tokens // left_texts
        if tokens > share_tokens:
            return [
                text if estimate_tokens(text) <= share_tokens else cut_to_tokens(text, share_tokens)
                for text in texts
            ]
        left_tokens -= tokens
        left_texts -= 1
    return list(texts)


def _mark_for(texts: Sequence[str]) -> str:
    """Return a mark that none of the texts contains; equal texts get equal marks."""
    # Derived from the texts, not random, so that a repeated request has the same prefix to cache.
    digest = hashlib.sha256("\0".join(texts).encode(errors="replace"))
    while any(digest.hexdigest()[:_MARK_CHARS] in text for text in texts):
        digest.update(b"\0")
    return digest.hexdigest()[:_MARK_CHARS]


def _replies(mark: str, contributions: Sequence[Contribution], shown: Sequence[str]) -> str:
    return "\n\n".join(
        _delimit(mark, f"the reply of {reply.title}", _end_of(reply, text), text)
        for reply, text in zip(contributions, shown, strict=True)
    )


def _end_of(reply: Contribution, shown: str) -> str:
    if len(shown) == len(reply.text):
        return f"the reply of {reply.title}"
    return f"the reply of {reply.title}, cut short: it has {len(reply.text)} characters"


def _delimit(mark: str, opening: str, closing: str, text: str) -> str:
    return f"=== {mark} begin {opening}\n{text}\n=== {mark} end {closing}"
