"""Which proxy a provider is reached by, and under which path it has its API."""

from __future__ import annotations

import httpx
import pytest

from agents.groq.route import ApiPath, proxy_for

PROXY = "http://proxy:3128"


@pytest.mark.parametrize(
    ("url", "environment", "proxy"),
    [
        ("https://api.groq.com", {}, None),
        ("https://api.groq.com", {"HTTPS_PROXY": PROXY}, PROXY),
        ("https://api.groq.com", {"https_proxy": PROXY}, PROXY),
        ("https://api.groq.com", {"ALL_PROXY": PROXY}, PROXY),
        ("https://api.groq.com", {"HTTP_PROXY": PROXY}, None),
        ("http://llm.local", {"HTTP_PROXY": PROXY}, PROXY),
        ("https://api.groq.com", {"HTTPS_PROXY": " "}, None),
        ("https://api.groq.com", {"HTTPS_PROXY": "proxy:3128"}, PROXY),
        ("http://127.0.0.1:8080", {"HTTP_PROXY": PROXY}, None),
        ("http://localhost", {"ALL_PROXY": PROXY}, None),
        ("http://[::1]:1", {"ALL_PROXY": PROXY}, None),
    ],
)
def test_a_proxy_is_taken_from_the_environment(url, environment, proxy):
    assert proxy_for(url, environment) == proxy


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"),
    [
        ("*", True),
        ("llm.corp.example", True),
        (".corp.example", True),
        ("corp.example", True),
        ("*.corp.example", True),
        ("other.example, LLM.corp.example", True),
        ("llm.corp.example:8443", True),
        ("llm.corp.example:443", False),
        ("orp.example", False),
        ("", False),
        (",", False),
        ("10.0.0.0/8", False),
    ],
)
def test_names_are_excepted_from_the_proxy(no_proxy, is_direct):
    found = proxy_for("https://llm.corp.example:8443", {"HTTPS_PROXY": PROXY, "NO_PROXY": no_proxy})

    assert (found is None) == is_direct


@pytest.mark.parametrize(
    ("no_proxy", "is_direct"),
    [("10.1.2.3", True), ("10.0.0.0/8", True), ("10.1.2.3:80", True), ("192.168.0.0/16", False)],
)
def test_addresses_and_networks_are_excepted_from_the_proxy(no_proxy, is_direct):
    found = proxy_for("http://10.1.2.3", {"http_proxy": PROXY, "no_proxy": no_proxy})

    assert (found is None) == is_direct


@pytest.mark.parametrize("proxy", ["socks5://host:1080", "socks5h://host", "file:///x", "http://"])
def test_a_proxy_of_another_kind_is_refused(proxy):
    with pytest.raises(ValueError, match="A proxy must be"):
        proxy_for("https://api.groq.com", {"ALL_PROXY": proxy})


class Server(httpx.BaseTransport):
    """Knows its API under one path."""

    def __init__(self, path, status=200):
        self.path, self.status, self.asked = path, status, []

    def handle_request(self, request):
        self.asked.append(request.url.path)
        known = request.url.path.startswith(f"{self.path}/chat")
        body = request.read()
        return httpx.Response(self.status if known else 404, content=body)


def ask(transport):
    with httpx.Client(transport=transport) as client:
        return client.post("http://host/openai/v1/chat/completions?x=1", content=b"body")


@pytest.mark.parametrize(("path", "calls"), [("/openai/v1", [1, 1]), ("/v1", [2, 1])])
def test_the_path_is_found_once_when_the_address_has_none(path, calls):
    server = Server(path)
    transport = ApiPath(server, "")

    made = []
    for _ in calls:
        before = len(server.asked)
        answer = ask(transport)
        made.append(len(server.asked) - before)
        assert (answer.status_code, answer.content) == (200, b"body")

    assert made == calls
    assert server.asked[-1] == f"{path}/chat/completions"


def test_the_path_of_the_address_is_taken_as_it_is():
    server = Server("/api/v1")

    assert ask(ApiPath(server, "/api/v1")).status_code == 200
    assert server.asked == ["/api/v1/chat/completions"]


def test_a_missing_model_is_no_missing_path():
    server = Server("/nowhere")
    transport = ApiPath(server, "")

    assert [ask(transport).status_code, ask(transport).status_code] == [404, 404]
    server.path = "/v1"
    assert ask(transport).status_code == 200


def test_an_error_says_nothing_of_the_path():
    server = Server("/openai/v1", status=503)
    transport = ApiPath(server, "")
    ask(transport)
    server.path, server.status = "/v1", 200

    assert ask(transport).status_code == 200
