"""How the page writes JSON Schema: a type in words, and the bounds of its values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, NamedTuple

Schema = Mapping[str, Any]

#: Bounds as keywords of JSON Schema: the least, the most and what they count.
_RANGES: Final = (
    ("minimum", "maximum", ""),
    ("minLength", "maxLength", " characters"),
    ("minItems", "maxItems", " entries"),
    ("minProperties", "maxProperties", " entries"),
)


class Part(NamedTuple):
    """A piece of a type's name; `schema` where the piece is the name of one."""

    text: str
    schema: str | None = None


def name_of(schema: Schema) -> str | None:
    """Return the name of the schema that this one refers to."""
    reference: str = schema.get("$ref", "")
    return reference.rpartition("/")[2] or None


def type_of(schema: Schema) -> Iterator[Part]:
    """Yield the pieces of a type's name, such as `list of ` and `Job`."""
    branches = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf", ())[:1]
    if name := name_of(schema):
        yield Part(name, name)
    elif branches:
        yield from _joined(type_of(branch) for branch in branches)
    elif "const" in schema:
        yield Part(json.dumps(schema["const"]))
    elif "enum" in schema:
        yield Part(" or ".join(json.dumps(value) for value in schema["enum"]))
    elif schema.get("type") == "array":
        yield Part("list of ")
        yield from type_of(schema["items"])
    elif isinstance(schema.get("additionalProperties"), dict):
        yield Part("object of ")
        yield from type_of(schema["additionalProperties"])
    else:
        is_time = schema.get("format") == "date-time"
        yield Part("date and time" if is_time else schema.get("type", "any value"))


def bounds_of(schema: Schema) -> Iterator[str]:
    """Yield what a value is bounded by, such as `1 to 4,096`, and the default."""
    for branch in schema.get("anyOf", [schema]):
        if "exclusiveMinimum" in branch:
            yield f"more than {_plain(branch['exclusiveMinimum'])}"
        for least, most, unit in _RANGES:
            if branch.keys() & {least, most}:
                yield _range(branch.get(least), branch.get(most)) + unit
    default = schema.get("default")
    if isinstance(default, bool | str):
        yield f"default {json.dumps(default)}"
    elif isinstance(default, int | float):
        yield f"default {_plain(default)}"


def _range(least: float | None, most: float | None) -> str:
    if least is None or most is None:
        return f"at least {_plain(least)}" if most is None else f"at most {_plain(most)}"
    return f"{_plain(least)} to {_plain(most)}"


def _plain(bound: float | None) -> str:
    return f"{bound:,.10g}"


def _joined(types: Iterable[Iterator[Part]]) -> Iterator[Part]:
    for number, parts in enumerate(types):
        if number:
            yield Part(" or ")
        yield from parts
