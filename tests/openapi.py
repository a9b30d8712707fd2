"""Compares responses with the published OpenAPI document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from flask.testing import FlaskClient
from flask_openapi3.openapi import OpenAPI

Json = Any
_TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z")
_UNDERSTOOD = {
    *("$ref", "allOf", "anyOf", "oneOf", "type", "const", "enum", "format"),
    *("properties", "required", "additionalProperties", "items"),
    *("title", "description", "default", "discriminator"),
}


def faults(
    value: Json, schema: Json, document: Json, at: str = "$", *, strict: bool = True
) -> Iterator[str]:
    """Yield where the value differs from the schema.

    Args:
        strict: a key that the schema does not name is a fault.
    """
    assert schema.keys() <= _UNDERSTOOD, f"{at}: {schema.keys() - _UNDERSTOOD} is not checked"
    yield from _faults_of_parts(value, schema, document, at, strict)
    if wrong := _wrong_scalar(value, schema):
        yield f"{at}: {value!r} is not {wrong}"
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from faults(item, schema.get("items", {}), document, f"{at}[{number}]")
    elif isinstance(value, dict) and schema.keys() & {"properties", "additionalProperties"}:
        yield from _faults_of_object(value, schema, document, at, strict)


def _faults_of_parts(
    value: Json, schema: Json, document: Json, at: str, strict: bool
) -> Iterator[str]:
    if "$ref" in schema:
        target = document["components"]["schemas"][schema["$ref"].rpartition("/")[2]]
        yield from faults(value, target, document, at, strict=strict)
    for number, part in enumerate(schema.get("allOf", ())):
        # The parts behind the first one only narrow it.
        yield from faults(value, part, document, at, strict=strict and number == 0)
    if "discriminator" in schema:
        kind = schema["discriminator"]
        target = kind["mapping"][value[kind["propertyName"]]]
        yield from faults(value, {"$ref": target}, document, at, strict=strict)
    elif branches := schema.get("anyOf") or schema.get("oneOf"):
        found = [list(faults(value, part, document, at, strict=strict)) for part in branches]
        yield from min(found, key=len)


def _wrong_scalar(value: Json, schema: Json) -> str | None:
    """Return what the value should be and is not."""
    if kind := schema.get("type"):
        is_wrong_bool = isinstance(value, bool) and kind != "boolean"
        if is_wrong_bool or not isinstance(value, _TYPES[kind]):
            return str(kind)
    if "const" in schema and value != schema["const"]:
        return repr(schema["const"])
    if "enum" in schema and value not in schema["enum"]:
        return f"one of {schema['enum']}"
    if schema.get("format") == "date-time" and not _TIME.fullmatch(value):
        return "a time"
    return None


def _faults_of_object(
    value: Json, schema: Json, document: Json, at: str, strict: bool
) -> Iterator[str]:
    for name in schema.get("required", ()):
        if name not in value:
            yield f"{at}: {name} is missing"
    named, other = schema.get("properties", {}), schema.get("additionalProperties")
    for name, part in value.items():
        if name in named or isinstance(other, dict):
            yield from faults(part, named.get(name, other), document, f"{at}.{name}")
        elif strict and other is not True:
            yield f"{at}: {name} is not in the schema"


def check_response(
    document: Json, method: str, path: str, status: int, headers: Mapping[str, str], body: bytes
) -> None:
    """Fail unless the document has this response; an address that it does not have is left out."""
    operation = next(_operations(document, method, path), None)
    if operation is None:
        return
    assert str(status) in operation["responses"], f"{method} {path} answers {status}: {body!r}"
    described = operation["responses"][str(status)]
    assert status < 400 or all(name in headers for name in described.get("headers", {}))
    if "content" not in described:
        assert body == b""
        return
    media_type = headers["Content-Type"].partition(";")[0]
    schema = described["content"][media_type]["schema"]
    values = _values(media_type, body)
    found = [fault for value in values for fault in faults(value, schema, document)]
    assert not found, f"{method} {path} answers {status}: {found}"


def _values(media_type: str, body: bytes) -> list[Json]:
    if media_type == "text/event-stream":
        return data_of_frames(body)
    if not media_type.endswith("json"):
        return [body.decode()]
    return [json.loads(text) for text in (body.splitlines() if "ndjson" in media_type else [body])]


def _operations(document: Json, method: str, path: str) -> Iterator[Json]:
    for template, operations in document["paths"].items():
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path):
            yield from [operations[method.lower()]] if method.lower() in operations else []


def data_of_frames(body: bytes) -> list[Json]:
    """Return the JSON of each server-sent event."""
    lines = body.decode().splitlines()
    return [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]


class CheckedClient(FlaskClient):
    """A test client that compares each response with the published document."""

    def open(self, *args: Any, **kwargs: Any) -> Any:
        response = super().open(*args, **kwargs)
        assert isinstance(self.application, OpenAPI)
        check_response(
            self.application.api_doc,
            response.request.method,
            response.request.path,
            response.status_code,
            response.headers,
            response.get_data(),
        )
        return response
