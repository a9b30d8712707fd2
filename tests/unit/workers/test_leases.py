"""Whose lease is kept, and until when."""

from __future__ import annotations

import time

from core.stop import StopReason, StopSignal
from storage.jobs.attempts import Claim, Hold
from tests.jobs import make_spec
from tests.services import wait_until
from workers.leases import LeaseKeeper


class Renewals:
    """Stands in for the scripts: says that the user wants every job that is renewed to end."""

    def renew(self, claims):
        return [Hold.CANCELLED for _ in claims]


def test_lease_is_kept_on_when_its_claim_was_handed_over_within_the_process():
    keeper = LeaseKeeper(Renewals(), renew_every_s=0.01)
    claim = Claim(spec=make_spec(), fence="f", attempt=1, accepted_ms=0)
    theirs = StopSignal()
    deadline = time.monotonic() + 60

    with keeper.hold(claim, StopSignal(), deadline=deadline):
        keeper.take(claim, theirs, deadline=deadline)
    keeper.start()

    wait_until(lambda: theirs.reason is StopReason.CANCELLED, 5, "its renewal")
