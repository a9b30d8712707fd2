"""One shape for every error."""

from __future__ import annotations

import pytest
from structlog.testing import capture_logs

from core import errors
from core.errors import AetherError


def all_errors(base=AetherError):
    return [base, *(error for child in base.__subclasses__() for error in all_errors(child))]


def make(kind):
    return kind("completed") if kind is errors.JobAlreadyFinished else kind()


@pytest.mark.parametrize("kind", all_errors(), ids=lambda kind: kind.__name__)
def test_error_becomes_a_problem_when_it_leaves_a_view(app, kind):
    error = make(kind)
    app.add_url_rule("/raise", view_func=lambda: (_ for _ in ()).throw(error))

    response = app.test_client().get("/raise", headers={"X-Request-ID": "request-1"})

    assert response.status_code == kind.status
    assert response.content_type == "application/problem+json"
    assert {"type", "title", "status", "detail", "code", "request_id"} == set(response.json)
    assert response.json["code"] == kind.code
    assert response.json["status"] == kind.status
    assert response.json["request_id"] == "request-1"
    assert ("Retry-After" in response.headers) == (kind.status in (429, 503))
    assert ("WWW-Authenticate" in response.headers) == (kind.status == 401)


def test_field_is_named_when_one_is_wrong(app):
    def refuse():
        raise errors.InvalidRequest("`metadata.a` must be even.", field="metadata.a")

    app.add_url_rule("/raise", view_func=refuse)

    problem = app.test_client().get("/raise").json

    assert problem["field"] == "metadata.a"
    assert problem["detail"] == "`metadata.a` must be even."


def test_nothing_of_an_unexpected_error_is_told_when_one_happens(app):
    def fail():
        raise KeyError("canary")

    app.add_url_rule("/raise", view_func=fail)

    with capture_logs() as lines:
        response = app.test_client().get("/raise")

    assert response.status_code == 500
    assert response.json["code"] == "internal_error"
    assert b"canary" not in response.data
    assert isinstance(lines[0]["exc_info"], KeyError)


def test_missing_path_is_not_found_when_no_route_has_it(client):
    response = client.get("/missing")

    assert (response.status_code, response.json["code"]) == (404, "not_found")


def test_allowed_methods_are_told_when_another_is_used(client):
    response = client.delete("/healthz")

    assert (response.status_code, response.json["code"]) == (405, "method_not_allowed")
    assert set(response.allow) == {"GET", "HEAD", "OPTIONS"}
