"""Who answers a question for all that ask it at the same time, and who waits for that.

A job that lines up hands its claim to the leader's process, which keeps its lease and ends it. When
that process dies, all its leases run out, and the first of the jobs that is claimed again leads.
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

import msgspec
from msgspec import Struct

from storage import keys
from storage.jobs.attempts import Claim
from storage.scripts import Script

if TYPE_CHECKING:
    from redis import Redis

#: How long those who come after the end are given the answer, in milliseconds: as long as it may
#: take from their look into the cache to here.
_ANSWERED_MS: Final = 2_000
#: The same where a crowd asked, which may still stand in the queue.
_ANSWERED_CROWD_MS: Final = 30_000
_TAKEN_AT_ONCE: Final = 500

_encode = msgspec.json.Encoder().encode
_claim_decoder = msgspec.json.Decoder(Claim)


class Role(StrEnum):
    """What a job is to the question it asks."""

    LEAD = "lead"
    #: Its claim is another process's now.
    FOLLOW = "follow"
    #: Somebody has just answered it.
    ANSWERED = "answered"


class Entered(Struct, frozen=True):
    """The role of a job, and the answer that it was ANSWERED with, as its leader encoded it."""

    role: Role
    answer: bytes = b""


class Flight(Struct, frozen=True):
    """One question on its way to an answer, named by its fingerprint; the token is its leader's."""

    name: str
    token: str


class Flights:
    """Raises CoordinatorUnavailable when Redis is away.

    Args:
        silence_s: after which a leader is taken for dead; well below a job's lease, so that jobs
            which are claimed again do not line up behind a dead one.
    """

    def __init__(self, redis: Redis, *, silence_s: float) -> None:
        self._silence_ms = int(silence_s * 1000)
        self._enter = Script(redis, "flight_enter")
        self._tick = Script(redis, "flight_tick")
        self._close = Script(redis, "flight_close")

    def enter(self, flight: Flight, claim: Claim, *, wants_new: bool = False) -> Entered:
        """Lead, or hand the claim over to who does.

        Args:
            wants_new: an answer that was just given is of no use.
        """
        arguments = [flight.token, self._silence_ms, _encode(claim), "1" if wants_new else ""]
        role, *answer = self._enter.run(keys.flight(flight.name), arguments)
        return Entered(Role(role.decode()), *answer)

    def tick(self, flights: Sequence[Flight]) -> list[list[Claim]]:
        """Go on leading, and return the claims that were handed over to each, in one round trip."""
        found = self._tick.run_many(
            [
                (keys.flight(flight.name), [flight.token, self._silence_ms, _TAKEN_AT_ONCE])
                for flight in flights
            ]
        )
        return [_to_claims(claims) for claims in found]

    def close(self, flight: Flight, answer: bytes, *, is_crowd: bool) -> list[Claim]:
        """Stop leading and return the last claims that were handed over.

        Args:
            answer: what those are given who come next; empty if that must not be.
            is_crowd: others have followed.
        """
        arguments = [flight.token, answer, _ANSWERED_CROWD_MS if is_crowd else _ANSWERED_MS]
        return _to_claims(self._close.run(keys.flight(flight.name), arguments))


def _to_claims(encoded: Sequence[Any]) -> list[Claim]:
    return [_claim_decoder.decode(claim) for claim in encoded]
