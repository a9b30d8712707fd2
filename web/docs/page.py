"""`/docs`: the OpenAPI document as one page, rendered here and readable without scripts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from flask import Response, render_template, request
from flask_openapi3.blueprint import APIBlueprint
from markupsafe import Markup, escape

from web.docs.types import bounds_of, name_of, type_of

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

_POLICY: Final = "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'"
_HEADERS: Final = {
    "Content-Security-Policy": f"{_POLICY}; frame-ancestors 'none'",
    "Cache-Control": "no-cache",
}


def register_page(app: OpenAPI) -> None:
    """Serve the page and its stylesheet; the page is rendered once, at its first request."""
    css = Path(__file__).with_name("style.css").read_bytes()
    blueprint = APIBlueprint("docs", __name__, doc_ui=False, template_folder="templates")

    @cache
    def html() -> str:
        return render_template("docs.html", **_to_context(app.api_doc))

    @blueprint.get("/docs")
    def page() -> Response:
        return Response(html(), headers=_HEADERS)

    @blueprint.get("/docs/style.css")
    def style() -> Response:
        response = Response(css, mimetype="text/css", headers={"Cache-Control": "no-cache"})
        response.add_etag()
        response.make_conditional(request)
        return response

    app.register_api(blueprint)


def _to_context(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the template shows and the functions that it calls."""
    schemas = document["components"]["schemas"]
    events = [schemas[name_of(branch)] for branch in schemas["Event"]["oneOf"]]
    datas = {name_of(event["properties"]["data"]) for event in events} - {"Job"}
    shown_as_events = datas | {event["title"] for event in events}
    return {
        "document": document,
        "groups": [(tag, list(_operations(document, tag["name"]))) for tag in document["tags"]],
        "events": events,
        "errors": sorted(set(_error_rows(document))),
        "schemas": schemas,
        "shapes": {name: schemas[name] for name in sorted(schemas.keys() - shown_as_events)},
        "bounds_of": bounds_of,
        "name_of": name_of,
        "type_of": type_of,
        "code": with_code,
    }


def _operations(document: Mapping[str, Any], tag: str) -> Iterator[tuple[str, str, Any]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                yield method.upper(), path, operation


def _error_rows(document: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    for methods in document["paths"].values():
        for operation in methods.values():
            for status, response in operation["responses"].items():
                for code, meaning in response.get("x-codes", {}).items():
                    yield status, code, meaning


def with_code(text: str) -> Markup:
    """Return the text as HTML, with what stands in backticks as code."""
    pieces = text.split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(piece) if number % 2 else escape(piece)
        for number, piece in enumerate(pieces)
    )
