"""What users say of their ended jobs, in MongoDB.

It is a collection of its own: a job's record may still have to be written when its user has spoken,
and is then replaced as a whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from pymongo import WriteConcern

from core.jobs import Feedback
from storage.failures import store_errors
from storage.records.documents import to_time

if TYPE_CHECKING:
    from pymongo.database import Database


class FeedbackRecords:
    """The latest feedback on each job; raises StoreUnavailable when MongoDB is away."""

    def __init__(self, database: Database[dict[str, Any]]) -> None:
        majority = WriteConcern("majority")
        self._feedback = database.get_collection("feedback", write_concern=majority)

    def set(self, user_id: str, job_id: str, feedback: Feedback) -> None:
        """Store the feedback in place of an earlier one; the caller knows whose job it is."""
        document = {
            "_id": job_id,
            "user_id": user_id,
            "rating": feedback.rating,
            "comment": feedback.comment,
            "at": to_time(feedback.at_ms),
        }
        with store_errors():
            self._feedback.replace_one({"_id": job_id, "user_id": user_id}, document, upsert=True)

    def remove(self, user_id: str, job_id: str) -> None:
        """Remove the user's feedback on the job; a repeat does nothing."""
        with store_errors():
            self._feedback.delete_one({"_id": job_id, "user_id": user_id})

    def of_jobs(self, user_id: str, job_ids: Sequence[str]) -> dict[str, Feedback]:
        """Return the user's feedback on those of the jobs that have some, by job id."""
        if not job_ids:
            return {}
        with store_errors():
            found = self._feedback.find({"user_id": user_id, "_id": {"$in": list(job_ids)}})
            return {document["_id"]: _from_document(document) for document in found}


def _from_document(document: dict[str, Any]) -> Feedback:
    at_ms = round(document["at"].timestamp() * 1000)
    fields = {"rating": document["rating"], "comment": document["comment"], "at_ms": at_ms}
    return msgspec.convert(fields, Feedback)
