"""The operators that `aether doctor` tries are those that the storage uses."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pymongo

from ops.doctor.operators import probed, refused_operators
from ops.stack.state import ROOT


def operators_in(tree: ast.Module) -> Iterator[str]:
    """Yield the keys of documents that are operators, and the options of indexes."""
    for node in ast.walk(tree):
        match node:
            case ast.Dict(keys=keys):
                yield from (key.value for key in keys if is_operator(key))
            case ast.Subscript(slice=ast.Constant() as key) if is_operator(key):
                yield key.value
            case ast.Call(func=ast.Name(id="IndexModel"), keywords=options):
                yield from (option.arg for option in options if option.arg != "name")


def is_operator(key: ast.expr | None) -> bool:
    return (
        isinstance(key, ast.Constant) and isinstance(key.value, str) and key.value.startswith("$")
    )


def test_what_is_probed_is_what_the_storage_uses():
    modules = (ROOT / "storage").rglob("*.py")
    used = {name for path in modules for name in operators_in(ast.parse(path.read_text()))}

    assert probed() == used


def test_the_server_does_all_of_it_and_keeps_nothing_of_the_trial(mongo_database):
    assert refused_operators(mongo_database) == []
    assert mongo_database.list_collection_names() == []


def test_what_a_server_does_not_do_is_named(mongo_database, monkeypatch):
    find = pymongo.collection.Collection.find
    monkeypatch.setattr(
        pymongo.collection.Collection,
        "find",
        lambda self, query, *a, **k: find(self, {} if "tags" in query else query, *a, **k),
    )

    assert refused_operators(mongo_database) == ["$elemMatch", "$size"]
