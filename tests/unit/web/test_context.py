"""What every answer carries, and what a body has to be."""

from __future__ import annotations

import io

import pytest
from structlog.testing import capture_logs

from web.http.context import is_deeper

LOGIN = "/api/auth/login"


def test_request_id_is_echoed_when_the_client_sends_a_fitting_one(client):
    response = client.get("/healthz", headers={"X-Request-ID": "client.id_0-1"})

    assert response.headers["X-Request-ID"] == "client.id_0-1"


@pytest.mark.parametrize(
    "given", ["short", "x" * 65, 'quo"te-12345', "späßchen-1234", "a b c d e f"]
)
def test_request_id_is_replaced_when_the_client_sends_an_odd_one(client, given):
    response = client.get("/healthz", headers={"X-Request-ID": given})

    assert response.headers["X-Request-ID"] != given
    assert len(response.headers["X-Request-ID"]) == 32


@pytest.mark.parametrize("path", ["/healthz", "/missing", "/openapi.json", "/api/auth/me"])
def test_security_headers_are_set_when_anything_is_answered(client, path):
    response = client.get(path)

    assert {
        name: response.headers.getlist(name)
        for name in (
            "Content-Security-Policy",
            "X-Content-Type-Options",
            "Referrer-Policy",
            "Cache-Control",
        )
    } == {
        "Content-Security-Policy": ["default-src 'none'; frame-ancestors 'none'"],
        "X-Content-Type-Options": ["nosniff"],
        "Referrer-Policy": ["no-referrer"],
        "Cache-Control": ["no-store"],
    }


def test_one_line_is_logged_when_a_request_ends(client):
    with capture_logs() as lines:
        client.get("/healthz?token=canary")

    (line,) = lines
    assert line.pop("duration_ms") >= 0
    assert line == {
        "event": "request",
        "log_level": "info",
        "method": "GET",
        "route": "/healthz",
        "status": 200,
    }


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"\xff",
        b'{"email": NaN}',
        b'{"email": "\\ud800"}',
        b"[" * 1_500,
        b"[]",
        b"null",
        b'"text"',
        b'"{\\"email\\": \\"a@b.io\\", \\"password\\": \\"x\\"}"',
    ],
)
def test_body_is_refused_when_it_is_no_json_object(client, body):
    response = client.post(LOGIN, data=body, content_type="application/json")

    assert response.status_code == 400
    assert response.json["code"] == "invalid_request"


def test_body_is_required_when_a_route_has_one(client):
    response = client.post(LOGIN)

    assert response.status_code == 400
    assert response.json["detail"] == "A JSON body is required."


def test_body_is_refused_when_it_is_not_sent_as_json(client):
    response = client.post(LOGIN, data={"email": "a@b.io", "password": "x"})

    assert response.status_code == 415
    assert response.json["code"] == "unsupported_media_type"


def test_body_is_refused_unread_when_it_is_too_large(client, settings):
    response = client.post(
        LOGIN, data=b"{" * (settings.max_body_bytes + 1), content_type="application/json"
    )

    assert response.status_code == 413
    assert response.json["code"] == "payload_too_large"


@pytest.mark.parametrize("excess", [1, 2_048, 500_000])
def test_chunked_body_is_refused_when_it_goes_on_beyond_the_limit(client, excess):
    body = b'{"email":"a@b.example","password":"x"}'.ljust(2_048) + b"x" * excess

    response = client.post(
        LOGIN,
        input_stream=io.BytesIO(body),
        environ_overrides={"wsgi.input_terminated": True},
        headers={"Transfer-Encoding": "chunked", "Content-Type": "application/json"},
    )

    assert response.status_code == 413
    assert response.json["code"] == "payload_too_large"


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip", "GZIP"])
def test_body_is_refused_when_it_is_compressed(client, encoding):
    response = client.post(
        LOGIN,
        data=b"\x1f\x8b\x08\x00",
        content_type="application/json",
        headers={"Content-Encoding": encoding},
    )

    assert response.status_code == 415
    assert response.json["detail"] == "The body must not be compressed."


@pytest.mark.parametrize(
    ("open_", "close"),
    [("[", "]"), ('{"a":', "}"), ('[0,"[",{"a":', "}]"), ('{"b":"}","a":[', "]}")],
)
def test_body_is_refused_when_it_is_nested_too_deeply(client, open_, close):
    levels = 16 // (open_ + close).count("}") if "[" not in open_ else 16
    body = '{"email":' + open_ * levels + "1" + close * levels + "}"

    response = client.post(LOGIN, data=body, content_type="application/json")

    assert response.status_code == 400
    assert response.json["detail"] == "The body is nested more than 16 levels deep."


def test_depth_is_counted_with_the_body_itself():
    def nest(levels):
        value: object = 1
        for _ in range(levels):
            value = {"a": [value]} if levels % 2 == 0 else [value]
        return value

    assert not is_deeper([[]], 2)
    assert is_deeper([[]], 1)
    assert is_deeper(nest(9), 8)
    assert not is_deeper(nest(9), 9)


def test_brackets_in_text_are_no_levels(client):
    body = {"email": "[" * 200, "password": "{" * 30}

    response = client.post(LOGIN, json=body)

    assert "nested" not in response.json["detail"]


@pytest.mark.parametrize("path", ["/api/ai/v4/jobs", "/api/auth/me", "/healthz"])
def test_options_is_answered_without_a_token(client, path):
    response = client.options(path)

    assert response.status_code == 200
    assert "GET" in response.headers["Allow"]
