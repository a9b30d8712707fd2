"""Who answers a job, with which model, and what each is asked.

Everything here is a pure function of a job, its history and the data files: single answers, the
members of a team, the synthesis and evaluations all get their turns here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from agents.context import build_messages
from agents.routing import choose
from agents.selection import Team, select_agent, select_team
from agents.team_prompts import Contribution, build_revision, build_synthesis
from core.chat import Message
from core.jobs import JobSpec, Question
from core.models import TIERS, Catalogue, Model, Tier
from core.outcome import Route
from core.personas import Persona, prompted_for
from core.routing_rules import Rules
from core.team import MOST_CHOSEN, Member, MemberReply

_TITLE_REASON: Final = "titles are found by the quickest tier"
_SYNTHESIS_REASON: Final = "a synthesis is made by the strongest tier"


class Turn(Struct, frozen=True, kw_only=True):
    """One model run: who is asked, with which models, and what.

    Attributes:
        models: in the order in which they are asked; each is the fallback of the one before.
        reason: why this agent takes part.
        exchanges: how many earlier exchanges of the conversation are among the messages.
        stronger: the turn that answers instead where this one's reply does not pass its check.
    """

    agent: str
    tier: Tier
    models: tuple[Model, ...]
    reason: str
    messages: tuple[Message, ...]
    exchanges: int = 0
    max_tokens: int
    temperature: float | None = None
    stronger: Turn | None = None


class Plan(Struct, frozen=True, kw_only=True):
    """How a job is to be answered: by one agent's `turn`, or by a team of `members`.

    Attributes:
        reason: why these agents.
        turn, route: of the one agent; None where several answer.
    """

    members: tuple[Member, ...]
    reason: str
    turn: Turn | None = None
    route: Route | None = None


class Planner:
    """Plans jobs with one deployment's data: catalogue, routing rules and personas."""

    def __init__(
        self,
        catalogue: Catalogue,
        rules: Rules,
        personas: Mapping[str, Persona],
        synthesis: Persona,
        title: Persona,
    ) -> None:
        self._catalogue = catalogue
        self._rules = rules
        self._personas = personas
        self._synthesis = synthesis
        self._title = title

    def plan(self, spec: JobSpec, question: Question, history: Sequence[Message]) -> Plan:
        """Return who answers the job.

        Args:
            history: of the job's conversation, oldest first, a user's and an assistant's message
                for each exchange.

        Raises:
            UnknownAgent: the job asks for an agent that this deployment does not have.
        """
        if spec.title_of is not None:
            return self._title_plan(spec, question)
        chosen = self._select(spec, question)
        if len(chosen.members) > 1:
            members = tuple(self._to_member(own.persona, own.reason) for own in chosen.members)
            return Plan(members=members, reason=chosen.reason)
        choice = choose(spec, question, len(history) // 2, self._rules, self._catalogue)
        member = Member(
            agent=chosen.members[0].persona.name,
            tier=choice.tier,
            model=choice.model.id,
            reason=chosen.reason,
        )
        turn = self.turn(spec, question, history, member)
        route = Route(
            tier=choice.tier, model=choice.model.id, reason=choice.reason, score=choice.score
        )
        if spec.route.is_cascade:
            turn, route = self._behind_quick(spec, turn, route)
        return Plan(members=(member,), reason=chosen.reason, turn=turn, route=route)

    def _title_plan(self, spec: JobSpec, question: Question) -> Plan:
        member = self._to_member(self._title, _TITLE_REASON)
        model = self._catalogue.models[member.model]
        messages = build_messages(
            prompted_for(self._title, model),
            (),
            question.message,
            budget_tokens=model.context_tokens - spec.max_tokens,
        )
        route = Route(tier=member.tier, model=model.id, reason=_TITLE_REASON)
        turn = self._to_turn(spec, member, messages, 0)
        return Plan(members=(member,), reason=_TITLE_REASON, turn=turn, route=route)

    def turn(
        self, spec: JobSpec, question: Question, history: Sequence[Message], member: Member
    ) -> Turn:
        """Return the turn in which an agent answers the question."""
        model = self._catalogue.models[member.model]
        messages = build_messages(
            prompted_for(self._personas[member.agent], model),
            history,
            question.message,
            budget_tokens=model.context_tokens - spec.max_tokens,
        )
        return self._to_turn(spec, member, messages, _answers_in(messages))

    def revision_turn(
        self,
        spec: JobSpec,
        question: Question,
        history: Sequence[Message],
        member: Member,
        own_reply: str,
        others: Sequence[MemberReply],
    ) -> Turn:
        """Return the turn in which an agent revises its reply.

        Args:
            own_reply: what it said in the round before.
            others: usable replies of the other agents in the round before.
        """
        model = self._catalogue.models[member.model]
        messages = build_revision(
            prompted_for(self._personas[member.agent], model),
            question.message,
            own_reply,
            self.contributions(others),
            history,
            budget_tokens=model.context_tokens - spec.max_tokens,
        )
        # One answer among them is the agent's own of the round before.
        return self._to_turn(spec, member, messages, _answers_in(messages) - 1)

    def synthesis_turn(
        self,
        spec: JobSpec,
        question: Question,
        history: Sequence[Message],
        replies: Sequence[MemberReply],
    ) -> Turn:
        """Return the turn in which the strongest tier makes one answer of usable replies."""
        member = self.synthesis_member()
        model = self._catalogue.models[member.model]
        messages = build_synthesis(
            prompted_for(self._synthesis, model),
            question.message,
            self.contributions(replies),
            history,
            budget_tokens=model.context_tokens - spec.max_tokens,
        )
        return self._to_turn(spec, member, messages, _answers_in(messages))

    def synthesis_member(self) -> Member:
        """Return who makes a synthesis, and with which model."""
        return self._to_member(self._synthesis, _SYNTHESIS_REASON)

    def contributions(self, replies: Sequence[MemberReply]) -> list[Contribution]:
        """Return the replies as prompts quote them."""
        return [
            Contribution(
                name=reply.report.name,
                title=self._personas[reply.report.name].title,
                text=reply.text,
                finish_reason=reply.finish_reason,
            )
            for reply in replies
        ]

    def _select(self, spec: JobSpec, question: Question) -> Team:
        if spec.team is not None:
            return select_team(question.message, spec.team.agents, self._personas, most=MOST_CHOSEN)
        one = select_agent(question.message, spec.agent, self._personas)
        return Team((one,), one.reason)

    def _to_member(self, persona: Persona, reason: str) -> Member:
        model = self._catalogue.for_tier(persona.tier)
        return Member(agent=persona.name, tier=persona.tier, model=model.id, reason=reason)

    def _to_turn(
        self, spec: JobSpec, member: Member, messages: tuple[Message, ...], exchanges: int
    ) -> Turn:
        model = self._catalogue.models[member.model]
        return Turn(
            agent=member.agent,
            tier=member.tier,
            models=tuple(fallbacks_of(model, self._catalogue)),
            reason=member.reason,
            messages=messages,
            exchanges=exchanges,
            max_tokens=spec.max_tokens,
            temperature=spec.temperature,
        )

    def _behind_quick(self, spec: JobSpec, turn: Turn, route: Route) -> tuple[Turn, Route]:
        """Put a quick turn in front of the planned one, which answers if the reply fails its check.

        Nothing changes where no stronger model than the quick one may be used.
        """
        quick = self._catalogue.for_tier("quick")
        least = min("standard", spec.route.max_tier, key=TIERS.index)
        tier = max(turn.tier, least, key=TIERS.index)
        strong = self._catalogue.for_tier(tier)
        if strong.id == quick.id:
            return turn, route
        stronger = replace(turn, tier=tier, models=tuple(fallbacks_of(strong, self._catalogue)))
        first = replace(turn, tier="quick", models=(quick,), stronger=stronger)
        reason = "cascade: a quick answer first"
        return first, replace(route, tier="quick", model=quick.id, reason=reason)


def _answers_in(messages: Sequence[Message]) -> int:
    return sum(message.role == "assistant" for message in messages)


def fallbacks_of(model: Model, catalogue: Catalogue) -> Iterator[Model]:
    """Yield the model and those that answer in its place, each once."""
    seen: set[str] = set()
    following: Model | None = model
    while following is not None and following.id not in seen:
        seen.add(following.id)
        yield following
        following = catalogue.get(following.fallback) if following.fallback else None
