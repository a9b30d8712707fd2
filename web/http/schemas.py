"""What the schemas of all requests and responses have in common.

A field's docstring is its description in the OpenAPI document.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, cast

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)
from pydantic_core import core_schema

from core.timing import unix_ms

if TYPE_CHECKING:
    from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler
    from pydantic.json_schema import JsonSchemaValue


@dataclass(frozen=True)
class Fits:
    """Refuse text that the pattern does not match as a whole, with `otherwise` as the reason."""

    pattern: str
    otherwise: str

    def __get_pydantic_core_schema__(
        self, source: Any, handler: GetCoreSchemaHandler
    ) -> core_schema.CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        return handler(schema) | {"pattern": f"^{self.pattern}$"}

    def _check(self, text: str) -> str:
        if not re.fullmatch(self.pattern, text):
            raise ValueError(self.otherwise)
        return text


class Documented(BaseModel):
    """A model whose JSON schema describes each field with the docstring below it."""

    model_config = ConfigDict(frozen=True)

    @classmethod
    @cache
    def model_json_schema(  # type: ignore[override]
        cls, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the schema; flask-openapi3 asks for it at each request, and it takes 0.5 ms."""
        return super().model_json_schema(*args, **kwargs)

    @classmethod
    def __get_pydantic_json_schema__(
        cls, schema: core_schema.CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        # Pydantic's `use_attribute_docstrings` reads the source once a class: 0.5 s at each start.
        json_schema = handler(schema)
        fields = handler.resolve_ref_schema(json_schema).get("properties", {})
        for name, text in _field_docstrings(cls).items():
            fields[cls.model_fields[name].alias or name].setdefault("description", text)
        return json_schema


def _field_docstrings(model: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for parent in reversed(model.__mro__):
        found |= _docstrings_of_module(parent.__module__).get(parent.__name__, {})
    return found


@cache
def _docstrings_of_module(module: str) -> dict[str, dict[str, str]]:
    """Return the docstrings of attributes, by class and attribute."""
    if not module.startswith("web."):
        return {}
    tree = ast.parse(inspect.getsource(sys.modules[module]))
    return {
        node.name: {
            field.target.id: inspect.cleandoc(str(text.value.value))
            for field, text in pairwise(node.body)
            if isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(text, ast.Expr)
            and isinstance(text.value, ast.Constant)
        }
        for node in tree.body
        if isinstance(node, ast.ClassDef)
    }


def _as_time(text: str) -> str:
    try:
        unix_ms(text)
    except (ValueError, OverflowError):
        raise ValueError(
            "must be ISO 8601 with its offset from UTC, as in 2026-11-26T10:00:00Z"
        ) from None
    return text


#: Of a request, by any clock.
Moment = Annotated[
    str,
    StringConstraints(max_length=40),
    AfterValidator(_as_time),
    Field(json_schema_extra={"format": "date-time"}),
]

#: UTC with milliseconds, as `core.timing.iso_time` writes it.
Time = Annotated[str, Field(json_schema_extra={"format": "date-time"})]


class RequestBody(Documented):
    """A JSON body; unknown fields are refused and values are not converted."""

    model_config = ConfigDict(extra="forbid", strict=True)


class OptionalBody(RequestBody):
    """A JSON body that may be left out, which stands for an empty object."""

    # A key of flask-openapi3, which pydantic's type does not know.
    model_config = cast("ConfigDict", {"openapi_extra": {"required": False}})

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, body: Any) -> Any:
        return {} if body is None else body


class Query(Documented):
    """The query of a URL; unknown names are refused, numbers are read from their text."""

    model_config = ConfigDict(extra="forbid")


class Headers(Documented):
    """The headers that a route reads, each field by its alias; every other one is ignored."""

    @classmethod
    @cache
    def names(cls) -> tuple[str, ...]:
        return tuple(str(field.alias) for field in cls.model_fields.values())


class ResponseBody(Documented):
    """A JSON response, for the document alone: views return plain values.

    Tests compare real responses with these schemas.
    """
