"""What requests about jobs may contain."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self
from unicodedata import combining

from pydantic import (
    AfterValidator,
    BeforeValidator,
    Field,
    StringConstraints,
    field_validator,
    model_validator,
)

from core.events import EVENT_TYPES, TERMINAL_TYPES
from core.jobs import (
    DEFAULT_PRIORITY,
    GREATEST_PRIORITY,
    LEAST_PRIORITY,
    CacheControl,
    TeamRequest,
)
from core.models import Tier
from web.http.schemas import Documented, Fits, Headers, Moment, Query, RequestBody
from web.services import current_services

#: More than any language writes on one letter.
_MOST_MARKS: Final = 30
_MAX_KEPT_S: Final = 30 * 24 * 3600


def _within_message_limit(message: str) -> str:
    most = current_services().settings.max_message_chars
    if len(message) > most:
        raise ValueError(f"must be at most {most} characters long")
    return message


def _without_stacked_marks(message: str) -> str:
    """Refuse text whose normalisation takes quadratic time; see UAX #15, Stream-Safe Text."""
    if message.isascii():
        return message
    run = 0
    for character in message:
        run = run + 1 if combining(character) else 0
        if run > _MOST_MARKS:
            raise ValueError(f"must have at most {_MOST_MARKS} combining marks in a row")
    return message


def _within_token_limit(max_tokens: int) -> int:
    most = current_services().settings.max_output_tokens
    if max_tokens > most:
        raise ValueError(f"must be at most {most}")
    return max_tokens


def _refuse_odd_number(value: Any) -> Any:
    if isinstance(value, str) and not (value.isascii() and value.isdigit() and len(value) <= 15):
        raise ValueError("must be a whole number")
    return value


def _refuse_no_agents(value: Any) -> Any:
    # Pydantic would give one reason for each branch of the union.
    if not (isinstance(value, list) or value == "auto"):
        raise ValueError('must be a list of agents or "auto"')
    return value


Identifier = Annotated[
    str, Fits("[A-Za-z0-9_-]{1,64}", "must consist of 1 to 64 letters, digits, `_` or `-`")
]
MetadataKey = Annotated[
    str, Fits("[A-Za-z0-9_.-]{1,64}", "must consist of 1 to 64 letters, digits, `_`, `.` or `-`")
]
MetadataValue = Annotated[str, StringConstraints(max_length=512)]
#: In a query or a header, where everything is text; stands behind the bounds, which it would hide.
WHOLE_NUMBER: Final = BeforeValidator(_refuse_odd_number)


class CacheOptions(RequestBody):
    """Whether a kept answer may serve, and for how long this one is kept."""

    mode: Literal["use", "refresh", "bypass"] = "use"
    """`use` takes a kept answer, `refresh` makes a new one and keeps it, `bypass` does neither."""
    ttl_s: Annotated[int, Field(ge=1, le=_MAX_KEPT_S)] | None = None
    """The answer is kept for at most so many seconds."""
    max_age_s: Annotated[int, Field(ge=0, le=_MAX_KEPT_S)] | None = None
    """A kept answer older than this many seconds does not serve."""

    def to_control(self) -> CacheControl:
        return CacheControl(mode=self.mode, ttl_s=self.ttl_s, max_age_s=self.max_age_s)


class AskRequest(RequestBody):
    """What is asked, and the bounds of the answer."""

    message: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1),
        AfterValidator(_within_message_limit),
        AfterValidator(_without_stacked_marks),
    ]
    """The question; blanks around it are cut off."""
    conversation_id: Identifier | None = None
    """The conversation that this question goes on with; a name of your choice begins one."""
    parent_id: Identifier | None = None
    """The job that this one goes on with, `root` for none; null for the conversation's latest."""
    on_busy: Literal["wait", "reject"] = "wait"
    """What to do while the message before is being answered: wait in line, or refuse with 409."""
    max_tokens: Annotated[int, Field(ge=1), AfterValidator(_within_token_limit)] | None = None
    """The most tokens that one model call may answer with; null stands for 1024."""
    temperature: Annotated[float, Field(ge=0, le=2, allow_inf_nan=False)] | None = None
    """How much the model varies its words; null leaves it to the model."""
    cache: CacheOptions = CacheOptions()
    """Whether a kept answer may serve."""
    priority: Annotated[int, Field(ge=LEAST_PRIORITY, le=GREATEST_PRIORITY)] = DEFAULT_PRIORITY
    """Higher goes first, among your own jobs that wait."""
    run_at: Moment | None = None
    """When the job may start, at most 30 days ahead; null for at once."""
    expires_at: Moment | None = None
    """When the job is given up unless it has begun; null for 15 minutes after it may start."""
    concurrency_key: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """Of your jobs with the same key `concurrency_limit` run at a time, in order."""
    concurrency_limit: Annotated[int, Field(ge=1, le=100)] = 1
    """How many jobs with this key run at a time."""
    webhook: Annotated[str, StringConstraints(min_length=1, max_length=2048)] | None = None
    """An https URL that is told of the job's end; null for the API key's, if it has one."""
    metadata: Annotated[
        dict[MetadataKey, MetadataValue],
        Field(
            max_length=16,
            json_schema_extra={"additionalProperties": {"type": "string", "maxLength": 512}},
        ),
    ] = Field(default_factory=dict)
    """Text of your own that the job keeps; names have 1 to 64 letters, digits, `_`, `.` or `-`."""


class ChatRequest(AskRequest):
    """A question to one agent."""

    agent: Identifier | None = None
    """Who answers; null chooses the agent that suits the question best."""
    tier: Tier | None = None
    """The class of model that answers; null lets the router choose it."""
    model: Annotated[str, StringConstraints(min_length=1, max_length=128)] | None = None
    """The model that answers, by its id; excludes `tier`."""
    max_cost_usd: Annotated[float, Field(gt=0, le=1_000, allow_inf_nan=False)] | None = None
    """The most that the whole job may cost, in dollars; bounds the tier that the router chooses."""
    routing: Literal["auto", "cascade"] = "auto"
    """`cascade` asks the quick tier first and a stronger one only where that answer does not do."""

    @model_validator(mode="after")
    def _refuse_two_choices(self) -> Self:
        if self.tier is not None and self.model is not None:
            raise ValueError("Give `tier` or `model`, not both")
        if self.routing == "cascade" and (self.tier or self.model):
            raise ValueError("Leave out `tier` and `model`: a cascade chooses them")
        return self


class TeamChatRequest(AskRequest):
    """A question to several agents, whose replies become one answer."""

    agents: Annotated[
        Annotated[list[Identifier], Field(min_length=1, max_length=5)] | Literal["auto"],
        BeforeValidator(_refuse_no_agents),
    ] = "auto"
    """Who answers; `auto` chooses two to four agents, or one where the question has one part."""
    strategy: Literal["parallel", "debate"] = "parallel"
    """In a `debate` the agents see each other's replies and revise their own."""
    rounds: Annotated[int, Field(ge=2, le=3)] | None = None
    """How often each agent is asked in a debate; null stands for 2."""
    quorum: Annotated[int, Field(ge=1, le=5)] = 1
    """How many agents have to answer; with fewer the job fails."""
    agent_deadline_s: Annotated[float, Field(ge=1, le=140, allow_inf_nan=False)] | None = None
    """The longest that one agent may take in a round, in seconds."""
    synthesis: bool = True
    """Whether a model makes one answer of the replies; otherwise they stand side by side."""

    @field_validator("agents")
    @classmethod
    def _refuse_repeats(cls, agents: list[str] | str) -> list[str] | str:
        if isinstance(agents, list) and len(set(agents)) < len(agents):
            raise ValueError("must name each agent only once")
        return agents

    @model_validator(mode="after")
    def _refuse_contradictions(self) -> Self:
        if self.rounds is not None and self.strategy != "debate":
            raise ValueError("Leave out `rounds`, or make `strategy` `debate`")
        if self.agents != "auto" and self.quorum > len(self.agents):
            raise ValueError("`quorum` must be at most the number of `agents`")
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


class SubmitHeaders(Headers):
    """How a submit is repeated safely."""

    idempotency_key: Annotated[
        str | None, Field(alias="Idempotency-Key", min_length=1, max_length=255)
    ] = None
    """A repeat with the same key and body within 24 hours returns the first job."""


class WaitHeaders(SubmitHeaders):
    """How long a submit waits."""

    prefer: Annotated[str | None, Field(alias="Prefer")] = None
    """`wait=S` waits up to S seconds, at most 60, for the job's end (RFC 7240)."""


class StreamHeaders(Headers):
    """Where a stream goes on."""

    last_event_id: Annotated[
        Annotated[int, WHOLE_NUMBER] | None,
        BeforeValidator(lambda sent: sent or None),
        Field(alias="Last-Event-ID"),
    ] = None
    """The number of the last event that was received; the larger of this and `after` counts."""


class JobPath(Documented):
    """Which job."""

    job_id: str
    """The job's id."""


def _to_types(value: Any) -> Any:
    return frozenset(value.split(",")) if isinstance(value, str) else value


def _known_types(types: frozenset[str]) -> frozenset[str]:
    if unknown := sorted(types - EVENT_TYPES):
        raise ValueError(f"must name types of events; there is no {', '.join(unknown)}")
    return types | TERMINAL_TYPES


EventTypes = Annotated[
    frozenset[str],
    BeforeValidator(_to_types, json_schema_input_type=str),
    AfterValidator(_known_types),
]


class JobQuery(Query):
    """Which events of a job, and how long to wait for them."""

    after: Annotated[int, Field(ge=0), WHOLE_NUMBER] | None = None
    """The number of an event; only later ones are returned."""
    wait: Annotated[float, Field(ge=0, le=60, allow_inf_nan=False)] = 0.0
    """How many seconds a poll waits: with `after` for a later event, without it for the end."""
    types: EventTypes | None = None
    """Types of events, separated by commas; the job's end always comes too."""
