"""A worker, its broker and its backend as pytest-celery's nodes: a job from message to end."""

from __future__ import annotations

import pytest
from pytest_celery import CeleryTestWorker

from core.jobs import JobStatus
from tests.celery_nodes import ProcessContainer
from tests.services import start_worker
from workers.queue import WakeUps


@pytest.fixture
def celery_worker(worker_settings, celery_setup_app, tmp_path):
    """A worker of the chat as a child process, with the stack's own command."""
    server = start_worker(tmp_path, "worker", celery_setup_app, **worker_settings)
    worker = CeleryTestWorker(ProcessContainer("worker", server), celery_setup_app)
    yield worker
    worker.teardown()


def test_worker_answers_the_job_of_a_message(celery_setup, jobs):
    spec = jobs.accept()

    assert celery_setup.ready(control=True)
    assert WakeUps(celery_setup.app).send("run")

    job = jobs.end_of(spec)
    assert job.status is JobStatus.COMPLETED
    assert job.outcome.answer.text.startswith("token-1 token-2")


def test_message_is_answered_when_the_worker_was_killed_before_it_came(celery_setup, jobs):
    spec = jobs.accept()
    celery_setup.worker.kill()

    assert WakeUps(celery_setup.app).send("run")
    celery_setup.worker.restart()

    assert jobs.end_of(spec).status is JobStatus.COMPLETED
