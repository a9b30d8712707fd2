"""The OpenAPI document: made from the routes, completed with every response that they give."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import TYPE_CHECKING, Any, Final

from flask_openapi3.blueprint import APIBlueprint
from flask_openapi3.models.info import Info
from flask_openapi3.models.tag import Tag
from pydantic import BaseModel

from core.account_errors import MissingScope, SessionRequired
from core.errors import (
    AetherError,
    CoordinatorUnavailable,
    InvalidRequest,
    PayloadTooLarge,
    StoreUnavailable,
    Unauthenticated,
    UnsupportedMediaType,
)
from web.http.errors import MEDIA_TYPE
from web.http.schemas import Headers

if TYPE_CHECKING:
    from flask_openapi3.openapi import OpenAPI

INFO: Final = Info(
    title="Aether",
    version="1.0.0",
    description=(
        "Submit chat jobs, follow them, and get their answers. Routes need an access token in the"
        " header `Authorization: Bearer …` unless they say otherwise. Every response carries"
        " `X-Request-ID`; a request may bring its own (8 to 64 letters, digits, `.`, `_` or `-`)."
    ),
)
SECURITY_SCHEMES: Final[dict[str, Any]] = {
    "token": {
        "type": "http",
        "scheme": "bearer",
        "description": "An access token, or where the route allows it an API key (`ak-…`).",
    }
}
#: The `security` of a route that anyone may call; all others need a token.
PUBLIC: Final[list[dict[str, list[str]]]] = [{}]
#: The header that comes with every error of a status.
_ERROR_HEADERS: Final = {
    401: ("WWW-Authenticate", "The scheme, `Bearer`."),
    429: ("Retry-After", "Seconds until another try can succeed."),
    503: ("Retry-After", "Seconds until another try can succeed."),
}
#: Under these an operation keeps what `returns` was told until the document is completed.
_SUCCESSES, _ERRORS, _ACCEPTS = "x-successes", "x-errors", "x-accepts"


def routes(
    name: str,
    import_name: str,
    text: str,
    *,
    prefix: str | None = None,
    security: list[dict[str, list[str]]] | None = None,
) -> APIBlueprint:
    """Return a blueprint whose operations are documented under one tag and by their functions."""
    return APIBlueprint(
        name,
        import_name,
        url_prefix=prefix,
        abp_tags=[Tag(name=name, description=text)],
        abp_security=security,
        operation_id_callback=_operation_id,
    )


def _operation_id(*, name: str, path: str, method: str) -> str:
    return name


def returns(
    statuses: Mapping[int, tuple[type[BaseModel] | None, str]],
    *errors: type[AetherError],
    accepts: type[Headers] | None = None,
    headers: Mapping[str, str] | None = None,
    media_type: str = "application/json",
    text_type: str | None = None,
) -> dict[str, Any]:
    """Return the options of a route that document which headers it reads and what it returns.

    What a route can refuse because it takes a body, parameters or a token is added by itself.

    Args:
        statuses: the schema and the meaning of each status of success; None for no body.
        errors: what else the route raises.
        accepts: the headers that the route reads by `read_headers`.
        headers: the meaning of each header that comes with a success.
        text_type: the media type of the text that a success may be instead.
    """
    return {
        "responses": {status: model for status, (model, _) in statuses.items()},
        "openapi_extensions": {
            _SUCCESSES: {
                str(status): {"description": meaning}
                | _content(media_type, _reference(model.__name__) if model else None, text_type)
                | _headers((headers or {}).items())
                for status, (model, meaning) in statuses.items()
            },
            _ERRORS: [_to_row(kind) for kind in errors],
            _ACCEPTS: list(_parameters(accepts)) if accepts else [],
        },
    }


def register_document(
    app: OpenAPI, bounds: Mapping[str, Mapping[str, int]], scopes: Mapping[str, str]
) -> None:
    """Serve the document at `/openapi.json`.

    Args:
        bounds: what settings say of fields of requests, by the field's name.
        scopes: what an API key needs, by the routes that take one.
    """
    blueprint = APIBlueprint("openapi", __name__, doc_ui=False)

    @blueprint.get("/openapi.json")
    def document() -> dict[str, Any]:
        return app.api_doc

    app.register_api(blueprint)
    _complete(app.api_doc, bounds, scopes)


def _complete(
    document: dict[str, Any],
    bounds: Mapping[str, Mapping[str, int]],
    scopes: Mapping[str, str],
) -> None:
    document["security"] = [{name: []} for name in SECURITY_SCHEMES]
    for schema in document["components"]["schemas"].values():
        _complete_fields(schema, bounds)
    for operations in document["paths"].values():
        for operation in operations.values():
            _complete_operation(operation, scopes)


def _complete_fields(schema: dict[str, Any], bounds: Mapping[str, Mapping[str, int]]) -> None:
    is_request = schema.get("additionalProperties") is False
    for name, field in schema.get("properties", {}).items():
        # Pydantic's titles repeat the names.
        field.pop("title", None)
        if is_request and name in bounds:
            _unless_null(field).update(bounds[name])


def _complete_operation(operation: dict[str, Any], scopes: Mapping[str, str]) -> None:
    successes, errors, accepts = (operation.pop(key) for key in (_SUCCESSES, _ERRORS, _ACCEPTS))
    if accepts:
        operation["parameters"] = [*operation.get("parameters", ()), *accepts]
    rows = [tuple(row) for row in errors] + [
        _to_row(kind) for kind in _usual_errors(operation, scopes)
    ]
    operation["responses"] = successes | _problems(rows)
    for parameter in operation.get("parameters", ()):
        # It is absent or has a value; null is only how the code says absent.
        parameter["schema"] = _unless_null(parameter["schema"])
        for repeated in ("title", "description"):
            parameter["schema"].pop(repeated, None)
    if "description" in operation:
        operation["description"] = operation["description"].replace("<br/>", "\n").strip()


def _unless_null(field: dict[str, Any]) -> dict[str, Any]:
    """Return a schema without the choice of null."""
    branches: list[dict[str, Any]] = field.get("anyOf", [field])
    return branches[0]


def _usual_errors(
    operation: Mapping[str, Any], scopes: Mapping[str, str]
) -> Iterable[type[AetherError]]:
    if "requestBody" in operation:
        yield from (InvalidRequest, PayloadTooLarge, UnsupportedMediaType)
    elif any(parameter["in"] != "path" for parameter in operation.get("parameters", ())):
        yield InvalidRequest
    if operation.get("security") != PUBLIC:
        yield from (Unauthenticated, StoreUnavailable, CoordinatorUnavailable)
        takes_keys = f"{operation['tags'][0]}.{operation['operationId']}" in scopes
        yield MissingScope if takes_keys else SessionRequired
    yield AetherError


def _to_row(kind: type[AetherError]) -> tuple[int, str, str]:
    return kind.status, kind.code, (kind.__doc__ or "").strip().splitlines()[0]


def _parameters(model: type[Headers]) -> Iterator[dict[str, Any]]:
    for name, schema in model.model_json_schema()["properties"].items():
        text = {"description": schema["description"]}
        yield {"name": name, "in": "header", "required": False, **text, "schema": dict(schema)}


def _problems(rows: Iterable[tuple[int, str, str]]) -> dict[str, Any]:
    """Return the response of each status, with its codes and what they mean."""
    problems = {}
    for status, group in groupby(sorted(set(rows)), key=lambda row: row[0]):
        meanings = {code: meaning for _, code, meaning in group}
        narrowed = {"properties": {"status": {"const": status}, "code": {"enum": [*meanings]}}}
        problems[str(status)] = {
            "description": "\n".join(f"`{code}`: {text}" for code, text in meanings.items()),
            "x-codes": meanings,
            **_content(MEDIA_TYPE, {"allOf": [_reference("Problem"), narrowed]}),
            **_headers([_ERROR_HEADERS[status]] if status in _ERROR_HEADERS else []),
        }
    return problems


def _content(
    media_type: str, schema: dict[str, Any] | None, text_type: str | None = None
) -> dict[str, Any]:
    found = {} if schema is None else {media_type: {"schema": schema}}
    text = {text_type: {"schema": {"type": "string"}}} if text_type else {}
    return {"content": found | text} if found or text else {}


def _headers(headers: Iterable[tuple[str, str]]) -> dict[str, Any]:
    described = {
        name: {"description": meaning, "schema": {"type": "string"}} for name, meaning in headers
    }
    return {"headers": described} if described else {}


def _reference(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}
