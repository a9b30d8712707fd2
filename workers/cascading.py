"""A job that the quick tier answers first: its two turns, and its route events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from agents.answer import fallbacks_of
from agents.cascade import Cascade
from core import events
from core.events import NewEvent
from core.models import TIERS
from core.outcome import Route

if TYPE_CHECKING:
    from agents.answer import Listener, Reply, Turn
    from core.jobs import JobSpec
    from core.models import Catalogue
    from core.stop import StopSignal
    from workers.event_writer import JobEvents
    from workers.worker import Runtime


class Ladder(Struct, frozen=True, kw_only=True):
    """A cascade and its two routes."""

    cascade: Cascade
    quick: Route
    strong: Route


def ladder_of(spec: JobSpec, turn: Turn, route: Route, catalogue: Catalogue) -> Ladder | None:
    """Return the cascade below a turn; None where none was asked for or no stronger model may."""
    quick = catalogue.for_tier("quick")
    tier = max(turn.tier, min("standard", spec.route.max_tier, key=TIERS.index), key=TIERS.index)
    strong = catalogue.for_tier(tier)
    if not spec.route.is_cascade or strong.id == quick.id:
        return None
    replaced = msgspec.structs.replace
    return Ladder(
        cascade=Cascade(
            question=spec.message,
            quick=replaced(turn, tier="quick", models=(quick,)),
            strong=replaced(turn, tier=tier, models=tuple(fallbacks_of(strong, catalogue))),
        ),
        quick=replaced(route, tier="quick", model=quick.id, reason="cascade: a quick answer first"),
        strong=replaced(route, tier=tier, model=strong.id),
    )


def climb(
    runtime: Runtime,
    ladder: Ladder,
    *,
    deadline: float,
    stop: StopSignal,
    listener: Listener,
    pen: JobEvents,
) -> tuple[Reply, Route]:
    """Have the cascade answer, and return the route that its answer took."""

    def on_escalation(why: str) -> None:
        told = msgspec.structs.replace(ladder.strong, reason=f"cascade: {why}")
        pen.tell(NewEvent(events.ROUTE_SELECTED, msgspec.to_builtins(told)))

    reply, how = runtime.cascades.run(
        ladder.cascade, deadline=deadline, stop=stop, listener=listener, on_escalation=on_escalation
    )
    taken = ladder.quick if reply.report.tier == "quick" else ladder.strong
    return reply, msgspec.structs.replace(taken, reason=f"cascade: {how}")
