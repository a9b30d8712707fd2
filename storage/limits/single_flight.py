"""Single flight: of many jobs that ask the same at once one calls a model, the others wait.

The first to enter leads. The others are parked: back in the queue without a worker, until the
leader's end releases them. A leader that dies is replaced when its key runs out: a parked job comes
back by itself after a lease, and the first to enter then leads.
"""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Final

import msgspec
from msgspec import Struct

from storage import keys
from storage.jobs.claims import Claim
from storage.scripts import WITH_LINES, Script

if TYPE_CHECKING:
    from redis import Redis

#: How long jobs that enter after the leader's end get its note, in milliseconds; many may still
#: wait in the queue when it ends.
_NOTE_MS: Final = 30_000


class Kept(Struct, frozen=True, tag="kept"):
    """There is an answer for all; `data` is as the cache encodes it."""

    data: bytes


class Failed(Struct, frozen=True, tag="failed"):
    """There is none, for a reason that all share."""

    code: str
    message: str


class Alone(Struct, frozen=True, tag="alone"):
    """The answer is nobody else's: each job has to answer for itself and is not parked again."""


Note = Kept | Failed | Alone

_encode = msgspec.msgpack.Encoder().encode
_note_decoder = msgspec.msgpack.Decoder(Note)


class Role(StrEnum):
    """What a job has to do about the question it asks."""

    #: Answer it, then call `end`.
    LEAD = "lead"
    #: Nothing: its claim is given back, and it is in its line again when the leader has ended.
    PARKED = "parked"
    #: Go by the note.
    NOTE = "note"
    #: Nothing: another attempt has the job.
    LOST = "lost"


class Entered(Struct, frozen=True):
    """The role of a job; with NOTE, what its leader has left."""

    role: Role
    note: Note | None = None


class Released(Struct, frozen=True):
    """How many parked jobs a leader's end released, and for how many no thread was woken."""

    count: int
    unwoken: int


class SingleFlight:
    """Leaders and parked jobs by fingerprint; raises CoordinatorUnavailable when Redis is away.

    A job leads, not an attempt at it: a new attempt of the leader leads again.

    Args:
        lease_s: how long a leader may be silent, and after which a parked job comes again.
    """

    def __init__(self, redis: Redis, lease_s: int) -> None:
        self._lease_ms = lease_s * 1000
        self._enter = Script(redis, "single_flight_enter", behind=WITH_LINES)
        self._keep = Script(redis, "single_flight_keep")
        self._end = Script(redis, "single_flight_end", behind=WITH_LINES)

    def enter(self, fingerprint: str, claim: Claim) -> Entered:
        """Make the job lead, or park it, or return the note of a leader that has just ended.

        A parked job waits without a lease, the attempt does not count, and after a lease it is in
        its line again.
        """
        job_keys = keys.of_script(claim.job_id)
        was_parked = int(claim.was_parked)
        arguments = [claim.job_id, claim.fence, self._lease_ms, _encode(Alone()), was_parked]
        role, *note = self._enter.run([*job_keys, *keys.single_flight(fingerprint)], arguments)
        return Entered(Role(role.decode()), _note_decoder.decode(note[0]) if note else None)

    def renew(self, fingerprint: str, job_id: str) -> bool:
        """Lead for another lease; False when the job does not lead (any more)."""
        return self.keep(fingerprint, job_id, 0)

    def keep(self, fingerprint: str, job_id: str, wait_s: float) -> bool:
        """Lead through a deferral of `wait_s` and another lease; False when it does not lead."""
        leader_key = keys.single_flight(fingerprint)[0]
        keep_ms = int(wait_s * 1000) + self._lease_ms
        return bool(self._keep.run([leader_key], [job_id, keep_ms]))

    def end(self, fingerprint: str, job_id: str, note: Note | None) -> Released:
        """Stop leading and put the parked jobs back into their lines.

        Args:
            note: what jobs get that enter within 30 s, a `Failed` those that were parked alone;
                with None the next to enter leads.

        Returns:
            none when the job does not lead.
        """
        parked_only = int(isinstance(note, Failed))
        encoded = _encode(note) if note else b""
        arguments = [job_id, encoded, _NOTE_MS, parked_only]
        return Released(*self._end.run(keys.single_flight(fingerprint), arguments))
