"""Each query has its index, and none is asked that is not in the table of queries."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

import pymongo
import pytest
from pymongo.monitoring import CommandListener

from bench.database_rows import fill
from bench.queries import QUERIES
from ops.stack.state import ROOT
from storage.records.indexes import COLLECTIONS, ensure_indexes

STORAGE = ROOT / "storage"
ASKING = {
    *("find", "find_one", "aggregate", "count_documents", "distinct", "update_many"),
    *("find_one_and_update", "find_one_and_delete", "find_one_and_replace", "delete_many"),
}
#: Functions that ask what no index is for, or choose by what their callers give them.
NOT_REGISTERED = {
    "storage/format.py:has_data": "any one document",
    "storage/records/answers.py:CheaperAnswers.ratings": "all feedback, for a report",
    "storage/records/migrations.py:mark_ownerless": "all documents, once",
    "storage/records/migrations.py:_mark_days": "all jobs, once",
    "storage/records/migrations.py:_tag_jobs": "all jobs, once",
    "storage/records/rebuild.py:_unfinished": "all unfinished jobs, at an upgrade",
    "storage/records/reconciliation.py:Reconciliation._ended": "all jobs of a month, for ledger",
    "storage/accounts/users.py:Accounts.change": "by _id, with what was read",
    "storage/accounts/personal_data.py:PersonalData.rows": "an index on the user, see HOLDINGS",
    "storage/accounts/personal_data.py:PersonalData._end_some": "likewise",
    "storage/accounts/personal_data.py:_anonymise": "by _id and user",
    "storage/accounts/sessions.py:RefreshFamilies.revoke_all": "as RefreshFamilies.of",
    "storage/accounts/deletions.py:Deletions.begin": "as RefreshFamilies.of",
    "storage/accounts/api_keys.py:ApiKeys.create": "as ApiKeys.list",
}


class Seen(CommandListener):
    """Keeps the commands that were sent, and the functions of the storage that sent them."""

    def __init__(self):
        self.commands = []
        self.senders = set()

    def started(self, event):
        self.commands.append((event.command_name, event.command))
        frame: FrameType | None = sys._getframe()
        while frame is not None:
            path = Path(frame.f_code.co_filename)
            if STORAGE in path.parents:
                self.senders.add(f"{path.relative_to(ROOT)}:{frame.f_code.co_qualname}")
            frame = frame.f_back

    def succeeded(self, event):
        pass

    def failed(self, event):
        pass


@pytest.fixture(scope="module")
def seen():
    return Seen()


@pytest.fixture(scope="module")
def filled(mongo_server, seen):
    client = pymongo.MongoClient(mongo_server.url, tz_aware=True, event_listeners=[seen])
    database = client["test_queries"]
    ensure_indexes(database)
    yield database, fill(database, 2_000)
    client.drop_database("test_queries")
    client.close()


def stages(plan) -> Iterator[dict]:
    """Yield the parts of an explained plan."""
    if isinstance(plan, dict):
        if "stage" in plan:
            yield plan
        for part in plan.values():
            yield from stages(part)
    elif isinstance(plan, list):
        for part in plan:
            yield from stages(part)


def plan_of(explained):
    """Return the planner's choice and its figures; an aggregation wraps them."""
    found = explained["stages"][0]["$cursor"] if "stages" in explained else explained
    return found["queryPlanner"]["winningPlan"], found["executionStats"]


def asked(database, seen, query, sample):
    """Run the query and return the first command that it sent to its collection."""
    seen.commands.clear()
    query.run(database, sample)
    return next(
        {name: value for name, value in command.items() if name not in ("lsid", "$db")}
        for kind, command in seen.commands
        if kind in ("find", "aggregate") and command[kind] == query.collection
    )


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_a_query_is_served_by_its_index(query, filled, seen):
    database, sample = filled
    command = asked(database, seen, query, sample)
    command.pop("$clusterTime", None)

    plan, figures = plan_of(database.command("explain", command, verbosity="executionStats"))

    used = {stage["indexName"] for stage in stages(plan) if stage["stage"] == "IXSCAN"}
    if query.is_scanned_embedded:
        assert used == set(), "the server has learned it: take is_scanned_embedded away"
        assert index_serves(query, command)
    elif query.index:
        assert used == {query.index}
        if not query.reads_more:
            assert figures["totalDocsExamined"] <= max(1.1 * figures["nReturned"], 1)


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.name)
def test_no_query_sorts_what_its_index_has_not_sorted(query, filled, seen):
    database, sample = filled
    command = asked(database, seen, query, sample)

    if query.index and command.get("sort"):
        assert index_serves(query, command)


def index_serves(query, command):
    """Say whether the index has equal fields first, then the order: what a planner can use.

    The embedded server's own explain shows a sort in any case.
    """
    keys = keys_of(query)
    wanted = command["filter"] if "filter" in command else command["pipeline"][0]["$match"]
    equal = [name for name, value in wanted.items() if is_equal(value) and name in dict(keys)]
    order = list(command.get("sort", {}).items())
    first, rest = keys[: len(equal)], keys[len(equal) :]
    forward = rest[: len(order)] == order
    backward = rest[: len(order)] == [(name, -direction) for name, direction in order]
    begins = keys[0][0] in wanted or bool(order)
    return begins and {name for name, _ in first} == set(equal) and (forward or backward)


def is_equal(value):
    return not (isinstance(value, dict) and any(name.startswith("$") for name in value))


def keys_of(query):
    return next(
        list(index.document["key"].items())
        for plan in COLLECTIONS
        for index in plan.indexes
        if (plan.name, index.document["name"]) == (query.collection, query.index)
    )


def asking_functions() -> Iterator[str]:
    """Yield the functions of the storage that ask for documents otherwise than by _id."""
    for path in STORAGE.rglob("*.py"):
        if "pymongo" in path.read_text() or "_database" in path.read_text():
            yield from _in_body(path, ast.parse(path.read_text()), "")


def _in_body(path, node, prefix) -> Iterator[str]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.ClassDef):
            yield from _in_body(path, child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.FunctionDef) and any(
            _asks(child, part) for part in _calls(child)
        ):
            yield f"{path.relative_to(ROOT)}:{prefix}{child.name}"


def _calls(function) -> Iterator[ast.Call]:
    for part in ast.walk(function):
        if isinstance(part, ast.Call) and isinstance(part.func, ast.Attribute):
            yield part


def _asks(function, call) -> bool:
    return call.func.attr in ASKING and not (call.args and _is_by_id(function, call.args[0]))


def _is_by_id(function, criteria) -> bool:
    if isinstance(criteria, ast.Name):
        return any(
            isinstance(part, ast.Assign)
            and isinstance(part.targets[0], ast.Name)
            and part.targets[0].id == criteria.id
            and _is_by_id(function, part.value)
            for part in ast.walk(function)
        )
    return isinstance(criteria, ast.Dict) and any(
        isinstance(key, ast.Constant) and key.value == "_id" for key in criteria.keys
    )


def test_every_query_of_the_storage_is_in_the_table(filled, seen):
    database, sample = filled
    seen.senders.clear()
    for query in QUERIES:
        query.run(database, sample)

    missing = set(asking_functions()) - seen.senders - NOT_REGISTERED.keys()
    assert missing == set(), "add a line to QUERIES in bench/queries.py"


def test_no_exception_is_left_of_a_function_that_is_gone():
    assert NOT_REGISTERED.keys() <= set(asking_functions())
