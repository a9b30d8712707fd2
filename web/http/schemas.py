"""What the schemas of all requests have in common."""

from __future__ import annotations

from functools import cache
from typing import Any

from pydantic import BaseModel, ConfigDict


class Body(BaseModel):
    """A JSON body; unknown fields are refused and values are not converted."""

    model_config = ConfigDict(
        extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True
    )


class Query(BaseModel):
    """The query of a URL; unknown names are refused, numbers are read from their text."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    @cache
    def model_json_schema(  # type: ignore[override]
        cls, *args: Any, **kwargs: Any
    ) -> dict[str, Any]:
        """Return the schema; flask-openapi3 asks for it at each request, and it takes 0.5 ms."""
        return super().model_json_schema(*args, **kwargs)
