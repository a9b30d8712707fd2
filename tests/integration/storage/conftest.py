"""The faces of the job scripts, on an empty Redis."""

from __future__ import annotations

import pytest

from storage.events.log import EventLog
from storage.jobs.lines import Lines
from storage.jobs.sweep import Sweep
from tests.acceptance import AcceptingStore
from tests.claims import ClaimingAttempts, ClaimingTeams


@pytest.fixture
def store(redis_client):
    return AcceptingStore(redis_client)


@pytest.fixture
def attempts(redis_client):
    return ClaimingAttempts(redis_client)


@pytest.fixture
def teams(redis_client):
    return ClaimingTeams(redis_client)


@pytest.fixture
def lines(redis_client):
    return Lines(redis_client, lease_s=15)


@pytest.fixture
def sweep(redis_client):
    return Sweep(redis_client, lease_s=15)


@pytest.fixture
def log(redis_client):
    return EventLog(redis_client)
