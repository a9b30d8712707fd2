"""The page behind a link for a new password, while the database is away."""

from __future__ import annotations

import pytest


@pytest.mark.parametrize("method", ["get", "post"])
def test_page_says_to_try_again_when_the_database_is_away(client, method):
    fields = {"token": "x" * 43, "new_password": "battery staple"}
    sent = {"query_string": fields} if method == "get" else {"data": fields}

    page = getattr(client, method)("/reset-password", **sent)

    assert (page.status_code, page.mimetype) == (503, "text/html")
    assert "The database does not answer; try again." in page.text
    assert page.headers["Retry-After"] == "5"
    assert page.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("token", ["", "x" * 129])
def test_page_refuses_what_can_be_no_token_without_asking_the_database(client, token):
    page = client.get("/reset-password", query_string={"token": token})

    assert page.status_code == 400
    assert "This link does not work" in page.text
