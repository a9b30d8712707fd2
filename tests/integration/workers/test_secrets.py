"""What a worker of production starts with, and without."""

from __future__ import annotations

import os
import subprocess

import pytest
from celery import Celery

from ops.stack.state import ROOT
from tests.services import start_worker, worker_program

SECRET = "Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA"


@pytest.fixture
def production(redis_server, mongo_server):
    """The variables that production gives to every worker."""
    return {
        "AETHER_ENV": "production",
        "AETHER_REDIS_URL": redis_server.url,
        "AETHER_MONGO_URL": mongo_server.url,
    }


@pytest.mark.parametrize(
    ("given", "missing"),
    [
        ({"AETHER_CACHE_SECRET": SECRET}, "GROQ_API_KEY is missing"),
        ({"GROQ_API_KEY": "gsk_x"}, "AETHER_CACHE_SECRET is missing"),
    ],
)
def test_worker_of_the_chat_ends_and_names_the_secret_when_production_gave_none(
    production, given, missing
):
    ended = subprocess.run(
        worker_program("worker"),
        cwd=ROOT,
        env=os.environ | production | given,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert ended.returncode == 1
    assert f"{missing}; production refuses to start" in ended.stdout + ended.stderr


def test_upkeep_starts_when_production_gave_it_no_key(production, redis_server, tmp_path):
    with Celery("test", broker=redis_server.url, set_as_current=False) as app:
        upkeep = start_worker(tmp_path, "upkeep", app, **production)

        upkeep.stop()
    assert upkeep.process.returncode == 0
