"""Which of a user's jobs are meant: the filter of lists, and of acts on many at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
from msgspec import Struct

from core.jobs import TERMINAL, Job, JobStatus, Mode
from core.words import words_of

#: Kinds of tags, those first that leave the fewest jobs.
_KINDS: Final = ("metadata", "model", "agent", "mode")


class JobFilter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All of it has to be met; what is None is not asked.

    Attributes:
        agent: asked for by name, or took part.
        model: asked for by name, or took part.
        from_ms, to_ms: submitted not before and before these times.
        metadata: names and values that the job has.
        unfinished: that has not ended, whatever its status is.
        words: each begins a word of the question, as `core.words` writes words.
    """

    status: JobStatus | None = None
    mode: Mode | None = None
    agent: str | None = None
    model: str | None = None
    from_ms: int | None = None
    to_ms: int | None = None
    unfinished: bool = False
    metadata: tuple[tuple[str, str], ...] = ()
    words: tuple[str, ...] = ()

    @property
    def is_live(self) -> bool:
        """It asks for jobs that have not ended."""
        return self.unfinished or (self.status is not None and self.status not in TERMINAL)

    @property
    def tags(self) -> list[str]:
        """What the tags of a job must hold, those first that leave the fewest jobs."""
        pairs = [*(("metadata", f"{k}={v}") for k, v in self.metadata)]
        named = {"model": self.model, "agent": self.agent, "mode": self.mode}
        pairs += [(kind, name) for kind, name in named.items() if name is not None]
        return [f"{kind}:{name}" for kind, name in sorted(pairs, key=_rank)]

    @property
    def digest(self) -> str:
        """A short text that another filter does not have; empty for the one that asks nothing."""
        encoded = msgspec.json.encode(self, order="deterministic")
        return "" if encoded == b"{}" else hashlib.sha256(encoded).hexdigest()[:12]

    def matches(self, job: Job) -> bool:
        """Say whether a job meets it as it stands; its question has to be loaded for words."""
        return (
            self.status in (None, job.status)
            and not (self.unfinished and job.is_terminal)
            and (self.from_ms is None or self.from_ms <= job.spec.created_ms)
            and (self.to_ms is None or job.spec.created_ms < self.to_ms)
            and set(self.tags) <= set(tags_of(job))
            and (not self.words or self.has_words(_words_of(job)))
        )

    def has_words(self, words: Sequence[str]) -> bool:
        """Say whether each of its words begins one of these."""
        return all(any(word.startswith(begin) for word in words) for begin in self.words)


def tags_of(job: Job) -> list[str]:
    """Return what a job is found by besides its status, time and words: `kind:name`, each once."""
    return list(dict.fromkeys(_tags_of(job)))


def _tags_of(job: Job) -> Iterator[str]:
    spec, outcome = job.spec, job.outcome
    yield f"mode:{spec.mode}"
    for name in (spec.agent, *(spec.team.agents or () if spec.team else ())):
        if name is not None:
            yield f"agent:{name}"
    if spec.route.model is not None:
        yield f"model:{spec.route.model}"
    for report in outcome.agents if outcome else ():
        yield f"agent:{report.name}"
        yield f"model:{report.model}"
    for name, value in spec.metadata.items():
        yield f"metadata:{name}={value}"


def _words_of(job: Job) -> tuple[str, ...]:
    return words_of(job.question.message) if job.question else ()


def _rank(pair: tuple[str, str]) -> int:
    return _KINDS.index(pair[0])
