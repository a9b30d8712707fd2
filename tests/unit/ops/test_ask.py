"""A question's way over HTTP, against a server that breaks off when it is told to."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ops.client import AskFailed, ChatApi


class Scripted(BaseHTTPRequestHandler):
    """Answers each request with the next of the server's (status, type, body)."""

    def do_GET(self):
        self.server.seen.append((self.command, self.path, dict(self.headers)))
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        status, kind, body = self.server.answers.pop(0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.seen, server.answers = [], []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api(server):
    with ChatApi(server.url, "a-token") as api:
        yield api


def frames(*events):
    lines = [
        f"id: {number}\nevent: {kind}\ndata: "
        + json.dumps({"sequence": number, "type": kind, "data": data})
        for number, kind, data in events
    ]
    return (200, "text/event-stream", ("retry: 1000\n\n" + "\n\n".join(lines) + "\n\n").encode())


def answer(body, status=200):
    return (status, "application/json", json.dumps(body).encode())


def problem(status, code, **fields):
    return answer({"detail": "It is so.", "code": code} | fields, status)


END = (3, "job.completed", {"status": "completed"})


def test_events_go_on_where_a_stream_broke_off(server, api):
    server.answers = [
        frames((1, "job.queued", {}), (2, "job.started", {})),
        problem(503, "coordinator_unavailable"),
        frames(END),
    ]

    events = list(api.events("job_1"))

    assert [event["sequence"] for event in events] == [1, 2, 3]
    assert [headers["Last-Event-ID"] for _, _, headers in server.seen] == ["0", "2", "2"]


def test_stream_ends_with_the_job_when_nothing_can_follow(server, api):
    job = {"status": "completed", "id": "job_1"}
    server.answers = [(204, "text/plain", b""), answer(job)]

    events = list(api.events("job_1"))

    assert [(event["type"], event["data"]) for event in events] == [("job.snapshot", job)]


def test_stream_that_is_refused_is_not_asked_for_again(server, api):
    server.answers = [problem(404, "job_not_found")]

    with pytest.raises(AskFailed, match="It is so"):
        list(api.events("job_1"))

    assert len(server.seen) == 1


def test_question_is_asked_with_the_token_that_was_given(server, api):
    server.answers = [answer({"id": "job_1"}, 202)]

    assert api.submit("Why?", None, "parallel") == "job_1"

    method, path, headers = server.seen[0]
    assert (method, path) == ("POST", "/api/ai/v4/chat/multi-agent")
    assert headers["Authorization"] == "Bearer a-token"


def test_demo_user_asks_when_no_token_is_given(server):
    server.answers = [answer({"access_token": "fresh"}), answer({"id": "job_1"}, 202)]

    with ChatApi(server.url, None) as api:
        api.submit("Why?", ["dev"], "debate")

    assert server.seen[0][1] == "/api/auth/demo-login"
    assert server.seen[1][2]["Authorization"] == "Bearer fresh"


def test_cancel_shows_the_job_also_when_it_had_ended_before(server, api):
    job = {"status": "completed"}
    server.answers = [problem(409, "job_already_finished"), answer(job)]

    assert api.cancel("job_1") == job


@pytest.mark.parametrize(
    ("given", "said", "status"),
    [
        (problem(422, "x", field="agents"), "agents: It is so. (x)", 422),
        (problem(401, "unauthenticated"), "It is so. (unauthenticated) Is the token right", 401),
        ((502, "text/html", b"<html>"), "answered 502: it is no API of Aether", 502),
        ((200, "text/html", b"<html>"), "is not Aether", None),
        (answer([], 400), "answered 400", 400),
    ],
)
def test_refusal_is_one_sentence(server, api, given, said, status):
    server.answers = [given]

    with pytest.raises(AskFailed) as failure:
        api.submit("Why?", None, "parallel")

    assert said in str(failure.value)
    assert "\n" not in str(failure.value)
    assert failure.value.status == status


def test_deployment_without_demo_users_asks_for_a_token(server):
    server.answers = [problem(403, "demo_disabled")]

    with pytest.raises(AskFailed, match="Give a token"):
        ChatApi(server.url, None)


def test_absent_server_is_named():
    with pytest.raises(AskFailed, match="Nothing answers at "):
        ChatApi("http://127.0.0.1:1", None)
