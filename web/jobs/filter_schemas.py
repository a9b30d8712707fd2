"""Which jobs a request means: the filter of lists, and of acts on many at once."""

from __future__ import annotations

from typing import Annotated, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, model_validator

from core.job_filter import JobFilter
from core.jobs import JobStatus, Mode
from core.timing import unix_ms
from core.words import words_of
from web.http.schemas import Documented, Moment, Query, RequestBody
from web.jobs.schemas import WHOLE_NUMBER, Identifier

#: More pairs of metadata than these are not asked for at once.
_MOST_PAIRS = 4


def _as_pair(text: str) -> str:
    name, mark, _ = text.partition("=")
    if not (name and mark):
        raise ValueError("must be `name=value`")
    return text


def _with_a_word(text: str) -> str:
    if not words_of(text):
        raise ValueError("must hold a word")
    return text


Pair = Annotated[str, StringConstraints(max_length=600), AfterValidator(_as_pair)]
Words = Annotated[
    str, StringConstraints(min_length=1, max_length=200), AfterValidator(_with_a_word)
]
ModelName = Annotated[str, StringConstraints(min_length=1, max_length=128)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, str) else value


class _Filter(Documented):
    """What jobs have to meet: all that is named."""

    status: Annotated[JobStatus, Field(strict=False)] | None = None
    """Only jobs in this state, as they stand now."""
    mode: Mode | None = None
    """Only jobs that were submitted on this route."""
    agent: Identifier | None = None
    """Only jobs that asked for this agent, or in which it took part."""
    model: ModelName | None = None
    """Only jobs that asked for this model, or in which it answered."""
    from_: Annotated[Moment | None, Field(alias="from")] = None
    """Only jobs that were submitted at this time or later."""
    to: Moment | None = None
    """Only jobs that were submitted before this time."""
    metadata: Annotated[list[Pair], BeforeValidator(_as_list), Field(max_length=_MOST_PAIRS)] = (
        Field(default_factory=list)
    )
    """Only jobs with this in their metadata, `name=value`; may be repeated."""
    text: Words | None = None
    """Only jobs whose questions have, among their first 64 words, words that begin with these."""

    def to_filter(self) -> JobFilter:
        pairs = [pair.partition("=") for pair in self.metadata]
        return JobFilter(
            status=self.status,
            mode=self.mode,
            agent=self.agent,
            model=self.model,
            from_ms=None if self.from_ is None else unix_ms(self.from_),
            to_ms=None if self.to is None else unix_ms(self.to),
            metadata=tuple(sorted((name, value) for name, _, value in pairs)),
            words=words_of(self.text) if self.text else (),
        )


class JobListQuery(_Filter, Query):
    """Which jobs: those that meet all that is named."""

    limit: Annotated[int, Field(ge=1, le=100), WHOLE_NUMBER] = 20
    """How many jobs a page has at most."""
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """`next_cursor` of the page before, of the same filter."""


class BulkRequest(_Filter, RequestBody):
    """Which jobs: those that meet all that is named, of those submitted until now."""

    all: bool = False
    """Has to be true where nothing else is named."""

    @model_validator(mode="after")
    def _refuse_nothing(self) -> Self:
        if not (self.all or self.to_filter().digest):
            raise ValueError('Name what the jobs have to meet, or send `"all": true`')
        return self
