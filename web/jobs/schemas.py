"""What requests about jobs may contain."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from core.events import EVENT_TYPES, TERMINAL_TYPES
from core.jobs import CacheControl, JobStatus, TeamRequest
from core.models import Tier
from web.http.schemas import Body, Query
from web.services import current_services


def _within_message_limit(message: str) -> str:
    most = current_services().settings.max_message_chars
    if len(message) > most:
        raise ValueError(f"String should have at most {most} characters")
    return message


def _within_token_limit(max_tokens: int) -> int:
    most = current_services().settings.max_output_tokens
    if max_tokens > most:
        raise ValueError(f"Input should be less than or equal to {most}")
    return max_tokens


def _refuse_odd_number(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise ValueError("Input should be a whole number")
    return value


Identifier = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-]{1,64}$")]
MetadataKey = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
#: A number in a query, where everything is text.
QueryNumber = Annotated[int, BeforeValidator(_refuse_odd_number)]


class CacheOptions(Body):
    """How far an answer that was given before may serve, and how long this one may."""

    mode: Literal["use", "refresh", "bypass"] = "use"
    ttl_s: Annotated[int, Field(ge=1, le=30 * 24 * 3600)] | None = None
    max_age_s: Annotated[int, Field(ge=0, le=30 * 24 * 3600)] | None = None

    def to_control(self) -> CacheControl:
        return CacheControl(mode=self.mode, ttl_s=self.ttl_s, max_age_s=self.max_age_s)


class Question(Body):
    """A question, and what holds for whoever answers it."""

    message: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1),
        AfterValidator(_within_message_limit),
    ]
    conversation_id: Identifier | None = None
    max_tokens: Annotated[int, Field(ge=1), AfterValidator(_within_token_limit)] | None = None
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    cache: CacheOptions = CacheOptions()
    metadata: Annotated[
        dict[MetadataKey, MetadataValue], Field(max_length=16, default_factory=dict)
    ]


class ChatRequest(Question):
    """A question to one agent: the one that is named, or the one that suits it best."""

    agent: Identifier | None = None
    tier: Tier | None = None
    model: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    #: Of all that the job may cost, in dollars.
    max_cost_usd: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] | None = None
    routing: Literal["auto", "cascade"] = "auto"

    @model_validator(mode="after")
    def _refuse_two_choices(self) -> Self:
        if self.tier is not None and self.model is not None:
            raise ValueError("Give a tier or a model, not both")
        if self.routing == "cascade" and (self.tier or self.model):
            raise ValueError("A cascade chooses the tier and the model")
        return self


class TeamChatRequest(Question):
    """A question to several agents, and how they come to one answer."""

    agents: Annotated[list[Identifier], Field(min_length=1, max_length=5)] | Literal["auto"] = (
        "auto"
    )
    strategy: Literal["parallel", "debate"] = "parallel"
    #: How often each agent is asked in a debate.
    rounds: Annotated[int, Field(ge=2, le=3)] | None = None
    quorum: Annotated[int, Field(ge=1, le=5)] = 1
    agent_deadline_s: Annotated[float, Field(ge=1, le=140, allow_inf_nan=False)] | None = None
    synthesis: bool = True

    @field_validator("agents")
    @classmethod
    def _refuse_repeats(cls, agents: list[str] | str) -> list[str] | str:
        if isinstance(agents, list) and len(set(agents)) < len(agents):
            raise ValueError("An agent can be named once only")
        return agents

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.rounds is not None and self.strategy != "debate":
            raise ValueError("Only a debate has rounds")
        if self.agents != "auto" and self.quorum > len(self.agents):
            raise ValueError("The quorum is larger than the number of agents")
        return self

    def to_team(self) -> TeamRequest:
        return TeamRequest(
            agents=None if self.agents == "auto" else tuple(self.agents),
            strategy=self.strategy,
            rounds=(self.rounds or 2) if self.strategy == "debate" else 1,
            quorum=self.quorum,
            agent_deadline_s=self.agent_deadline_s,
            synthesis=self.synthesis,
        )


class JobPath(BaseModel):
    """Which job; a malformed id is one that does not exist."""

    job_id: str


def _to_types(value: Any) -> Any:
    return frozenset(value.split(",")) if isinstance(value, str) else value


def _known_types(types: frozenset[str]) -> frozenset[str]:
    if unknown := sorted(types - EVENT_TYPES):
        raise ValueError(f"There are no events of the type {', '.join(unknown)}")
    return types | TERMINAL_TYPES


class JobQuery(Query):
    """From which event on, how many seconds to wait for news, and which types of events to tell.

    The end is always told, and events keep the numbers that they have without a filter.
    """

    after: Annotated[QueryNumber, Field(ge=0)] | None = None
    wait: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.0
    types: (
        Annotated[
            frozenset[str],
            BeforeValidator(_to_types, json_schema_input_type=str),
            AfterValidator(_known_types),
        ]
        | None
    ) = None


class JobListQuery(Query):
    """Which page of the list."""

    limit: Annotated[QueryNumber, Field(ge=1, le=100)] = 20
    cursor: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    status: JobStatus | None = None
