"""Deliveries to a real receiver with TLS, from a real MongoDB."""

from __future__ import annotations

import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import msgspec
import pytest
from standardwebhooks import Webhook, WebhookVerificationError

from core.jobs import Job, JobStatus, Question
from core.outcome import Answer, Outcome
from core.timing import now_ms
from core.webhooks import Reachable, message_id
from monitoring import families
from monitoring.metrics import Metrics
from monitoring.readings import Readings
from ops.drills.receiver import Receiver
from storage.accounts.webhook_secrets import WebhookSecrets
from storage.records.jobs import JobRecords
from storage.records.webhooks import WebhookRecords
from tests.jobs import make_spec
from tests.services import wait_until
from tests.tls_proxy import make_certificates
from workers.webhooks import deliverer as deliverer_module
from workers.webhooks import sender
from workers.webhooks.deliverer import Deliverer
from workers.webhooks.sender import Sender

LOOPBACK = Reachable(["127.0.0.1"])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def receiver(certificates):
    with Receiver(certificates) as receiver:
        yield receiver


@pytest.fixture
def caller(certificates):
    return Sender(LOOPBACK, ca_file=certificates.authority)


@pytest.fixture
def hooks(monkeypatch, mongo_database, redis_client, caller):
    monkeypatch.setattr(deliverer_module, "_WAIT_S", 0.02)
    deliveries, records = WebhookRecords(mongo_database), JobRecords(mongo_database, insert_s=10)
    secrets, metrics = WebhookSecrets(mongo_database), Metrics(redis_client)
    deliverer = Deliverer(deliveries, records, secrets, caller, metrics)

    def end(url, *, status=JobStatus.COMPLETED, text="An answer.", **changes):
        """Record the end of a job with a webhook and return the job."""
        spec = make_spec(webhook=url, **changes)
        said = Answer(text=text, finish_reason="stop", agents=("dev",))
        job = Job(
            spec=spec,
            status=status,
            cursor=4,
            finished_ms=now_ms(),
            question=Question("Why?"),
            outcome=Outcome(answer=said),
        )
        records.write_finished([job])
        return job

    def state(job):
        return deliveries.get(job.spec.user_id, message_id(job.id))

    def deliver(job, status="delivered"):
        """Turn the loop until the delivery stands so, and return it."""

        def is_so():
            deliverer.run()
            return state(job).status == status

        wait_until(is_so, 30, status)
        return state(job)

    return SimpleNamespace(
        deliveries=deliveries,
        records=records,
        secrets=secrets,
        metrics=metrics,
        readings=Readings(redis_client),
        deliverer=deliverer,
        end=end,
        state=state,
        deliver=deliver,
    )


def _days_ago(days):
    return datetime.now(UTC) - timedelta(days=days)


def attempt(hooks, job):
    """Turn the loop until one more attempt was made, and return the delivery."""
    before = hooks.state(job).attempts
    hooks.deliveries.postpone({message_id(job.id): now_ms()})

    def is_over():
        hooks.deliverer.run()
        return hooks.state(job).attempts > before

    wait_until(is_over, 30, "an attempt")
    return hooks.state(job)


def test_the_end_of_a_job_is_delivered_signed(hooks, receiver):
    job = hooks.end(f"{receiver.url}/hook?x=1")

    found = hooks.deliver(job)

    (call,) = receiver.calls
    assert call.path == "/hook?x=1"
    secret = hooks.secrets.of(job.spec.user_id).secret
    said = Webhook(secret).verify(call.body, dict(call.headers))
    assert (said["type"], said["is_shortened"]) == ("job.completed", False)
    assert (said["data"]["id"], said["data"]["status"]) == (job.id, "completed")
    assert said["data"]["answer"]["text"] == "An answer."
    assert said["data"]["request"]["message"] == "Why?"
    assert call.headers["webhook-id"] == found.id == message_id(job.id)
    assert call.headers["content-type"] == "application/json"
    assert job.spec.cache_secret not in (" ", *call.body.decode().split())
    assert (found.attempts, found.response_status, found.error) == (1, 204, None)
    hooks.metrics.flush()
    assert hooks.readings.since_ever().total(families.WEBHOOKS, outcome="delivered") == 1
    with pytest.raises(WebhookVerificationError):
        Webhook(hooks.secrets.of(make_spec().user_id).secret).verify(call.body, dict(call.headers))


def test_a_job_without_a_webhook_makes_no_delivery(hooks, mongo_database):
    hooks.end(None)

    assert mongo_database["webhook_deliveries"].count_documents({}) == 0


def test_an_end_that_is_recorded_twice_is_delivered_once(hooks, receiver):
    job = hooks.end(receiver.url)
    hooks.records.write_finished([job])
    hooks.deliver(job)

    hooks.records.write_finished([job])
    hooks.deliverer.run()

    assert len(receiver.calls) == 1


def test_two_processes_share_the_deliveries(hooks, receiver, caller):
    other = Deliverer(hooks.deliveries, hooks.records, hooks.secrets, caller, hooks.metrics)
    jobs = [hooks.end(receiver.url) for _ in range(40)]

    def are_delivered():
        threads = [threading.Thread(target=one.run) for one in (hooks.deliverer, other)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return all(hooks.state(job).status == "delivered" for job in jobs)

    wait_until(are_delivered, 30, "all deliveries")
    assert sorted(call.message["data"]["id"] for call in receiver.calls) == sorted(
        job.id for job in jobs
    )
    # Of each process four.
    assert receiver.most_open_calls <= 8


def test_a_failed_attempt_is_repeated_later(hooks, receiver):
    receiver.respond = lambda _: 500
    job = hooks.end(receiver.url)

    failed = attempt(hooks, job)

    assert (failed.status, failed.error, failed.response_status) == ("pending", "http_500", 500)
    assert failed.due_ms > now_ms() + 2_000
    hooks.deliverer.run()
    assert len(receiver.calls) == 1
    receiver.respond = lambda _: 200
    found = attempt(hooks, job)
    assert (found.status, found.attempts, found.error) == ("delivered", 2, None)
    assert len({call.headers["webhook-id"] for call in receiver.calls}) == 1


def test_what_nobody_takes_for_a_day_is_dead_and_can_be_sent_again(hooks, receiver, mongo_database):
    receiver.respond = lambda _: 503
    job = hooks.end(receiver.url)
    long_ago = {"$set": {"since": _days_ago(1)}}
    mongo_database["webhook_deliveries"].update_one({"job_id": job.id}, long_ago)

    dead = hooks.deliver(job, "dead")

    assert (dead.error, dead.due_ms) == ("http_503", None)
    (listed,) = hooks.deliveries.list_of_user(job.spec.user_id, limit=5, status="dead")
    assert listed == dead
    receiver.respond = lambda _: 200
    again = hooks.deliveries.resend(job.spec.user_id, dead.id)
    assert (again.status, again.attempts) == ("pending", 0)
    assert hooks.deliver(job).status == "delivered"


def test_a_receiver_that_is_gone_for_good_is_asked_once(hooks, receiver):
    receiver.respond = lambda _: 410
    job = hooks.end(receiver.url)

    assert hooks.deliver(job, "dead").error == "http_410"


def test_no_redirect_is_followed(hooks, receiver):
    receiver.respond = lambda _: (302, {"Location": f"{receiver.url}/elsewhere"})
    job = hooks.end(receiver.url)

    assert attempt(hooks, job).error == "redirect"
    assert [call.path for call in receiver.calls] == ["/"]


def test_retry_after_is_heeded(hooks, receiver):
    receiver.respond = lambda _: (429, {"Retry-After": "1800"})
    job = hooks.end(receiver.url)

    assert attempt(hooks, job).due_ms > now_ms() + 1_700_000


def test_failures_in_a_row_leave_the_receiver_alone(hooks, receiver):
    receiver.respond = lambda _: 500
    jobs = [hooks.end(receiver.url) for _ in range(30)]

    def is_quiet():
        hooks.deliverer.run()
        due = [hooks.state(job).due_ms for job in jobs]
        return min(due) > now_ms() + 1_000

    wait_until(is_quiet, 30, "an open circuit")
    calls = len(receiver.calls)
    assert 5 <= calls <= 8
    hooks.deliverer.run()
    assert len(receiver.calls) == calls
    # Nothing is counted against those that were not tried.
    assert sum(hooks.state(job).attempts for job in jobs) == calls


def test_a_slow_receiver_holds_no_other_up(hooks, receiver, certificates):
    let_go = threading.Event()
    receiver.respond = lambda _: 200 if let_go.wait(20) else 500
    slow = [hooks.end(receiver.url) for _ in range(20)]
    with Receiver(certificates) as quick:
        job = hooks.end(quick.url)
        hooks.deliver(job)
    assert receiver.most_open_calls == 4
    let_go.set()
    for job in slow:
        hooks.deliver(job)
    assert len(receiver.calls) == 20


def test_a_deleted_job_is_told_of_no_more(hooks, receiver, mongo_database):
    job = hooks.end(receiver.url)
    mongo_database["jobs"].delete_one({"_id": job.id})

    assert hooks.deliver(job, "dead").error == "job_gone"
    assert receiver.calls == []


def test_a_long_message_comes_without_its_texts(hooks, receiver):
    job = hooks.end(receiver.url, text="x" * 600_000)
    hooks.deliver(job)

    said = receiver.calls[0].message
    assert (said["is_shortened"], said["data"]["answer"]) == (True, None)
    assert said["data"]["request"]["message"] is None
    assert said["data"]["links"]["self"].endswith(job.id)


def test_both_secrets_sign_while_one_is_replaced(hooks, receiver, mongo_database):
    job = hooks.end(receiver.url)
    old = hooks.secrets.of(job.spec.user_id).secret
    new = hooks.secrets.rotate(job.spec.user_id)
    hooks.deliver(job)

    (call,) = receiver.calls
    for secret in (old, new.secret):
        assert Webhook(secret).verify(call.body, dict(call.headers))["data"]["id"] == job.id
    assert new.secret != old
    assert new.previous == old
    over = {"previous_until": _days_ago(1)}
    mongo_database["webhook_secrets"].update_one({"_id": job.spec.user_id}, {"$set": over})
    assert hooks.secrets.valid_of(job.spec.user_id) == (new.secret,)


@pytest.mark.parametrize("status", [JobStatus.FAILED, JobStatus.CANCELLED, JobStatus.INCOMPLETE])
def test_every_end_is_told(hooks, receiver, status):
    hooks.deliver(hooks.end(receiver.url, status=status))

    assert receiver.calls[0].message["type"] == f"job.{status.value}"


def test_a_private_address_is_refused_when_it_is_called(certificates, receiver):
    strict = Sender(Reachable(), ca_file=certificates.authority)

    assert strict.send(receiver.url, b"{}", {}).error == "address_not_public"
    port = receiver.url.rpartition(":")[2]
    assert strict.send(f"https://localhost:{port}", b"{}", {}).error == "address_not_public"
    assert receiver.calls == []


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch, caller, receiver):
    looked_up, port = [], int(receiver.url.rpartition(":")[2])
    real = socket.getaddrinfo

    def resolve(host, *rest, **more):
        # A name whose second look-up would lead elsewhere.
        if host == "localhost":
            looked_up.append(host)
            host = "127.0.0.1" if len(looked_up) == 1 else "127.0.0.2"
        return real(host, *rest, **more)

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    assert caller.send(f"https://localhost:{port}/", b"{}", {}).status == 204
    assert looked_up == ["localhost"]
    assert receiver.calls[0].headers["host"] == f"localhost:{port}"


def test_a_certificate_of_nobody_is_refused(receiver):
    assert Sender(LOOPBACK).send(receiver.url, b"{}", {}).error == "tls_failed"


def test_a_certificate_of_another_name_is_refused(monkeypatch, certificates, receiver):
    port = int(receiver.url.rpartition(":")[2])
    real = socket.getaddrinfo
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda _, *rest, **more: real("127.0.0.1", *rest, **more)
    )
    caller = Sender(LOOPBACK, ca_file=certificates.authority)

    assert caller.send(f"https://hooks.example.com:{port}", b"{}", {}).error == "tls_failed"


def test_nobody_there_and_no_such_host_have_words(caller):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert caller.send(f"https://127.0.0.1:{port}", b"{}", {}).error == "connection_failed"
    assert caller.send("https://hooks.invalid/", b"{}", {}).error == "host_not_found"


def test_a_receiver_that_drips_is_cut_off(monkeypatch, certificates, receiver):
    monkeypatch.setattr(sender, "CALL_WITHIN_S", 1.0)
    let_go = threading.Event()
    receiver.respond = lambda _: 200 if let_go.wait(20) else 500
    caller = Sender(LOOPBACK, ca_file=certificates.authority)

    assert caller.send(receiver.url, b"{}", {}).error == "timeout"
    let_go.set()


def test_proxies_of_the_environment_are_not_used(monkeypatch, caller, receiver):
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")

    assert caller.send(receiver.url, b"{}", {}).status == 204


def test_a_proxy_that_is_named_is_used(certificates, receiver):
    asked = []

    def serve(server):
        client, _ = server.accept()
        with client:
            asked.append(client.recv(4_096))
            client.sendall(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        proxy = f"http://127.0.0.1:{server.getsockname()[1]}"
        caller = Sender(Reachable(), ca_file=certificates.authority, proxy=proxy)

        answer = caller.send("https://hooks.example.com/", b"{}", {})

    assert answer.error == "connection_failed"
    assert asked[0].startswith(b"CONNECT hooks.example.com:443 ")


def test_what_is_no_http_has_a_word(certificates, caller):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates.own, certificates.key)

    def serve(server):
        client, _ = server.accept()
        with context.wrap_socket(client, server_side=True) as inside:
            inside.recv(4_096)
            inside.sendall(b"SSH-2.0-OpenSSH\r\n\r\n")

    with socket.create_server(("127.0.0.1", 0)) as server:
        threading.Thread(target=serve, args=(server,), daemon=True).start()
        url = f"https://127.0.0.1:{server.getsockname()[1]}"

        assert caller.send(url, b"{}", {}).error == "no_http"


def test_a_delivery_whose_process_died_comes_again(hooks, receiver):
    job = hooks.end(receiver.url)
    (taken,) = hooks.deliveries.due(now_ms(), limit=5)
    assert hooks.deliveries.claim(taken, now_ms() + 60_000)
    hooks.deliverer.run()
    assert receiver.calls == []
    assert not hooks.deliveries.claim(taken, now_ms())

    hooks.deliveries.postpone({taken.id: now_ms()})

    assert hooks.deliver(job).attempts == 1


def test_a_key_of_the_message_is_not_a_secret(hooks, receiver):
    job = hooks.end(receiver.url, cache_secret="c" * 64)
    hooks.deliver(job)

    assert b"c" * 64 not in receiver.calls[0].body
    assert msgspec.json.decode(receiver.calls[0].body)["data"]["webhook"] == receiver.url
