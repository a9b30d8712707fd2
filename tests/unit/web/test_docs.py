"""`/docs` shows the whole document, and nothing on it runs or comes from elsewhere."""

from __future__ import annotations

import re

import pytest

from core.events import EVENT_TYPES
from web.docs.page import with_code
from web.docs.types import bounds_of, type_of


@pytest.fixture
def page(client):
    return client.get("/docs").get_data(as_text=True)


def test_page_shows_every_route_event_and_error_of_the_document(app, page):
    for path, methods in app.api_doc["paths"].items():
        for method, operation in methods.items():
            assert f'<article id="{operation["operationId"]}">' in page
            heading = f'<span class="method">{method.upper()}</span> <code>{path}</code>'
            assert heading in page
            for response in operation["responses"].values():
                assert all(f"<code>{code}</code>" in page for code in response.get("x-codes", ()))
    assert all(f'<tr id="{type_}">' in page for type_ in EVENT_TYPES)


def test_page_shows_fields_with_their_bounds(page, settings):
    row = page[page.index("<code>message</code>") :]

    assert row.index("required") < row.index(f"1 to {settings.max_message_chars} characters")


def test_every_link_within_the_page_leads_somewhere(page):
    ids = re.findall(r' id="([^"]+)"', page)

    assert set(re.findall(r'href="#([^"]+)"', page)) <= set(ids)
    assert len(ids) == len(set(ids))


def test_nothing_runs_and_nothing_comes_from_elsewhere(client, page):
    policy = client.get("/docs").headers["Content-Security-Policy"]

    assert policy.startswith("default-src 'none'; style-src 'self';")
    assert "<script" not in page
    assert not re.search(r'\s(style|on\w+)="', page)
    assert set(re.findall(r'(?:src|href)="(/[^"]*|https?:[^"]*)"', page)) == {
        "/docs/style.css",
        "/openapi.json",
    }


def test_stylesheet_is_sent_once_when_the_browser_has_it(client):
    first = client.get("/docs/style.css")

    again = client.get("/docs/style.css", headers={"If-None-Match": first.headers["ETag"]})

    assert (first.status_code, first.mimetype) == (200, "text/css")
    assert again.status_code == 304


def test_text_is_escaped_when_it_has_markup():
    assert with_code("a < b, `<i>`") == "a &lt; b, <code>&lt;i&gt;</code>"


@pytest.mark.parametrize(
    ("schema", "type_", "bounds"),
    [
        ({"type": "integer", "minimum": 1, "maximum": 4096.0}, "integer", "1 to 4,096"),
        ({"type": "integer", "default": 20}, "integer", "default 20"),
        ({"type": "number", "exclusiveMinimum": 0}, "number", "more than 0"),
        (
            {"anyOf": [{"type": "string", "maxLength": 9}, {"type": "null"}]},
            "string or null",
            "at most 9 characters",
        ),
        (
            {"type": "array", "items": {"$ref": "#/components/schemas/Job"}, "minItems": 2},
            "list of Job",
            "at least 2 entries",
        ),
        ({"enum": ["a", "b"], "default": "a"}, '"a" or "b"', 'default "a"'),
        ({"type": "object", "additionalProperties": {"const": "ok"}}, 'object of "ok"', ""),
        ({"type": "string", "format": "date-time"}, "date and time", ""),
    ],
)
def test_type_and_bounds_are_written_as_people_read_them(schema, type_, bounds):
    assert "".join(part.text for part in type_of(schema)) == type_
    assert ", ".join(bounds_of(schema)) == bounds
