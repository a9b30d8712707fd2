"""The API's client, against a server that answers what a test gives it."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ops.client import ApiClient, ClientError, checked, read_events


class ScriptedServer(ThreadingHTTPServer):
    """Keeps what it was asked; `answers` are (status, type, body), one for each request."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Scripted)
        self.seen, self.answers = [], []
        self.url = f"http://127.0.0.1:{self.server_port}"


class Scripted(BaseHTTPRequestHandler):
    """Answers each request with the server's next answer."""

    server: ScriptedServer

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
    server = ScriptedServer()
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def api(server):
    with ApiClient(server.url, "a-token") as api:
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


def tokens(name):
    return answer(
        {"access_token": name, "refresh_token": f"refresh-{name}", "user": {"id": "usr_1"}}
    )


RUNNING = {"id": "job_1", "status": "in_progress", "cursor": 2}
ENDED = {"id": "job_1", "status": "completed", "cursor": 3}
END = (3, "job.completed", {"status": "completed"})


def test_events_continue_after_the_last_one_when_a_stream_breaks(server, api):
    server.answers = [
        frames((1, "job.queued", {}), (2, "job.started", {})),
        problem(503, "coordinator_unavailable"),
        frames(END),
    ]

    events = list(api.follow("job_1"))

    assert [event["sequence"] for event in events] == [1, 2, 3]
    resumed = [headers["Last-Event-ID"] for _, path, headers in server.seen if "events" in path]
    assert resumed == ["0", "2", "2"]


def test_events_end_with_the_job_when_no_event_can_follow(server, api):
    server.answers = [frames((4, "job.snapshot", RUNNING)), (204, "text/plain", b""), answer(ENDED)]

    events = list(api.follow("job_1"))

    assert [event["data"] for event in events] == [RUNNING, ENDED]


def test_silent_stream_is_opened_again_when_the_job_has_ended(server, api):
    silent = (200, "text/event-stream", b": alive\n\n: alive\n\n")
    server.answers = [silent, answer(ENDED), frames(END)]

    assert [event["sequence"] for event in api.follow("job_1")] == [3]


def test_refused_stream_is_not_requested_again(server, api):
    server.answers = [problem(404, "job_not_found")]

    with pytest.raises(ClientError, match="It is so"):
        list(api.follow("job_1"))

    assert len(server.seen) == 1


def test_submit_sends_the_given_token(server, api):
    server.answers = [answer({"id": "job_1"}, 202)]

    response = api.submit("Why?", path="quick", headers={"Idempotency-Key": "one"})

    method, path, headers = server.seen[0]
    assert (method, path) == ("POST", "/api/ai/v4/chat/quick")
    assert headers["Authorization"] == "Bearer a-token"
    assert headers["Idempotency-Key"] == "one"
    assert checked(response) == {"id": "job_1"}


def test_expired_token_is_refreshed_once(server):
    expired = problem(401, "unauthenticated")
    server.answers = [tokens("old"), expired, tokens("new"), answer(ENDED), answer(ENDED)]

    with ApiClient(server.url) as api:
        api.demo_login()
        assert [api.job("job_1"), api.job("job_1")] == [ENDED, ENDED]

    paths = [path.rpartition("/")[2] for _, path, _ in server.seen]
    assert paths == ["demo-login", "job_1", "refresh", "job_1", "job_1"]
    sent = [headers.get("Authorization") for _, _, headers in server.seen]
    assert sent[1] == "Bearer old"
    assert sent[3:] == ["Bearer new", "Bearer new"]


def test_refusal_is_raised_when_the_refresh_is_refused_too(server):
    expired = problem(401, "unauthenticated")
    server.answers = [tokens("old"), expired, expired, expired]

    with ApiClient(server.url) as api:
        api.login("ada@example.org", "correct horse")
        with pytest.raises(ClientError, match="unauthenticated"):
            api.job("job_1")


def test_id_is_the_tokens_users_when_there_was_no_login(server, api):
    server.answers = [answer({"id": "usr_2"})]

    assert (api.id, api.id) == ("usr_2", "usr_2")
    assert [path for _, path, _ in server.seen] == ["/api/auth/me"]


def test_find_returns_none_when_there_is_no_such_job(server, api):
    server.answers = [problem(404, "job_not_found"), problem(500, "internal")]

    assert api.find("job_1") is None
    with pytest.raises(ClientError):
        api.find("job_1")


@pytest.mark.parametrize(
    ("given", "message", "status"),
    [
        (problem(422, "x", field="agents"), "It is so. (x: agents)", 422),
        (problem(401, "unauthenticated"), "It is so. (unauthenticated)", 401),
        ((502, "text/html", b"<html>"), "answered 502: it is no API of Aether", 502),
        ((200, "text/html", b"<html>"), "is not Aether", None),
        (answer([], 400), "answered 400", 400),
    ],
)
def test_refusal_is_one_sentence(server, api, given, message, status):
    server.answers = [given]

    with pytest.raises(ClientError) as failure:
        api.job("job_1")

    assert message in str(failure.value)
    assert "\n" not in str(failure.value)
    assert failure.value.status == status


def test_absent_server_is_named():
    with pytest.raises(ClientError, match="Nothing answers at "):
        ApiClient("http://127.0.0.1:1").demo_login()


def test_heartbeats_are_none_and_a_frame_that_was_cut_off_is_left_out():
    whole = ["id: 1", "event: a", 'data: {"sequence": 1, "type": "a"}', ""]

    events = list(read_events([": alive", *whole, ": bye", *whole[:3]]))

    assert events == [None, {"sequence": 1, "type": "a"}, None]


def test_frame_that_contradicts_its_event_is_refused():
    lines = ["id: 2", "event: a", 'data: {"sequence": 1, "type": "a"}', ""]

    with pytest.raises(ValueError, match="frame 2 holds event 1"):
        list(read_events(lines))


def test_a_position_in_line_needs_no_number():
    frame = ["event: job.position", 'data: {"type":"job.position","data":{"position":3}}', ""]

    assert [event["data"]["position"] for event in read_events(frame)] == [3]
    with pytest.raises(ValueError, match="holds event None"):
        list(read_events(["id: 4", *frame]))
