"""Cancelled jobs end, once, and stop costing, wherever they are and whoever hears of it."""

from __future__ import annotations

import signal

import psutil
import pytest

from ops.drills.faults import await_others, frozen, signal_trees
from tests.api_client import JOBS, ApiClient
from tests.faults.queues import WORKERS
from tests.services import wait_until

pytestmark = pytest.mark.faults

ENDLESS = "tokens=20 stall_after=2"
STORM = 100


def serving_pid(stack, client):
    """Return which process of the API has the other end of the client's connection."""
    with client.http.stream("GET", JOBS) as answer:
        address = answer.extensions["network_stream"].get_extra_info("client_addr")
        answer.read()
        master = psutil.Process(stack.programs["api"].pid)
        for process in (master, *master.children(recursive=True)):
            peers = {link.raddr for link in process.net_connections("tcp") if link.raddr}
            if address in peers:
                return process.pid
    raise AssertionError("no process of the API serves this client")


def clients_of_each_process(stack, user):
    """Return clients that are the same user, each connected to another process of the API."""
    found = {}

    def has_both():
        client = ApiClient(stack.url)
        client.http.headers["Authorization"] = user.authorization
        other = found.setdefault(serving_pid(stack, client), client)
        if other is not client:
            client.close()
        return len(found) == 2

    wait_until(has_both, 60, "a connection to each process of the API")
    return list(found.values())


def test_every_upstream_call_is_hung_up_when_all_jobs_are_cancelled_at_once(
    crowd, upstream, settle
):
    job_ids = crowd.submit(STORM, ENDLESS)
    wait_until(lambda: crowd.answering(job_ids) == STORM, 60, "answers to begin")
    assert upstream()["in_flight"] == STORM

    answers = crowd.cancel(job_ids)

    # 200 where the job had ended when the answer was made.
    assert set(answers) <= {200, 202}
    streams = crowd.streams(job_ids)
    assert {events[-1]["type"] for events in streams.values()} == {"job.cancelled"}
    wait_until(lambda: upstream()["client_closed"] == STORM, 60, "every call to be hung up")
    assert settle() == dict.fromkeys(job_ids, "cancelled")
    assert all(job["cost"]["usd"] > 0 for job in crowd.jobs(job_ids[:10]))


def test_second_cancel_is_refused_with_the_state_when_the_job_has_ended(crowd, settle):
    job_ids = crowd.submit(2, ENDLESS)
    wait_until(lambda: crowd.answering(job_ids) == 2, 60, "answers to begin")
    crowd.cancel(job_ids)
    crowd.streams(job_ids)

    again = [crowd.owner(job_id).cancel(job_id) for job_id in job_ids]

    assert [answer.status_code for answer in again] == [409, 409]
    assert all("it is cancelled" in answer.json()["detail"] for answer in again)
    settle()


def test_job_is_cancelled_when_another_process_of_the_api_is_asked(stack, crowd, upstream, settle):
    (job_id,) = crowd.submit(1, ENDLESS)
    here, there = clients_of_each_process(stack, crowd.owner(job_id))
    before = upstream()["client_closed"]

    with here.http.stream("GET", f"{JOBS}/{job_id}/events") as stream:
        lines = stream.iter_lines()
        wait_until(lambda: next(lines) == "event: answer.delta", 60, "the answer to begin")
        answer = there.cancel(job_id)
        rest = list(lines)

    # 200 where the job had ended when the answer was made.
    assert answer.status_code in (200, 202)
    assert "event: job.cancelled" in rest
    assert settle() == {job_id: "cancelled"}
    assert upstream()["client_closed"] == before + 1
    for client in (here, there):
        client.close()


def test_queued_jobs_end_at_once_when_they_are_cancelled_while_no_worker_can(
    target, crowd, upstream, settle
):
    with frozen(target, *WORKERS):
        job_ids = crowd.submit(10)
        answers = crowd.cancel(job_ids)
        polled = crowd.jobs(job_ids)

    assert answers == [200] * 10
    assert [job["status"] for job in polled] == ["cancelled"] * 10
    assert settle() == dict.fromkeys(job_ids, "cancelled")
    assert upstream()["requests"] == 0


def test_running_jobs_end_when_they_are_cancelled_and_their_workers_die(target, crowd, settle):
    job_ids = crowd.submit(10, ENDLESS)
    wait_until(lambda: crowd.answering(job_ids) == 10, 60, "answers to begin")

    with frozen(target, *WORKERS) as pids:
        answers = crowd.cancel(job_ids)
        signal_trees(pids.values(), signal.SIGKILL)
    await_others(target, pids)

    assert answers == [202] * 10
    assert settle() == dict.fromkeys(job_ids, "cancelled")
    assert {job["attempt"] for job in crowd.jobs(job_ids)} == {1}
