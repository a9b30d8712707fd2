"""Pages of other origins: which may read answers, and what they are told beforehand."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from core.forms.origins import read_origins
from core.settings import Settings
from web.app import create_app
from web.services import EXTENSION

PAGE = "https://app.example.com"
JOBS = "/api/ai/v4/jobs"


@pytest.fixture
def cors_client(settings):
    allowed = settings.model_copy(update={"cors_origins": (PAGE, "http://localhost:3000")})
    app = create_app(allowed)
    yield app.test_client()
    app.extensions[EXTENSION].close()


def preflight(client, path, origin=PAGE, headers="authorization,content-type"):
    asked = {
        "Origin": origin,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": headers,
    }
    return client.options(path, headers=asked)


@pytest.mark.parametrize("path", [JOBS, "/api/ai/v4/chat/optimized", "/api/auth/me", "/healthz"])
def test_a_preflight_is_answered_without_a_token(cors_client, path):
    response = preflight(cors_client, path)

    assert response.status_code == 204
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert response.headers["Access-Control-Allow-Headers"] == "authorization,content-type"
    assert "DELETE" in response.headers["Access-Control-Allow-Methods"]
    assert "Origin" in response.vary
    assert "Access-Control-Request-Headers" in response.vary


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/healthz", 200),
        ("GET", JOBS, 401),
        ("GET", "/missing", 404),
        ("PUT", "/healthz", 405),
        ("POST", "/api/auth/login", 400),
    ],
)
def test_a_page_can_read_every_answer_and_its_headers(cors_client, method, path, status):
    response = cors_client.open(path, method=method, headers={"Origin": PAGE})

    assert response.status_code == status
    assert response.headers["Access-Control-Allow-Origin"] == PAGE
    assert "X-Request-ID" in response.headers["Access-Control-Expose-Headers"]
    assert "Access-Control-Allow-Credentials" not in response.headers


@pytest.mark.parametrize(
    "origin",
    [
        "https://evil.example",
        "null",
        "*",
        "http://app.example.com",
        "https://app.example.com:8443",
        "https://app.example.com.evil.example",
    ],
)
def test_another_page_is_allowed_nothing(cors_client, origin):
    answers = [
        preflight(cors_client, JOBS, origin),
        cors_client.get("/healthz", headers={"Origin": origin}),
    ]

    for response in answers:
        assert not [name for name in response.headers if name[0].startswith("Access-Control")]
        assert "origin" in response.vary


@pytest.mark.parametrize("headers", ["a" * 3_000, "x\r\ny", "a:b", "ü"])
def test_odd_header_names_are_not_echoed(cors_client, headers):
    given = {"Origin": PAGE, "Access-Control-Request-Method": "GET"}
    environ = {"HTTP_ACCESS_CONTROL_REQUEST_HEADERS": headers}

    response = cors_client.options(JOBS, headers=given, environ_overrides=environ)

    assert response.status_code == 204
    assert "Access-Control-Allow-Headers" not in response.headers


def test_no_page_is_allowed_anything_by_default(client):
    answers = [preflight(client, JOBS), client.get("/healthz", headers={"Origin": PAGE})]

    assert [response.status_code for response in answers] == [200, 200]
    for response in answers:
        assert not [name for name in response.headers if name[0].startswith("Access-Control")]


@pytest.mark.parametrize(
    ("given", "read"),
    [
        ("", ()),
        ("https://a.example", ("https://a.example",)),
        (
            " https://a.example/ , http://b.example:3000",
            ("https://a.example", "http://b.example:3000"),
        ),
        ("HTTPS://A.Example:443 https://a.example", ("https://a.example",)),
        ("http://[::1]:5173", ("http://[::1]:5173",)),
    ],
)
def test_origins_are_read_as_browsers_send_them(given, read):
    assert read_origins(given) == read


@pytest.mark.parametrize(
    "given",
    [
        "*",
        "null",
        "app.example.com",
        "https://*.example.com",
        "https://a.example/path",
        "https://a.example?x",
        "https://u:p@a.example",
        "ftp://a.example",
        "https://",
        "https://a.example:port",
        "https://ä.example",
    ],
)
def test_what_is_no_origin_is_refused_at_start(given, monkeypatch):
    monkeypatch.setenv("AETHER_CORS_ORIGINS", given)

    with pytest.raises(ValidationError, match="cors_origins"):
        Settings()
