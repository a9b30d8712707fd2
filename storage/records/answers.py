"""Finished answers of the tiers below deep, read from the records of their jobs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

import msgspec

from core.comparisons import CheaperAnswer
from core.jobs import JobStatus
from core.models import Model
from core.outcome import Route
from storage.failures import store_errors
from storage.records.documents import to_question, to_spec

if TYPE_CHECKING:
    from pymongo.database import Database

#: Documents that one query asks for by their ids.
_BATCH: Final = 200


class CheaperAnswers:
    """Reads whole answers that one agent gave without history and not from the cache.

    Raises StoreUnavailable when MongoDB does not answer in time.
    """

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        self._jobs = database["jobs"]
        self._feedback = database["feedback"]

    def ids(self, deep: Model, *, since_ms: int) -> list[str]:
        """Return the ids of jobs that were created since then and answered below `deep`."""
        with store_errors():
            found = self._jobs.find(_below(deep, since_ms), {"_id": 1})
            return [document["_id"] for document in found]

    def get(self, job_ids: Sequence[str]) -> Iterator[CheaperAnswer]:
        """Yield the answers of these jobs in this order; those that have gone are left out."""
        for document in self._by_id(job_ids, {}):
            yield _to_answer(document)

    def questions(self, job_ids: Sequence[str]) -> dict[str, str]:
        """Return the message of each of the jobs; those that have gone are left out."""
        fields = {"question": 1, "spec.message": 1}
        found = self._by_id(job_ids, fields)
        return {document["_id"]: to_question(document).message for document in found}

    def ratings(self, deep: Model, *, since_ms: int) -> dict[str, float]:
        """Return what users rated these answers, 1 for up and 0 for down, by job id."""
        found = dict[str, float]()
        with store_errors():
            rows = self._feedback.find({}, {"rating": 1})
            # Few answers are rated, so the jobs are asked for by what is.
            while rated := {row["_id"]: row["rating"] for row in islice(rows, _BATCH)}:
                chosen = {**_below(deep, since_ms), "_id": {"$in": list(rated)}}
                for document in self._jobs.find(chosen, {"_id": 1}):
                    found[document["_id"]] = float(rated[document["_id"]] == "up")
        return found

    def _by_id(self, job_ids: Sequence[str], fields: dict[str, int]) -> Iterator[dict[str, Any]]:
        for start in range(0, len(job_ids), _BATCH):
            wanted = list(job_ids[start : start + _BATCH])
            with store_errors():
                cursor = self._jobs.find({"_id": {"$in": wanted}}, fields)
                found = {document["_id"]: document for document in cursor}
            yield from (found[job_id] for job_id in wanted if job_id in found)


def _below(deep: Model, since_ms: int) -> dict[str, Any]:
    """Return a filter that the index on status and time serves."""
    return {
        "status": JobStatus.COMPLETED.value,
        "created_at": {"$gte": datetime.fromtimestamp(since_ms / 1000, UTC)},
        "spec.conversation_id": None,
        # Nobody asked for a title, and its question is removed.
        "spec.title_of": None,
        "outcome.route.tier": {"$in": ["quick", "standard"]},
        "outcome.route.model": {"$ne": deep.id},
        "outcome.agents": {"$size": 1},
        "outcome.synthesis": None,
        "outcome.cache.status": {"$nin": ["hit", "coalesced"]},
    }


def _to_answer(document: dict[str, Any]) -> CheaperAnswer:
    outcome = document["outcome"]
    return CheaperAnswer(
        spec=to_spec(document),
        question=to_question(document),
        agent=outcome["agents"][0]["name"],
        text=outcome["answer"]["text"],
        route=msgspec.convert(outcome["route"], Route),
        cost_micros=outcome["cost_micros"],
    )
