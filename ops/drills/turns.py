"""The drill fair-share: another user's quick job in front of a pile of teams."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING, Any, Final

from core.personas import agent_names
from ops.client import checked
from ops.drills.evidence import Violation
from ops.drills.load import demo_user, to_unix_s
from ops.stack.readiness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ops.client import ApiClient
    from ops.drills.load import Load, Tracked
    from ops.drills.target import Target

_USERS: Final = 4
_TEAMS_EACH: Final = 10
#: One that allows ten teams of five; a process goes by what it last read of a user for 10 s.
_PLAN: Final = "basic"
_KNOWN_WITHIN_S: Final = 40.0
_SLOW: Final = "[[stub:tokens=20 gap_ms=50]]"
_QUICK: Final = "[[stub:tokens=3]]"
_BOUNDS: Final[dict[str, Any]] = {"max_tokens": 16, "cache": {"mode": "bypass"}}
_STARTS: Final = ("job.started", "agent.started")


def share_fairly(target: Target, load: Load, _: random.Random) -> Iterator[str | Violation]:
    """Submit 40 teams of five agents for four users, then a quick job of another, which is next."""
    late, *users = [demo_user(target.api_url) for _ in range(1 + _USERS)]
    # The same share for all of them.
    _give_plan(target, [late, *users])
    teams = []
    for number in range(_TEAMS_EACH):
        for user in users:
            answer = user.submit(
                f"Plan {number} of {load.run} {_SLOW}",
                path="multi-agent",
                agents=list(agent_names())[:5],
                **_BOUNDS,
            )
            teams.append(load.adopt(checked(answer)["id"], user))
    answer = late.submit(f"Is it my turn in {load.run}? {_QUICK}", path="quick", **_BOUNDS)
    quick = load.adopt(checked(answer)["id"], late)
    load.wait_for_end()

    queued_s, started_s = (_times(quick, kind)[0] for kind in ("job.queued", "job.started"))
    others = [at for team in teams for kind in _STARTS for at in _times(team, kind)]
    before = sum(queued_s < at < started_s for at in others)
    yield (
        f"a quick job behind {len(teams)} teams began {1000 * (started_s - queued_s):.0f} ms after "
        f"it was accepted, {before} starts of others later"
    )
    if before > _USERS + 1:
        yield Violation(quick.job_id, f"began after {before} starts of {_USERS} users")


def _give_plan(target: Target, users: list[ApiClient]) -> None:
    """Let the users have so many teams unfinished, and wait until the API knows of it."""
    with target.database() as database:
        chosen = {"_id": {"$in": [user.id for user in users]}}
        database["users"].update_many(chosen, {"$set": {"plan": _PLAN}})

    def is_known() -> bool:
        answers = (user.http.get("/api/subscription").json() for user in users)
        return all(answer["plan"] == _PLAN for answer in answers)

    wait_until(is_known, _KNOWN_WITHIN_S, "the plan of the drill's users")


def _times(tracked: Tracked, kind: str) -> list[float]:
    job = tracked.user.job(tracked.job_id, after=0)
    return [to_unix_s(event["at"]) for event in job["events"] if event["type"] == kind]
