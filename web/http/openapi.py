"""The OpenAPI document, made from the routes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info

from web.http.errors import MEDIA_TYPE

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

INFO: Final = Info(
    title="Aether",
    version="1.0.0",
    description="Submit chat jobs, follow them, and get their answers.",
)
SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
}
#: The `security` of a route that anyone may call; all others need a token.
PUBLIC: Final[list[dict[str, list[str]]]] = [{}]
_PROBLEM: Final = {"$ref": "#/components/responses/Problem"}


def register_document(app: OpenAPI) -> None:
    """Serve the document, and nothing that loads a viewer from elsewhere."""
    blueprint = APIBlueprint("openapi", __name__, doc_ui=False)

    @blueprint.get("/openapi.json")
    def document() -> dict[str, Any]:
        return app.api_doc

    app.register_api(blueprint)
    _complete(app.api_doc)


def _complete(document: dict[str, Any]) -> None:
    """Say once for all routes that they need a token and how they refuse."""
    document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    document["components"]["responses"] = {
        "Problem": {
            "description": "Why the request was refused.",
            "content": {
                MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemModel"}},
            },
        }
    }
    for operations in document["paths"].values():
        for operation in operations.values():
            operation["responses"]["400"] = operation["responses"]["default"] = _PROBLEM
