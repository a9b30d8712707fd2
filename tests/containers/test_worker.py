"""The built image as pytest-celery's worker; left out where no container engine runs."""

from __future__ import annotations

import os
import socket

import docker
import pytest
from pytest_celery import CeleryTestContainer, CeleryTestWorker

from core.jobs import JobStatus
from ops.stack import programs
from ops.stack.state import ROOT
from workers.queue import WakeUps

pytestmark = pytest.mark.containers


def engine_listens():
    """Say whether an engine is named by the environment, or listens where engines do by default."""
    with socket.socket(socket.AF_UNIX) as default:
        return "DOCKER_HOST" in os.environ or default.connect_ex("/var/run/docker.sock") == 0


@pytest.fixture(scope="module")
def engine():
    if not engine_listens():
        pytest.skip("No container engine runs here, so that the built image is not tried.")
    client = docker.from_env()
    yield client
    client.close()


@pytest.fixture(scope="module")
def image(engine):
    image, _ = engine.images.build(path=str(ROOT), tag="aether:test", rm=True, network_mode="host")
    return image


@pytest.fixture
def celery_worker(engine, image, worker_settings, celery_setup_app):
    """A worker of production in a container that reaches this machine's servers by loopback."""
    container = engine.containers.run(
        image,
        list(programs.worker_command("worker", "4")),
        environment=worker_settings
        | {"AETHER_ENV": "production", "AETHER_CACHE_SECRET": "Wq7vN2xK9mT4bZ8rL5cJ1hY6fD3gP0sA"},
        network_mode="host",
        read_only=True,
        tmpfs={"/tmp": ""},
        detach=True,
    )
    yield CeleryTestWorker(CeleryTestContainer(container), celery_setup_app)
    print(container.logs().decode())  # noqa: T201 - pytest shows it when the test fails
    container.remove(force=True)


def test_the_images_worker_answers_the_job_of_a_message(celery_setup, jobs):
    spec = jobs.accept()

    assert WakeUps(celery_setup.app).send("run")

    job = jobs.end_of(spec)
    assert job.status is JobStatus.COMPLETED
    assert job.outcome.answer.text.startswith("token-1 token-2")
