"""What a team is shown of its own replies: to revise them, and to make one answer of them.

Replies are untrusted: a model wrote them, and whatever it had read may speak through it. Each
stands between lines with a mark that no text of the request contains, so that none can end itself
or begin another.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from agents.context import latest_turns
from core.chat import Message
from core.models import cut_to_tokens, estimate_tokens
from core.personas import Persona

_MARK_CHARS: Final = 16


class Contribution(Struct, frozen=True, kw_only=True):
    """One agent's successful reply; `title` is how the agent is called."""

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
    """Return the messages by which one answer is made of the replies.

    The replies come before the history where the budget is short, and long ones are cut to the
    same length; each that is cut says so.

    Args:
        persona: who does it, of `load_synthesis`.
        history: whole turns, each a user's message and the assistant's answer, oldest first.
        budget_tokens: for everything; prompt and question are always in, whatever they take.
    """
    texts = [reply.text for reply in contributions]
    mark = _mark_for([question, *texts])
    asked = f"{_delimit(mark, 'the question', 'the question', question)}\n\n"
    frame = asked + _replies(mark, contributions, [""] * len(texts))
    left_tokens = budget_tokens - estimate_tokens(persona.prompt) - estimate_tokens(frame)
    shown = cut_fairly(texts, left_tokens)
    return (
        Message("system", persona.prompt),
        *latest_turns(history, left_tokens - sum(map(estimate_tokens, shown))),
        Message("user", asked + _replies(mark, contributions, shown)),
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
    """Return the messages by which an agent revises its reply in view of the others'.

    They begin as the messages of its first reply did, so that the provider's prompt cache serves
    that part again. The budget is divided as in `build_synthesis`, the own reply being one of them.

    Args:
        own_reply: what the persona said in the round before.
        others: what the other agents said in it.
    """
    texts = [own_reply, *(reply.text for reply in others)]
    mark = _mark_for([question, *texts])
    told = f"{persona.revision_prompt}\n\n"
    frames = [persona.prompt, question, told + _replies(mark, others, [""] * len(others))]
    left_tokens = budget_tokens - sum(map(estimate_tokens, frames))
    own_shown, *others_shown = cut_fairly(texts, left_tokens)
    spent_tokens = sum(map(estimate_tokens, [own_shown, *others_shown]))
    return (
        Message("system", persona.prompt),
        *latest_turns(history, left_tokens - spent_tokens),
        Message("user", question),
        Message("assistant", own_shown),
        Message("user", told + _replies(mark, others, others_shown)),
    )


def cut_fairly(texts: Sequence[str], budget_tokens: int) -> list[str]:
    """Return the beginnings of the texts that the budget holds together.

    No text is cut below what another keeps: what short ones leave is shared by the long ones.
    """
    left_tokens, left_texts = max(0, budget_tokens), len(texts)
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
    """Return a mark that is in none of the texts; the same texts get the same one."""
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
