"""The application as a whole: what it needs, what it says about itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from core.loops import Loop
from core.settings import Settings
from web.app import create_app
from web.services import EXTENSION

#: What describes the API is no part of it.
DOCUMENTS = {"/openapi.json", "/docs", "/docs/style.css"}
#: Nor are the pages for people.
PAGES = {"/reset-password", "/reset-password/style.css"}
PUBLIC = {
    "/healthz",
    "/readyz",
    "/api/auth/register",
    "/api/auth/login",
    "/api/auth/demo-login",
    "/api/auth/refresh",
    "/api/auth/reset-password",
}


def test_application_refuses_to_start_when_there_is_no_secret_to_sign_with():
    settings = Settings(jwt_secret="")

    with pytest.raises(ValueError, match="AETHER_JWT_SECRET"):
        create_app(settings)


def test_document_has_every_route(app, client):
    document = client.get("/openapi.json").json

    routes = {
        (rule.rule.replace("<string:", "{").replace(">", "}"), method.lower())
        for rule in app.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
    }
    described = {
        (path, method) for path, methods in document["paths"].items() for method in methods
    }
    assert document["openapi"].startswith("3.1")
    assert described == {(path, method) for path, method in routes if path not in DOCUMENTS | PAGES}


def test_document_asks_for_a_token_when_a_route_is_not_public(client):
    document = client.get("/openapi.json").json

    public = {
        path
        for path, methods in document["paths"].items()
        for operation in methods.values()
        if operation.get("security") == [{}]
    }
    assert document["security"] == [{"token": []}]
    assert document["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
    assert public == PUBLIC


def test_every_reference_leads_somewhere_when_the_document_is_read(client):
    document = client.get("/openapi.json").json
    unseen, references = [document], set()
    while unseen:
        part = unseen.pop()
        if isinstance(part, dict):
            references |= {part["$ref"]} if isinstance(part.get("$ref"), str) else set()
            unseen += part.values()
        elif isinstance(part, list):
            unseen += part

    for reference in references:
        target = document
        for name in reference.removeprefix("#/").split("/"):
            target = target[name]


def test_document_describes_every_status_of_every_route(client):
    document = client.get("/openapi.json").json

    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            statuses = set(operation["responses"])
            assert min(statuses) in {"200", "201", "202", "204"}, (method, path)
            assert "500" in statuses
            assert ("401" in statuses) or path in PUBLIC
            assert ("415" in statuses) == ("requestBody" in operation)
            assert all(answer["description"] for answer in operation["responses"].values())


def test_document_has_the_bounds_that_settings_give(client, settings):
    fields = client.get("/openapi.json").json["components"]["schemas"]["ChatRequest"]["properties"]

    assert fields["message"]["maxLength"] == settings.max_message_chars
    assert fields["max_tokens"]["anyOf"][0]["maximum"] == settings.max_output_tokens


@pytest.mark.parametrize("path", ["/openapi/", "/openapi/swagger", "/openapi/openapi.json"])
def test_no_viewer_is_served_when_its_usual_path_is_tried(client, path):
    assert client.get(path).status_code == 404


def test_every_route_needs_a_token_when_it_is_not_public(app, client):
    answered = {}
    for rule in app.url_map.iter_rules():
        path = rule.rule.replace("<string:job_id>", "job_" + "0" * 32)
        for method in rule.methods - {"HEAD", "OPTIONS"}:
            body = {"message": "hello"} if "/chat/" in path else None
            answered[rule.rule, method] = client.open(path, method=method, json=body).status_code

    open_to_all = {path for (path, _), status in answered.items() if status != 401}
    assert open_to_all == PUBLIC | DOCUMENTS | PAGES


def test_process_is_alive_when_no_server_is(client):
    assert client.get("/healthz").status_code == 200


def test_process_is_not_ready_when_no_server_is(client):
    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json["detail"] == "These servers do not answer: redis, mongodb."
    assert response.headers["Retry-After"] == "5"


def test_process_is_not_ready_when_a_thread_of_its_own_does_not_turn(app, client):
    stuck = Loop("event-hub", lambda: None, stuck_after_s=-1)
    stuck.mark_turn()
    services = app.extensions[EXTENSION]
    app.extensions[EXTENSION] = replace(services, dependencies={}, loops=[stuck])

    response = client.get("/readyz")

    assert response.status_code == 503
    assert response.json["detail"] == "These threads do not turn: event-hub."


def test_login_is_unavailable_when_no_server_is(client):
    response = client.post("/api/auth/login", json={"email": "a@b.io", "password": "x"})

    assert (response.status_code, response.json["code"]) == (503, "coordinator_unavailable")
    assert b"127.0.0.1" not in response.data
