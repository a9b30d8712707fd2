"""Titles of conversations, found by the quick tier once the first question has its answer.

Each is found by a job of its own, which goes the way of every job: it waits behind what people
asked, is paid by the same budgets, and is recorded. A title that cannot be had leaves the beginning
of the question, which every conversation has until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from agents.titles import TITLE_TOKENS, ask_for_title, read_title
from core.errors import AetherError, ServiceUnavailable
from core.ids import new_job_id
from core.jobs import CacheControl, Job, JobSpec, JobStatus, Question
from core.lessons import Lesson
from core.models import TIERS, Catalogue, Model
from core.plans import PLANS
from core.reservation import Ask, reserve
from core.timing import now_ms
from storage.jobs.acceptance import Acceptance, IdempotencyClaim
from storage.jobs.user_keys import UserKeys
from storage.records.conversations import Conversations
from storage.records.jobs import JobRecords
from storage.records.retention import JobContent
from workers.queue import JobQueue

logger = structlog.get_logger(__name__)

#: A title that nobody had time for until then is not missed any more.
_EXPIRES_MS: Final = 600_000
#: Of ended jobs that wait for this loop; what is beyond gets no title.
_MOST_WAITING: Final = 1_000


class TitleMaker:
    """Asks for titles, and gives conversations those that came; `run` is a loop's step."""

    def __init__(
        self,
        conversations: Conversations,
        acceptance: Acceptance,
        records: JobRecords,
        queue: JobQueue,
        catalogue: Catalogue,
        lesson_of: Callable[[Model], Lesson],
        user_keys: UserKeys,
        content: JobContent,
    ) -> None:
        self._conversations = conversations
        self._acceptance = acceptance
        self._records = records
        self._queue = queue
        self._catalogue = catalogue
        self._lesson_of = lesson_of
        self._user_keys = user_keys
        self._content = content
        self._waiting: deque[Job] = deque(maxlen=_MOST_WAITING)

    def take(self, jobs: Sequence[Job]) -> None:
        """Have `run` look at jobs that have ended and are on record."""
        self._waiting.extend(job for job in jobs if _is_wanted(job))

    def run(self) -> None:
        """Do what the jobs taken so far ask for.

        Raises:
            ServiceUnavailable: Redis or MongoDB is away; the next run goes on where this one ended.
        """
        while self._waiting:
            job = self._waiting.popleft()
            try:
                self._look_at(job)
            except ServiceUnavailable:
                self._waiting.appendleft(job)
                raise

    def _look_at(self, job: Job) -> None:
        if job.spec.title_of is not None:
            self._give(job, job.spec.title_of)
        elif job.spec.conversation_id is not None:
            self._ask(job, job.spec.conversation_id)

    def _give(self, job: Job, conversation: str) -> None:
        user_id = job.spec.user_id
        title = read_title(_answer_of(job)) if job.status is JobStatus.COMPLETED else None
        if title is not None:
            self._conversations.rename(user_id, conversation, title, by="model")
        # What it quotes would outlive its conversation.
        self._content.remove([job.id])
        self._user_keys.forget_jobs(user_id, [job.id], ())

    def _ask(self, first: Job, conversation: str) -> None:
        found = self._conversations.get(first.spec.user_id, conversation)
        if found is None or found.titled_by != "question" or first.question is None:
            return
        question = Question(ask_for_title(first.question.message, _answer_of(first)))
        spec = self._to_spec(first.spec, conversation, question)
        claim = IdempotencyClaim(digest=f"title-{conversation}", body_hash=conversation)
        try:
            accepted = self._acceptance.accept(
                spec, question, PLANS[spec.plan], claim, is_request=False
            )
        except ServiceUnavailable:
            raise
        except AetherError as refusal:
            logger.info("no title is asked for", conversation=conversation, code=refusal.code)
            return
        if accepted.job_id == spec.id:
            self._begin(spec, question, claim)

    def _begin(self, spec: JobSpec, question: Question, claim: IdempotencyClaim) -> None:
        job = Job(spec=spec, status=JobStatus.QUEUED, cursor=1, question=question)
        try:
            self._records.insert(job)
        except ServiceUnavailable:
            self._acceptance.withdraw(spec, claim)
            raise
        self._queue.submit(spec)

    def _to_spec(self, first: JobSpec, conversation: str, question: Question) -> JobSpec:
        model, created_ms = self._catalogue.for_tier(TIERS[0]), now_ms()
        ask = Ask(chars=len(question.message), max_tokens=TITLE_TOKENS, model=model)
        reservation = reserve(ask, self._catalogue, self._lesson_of)
        return JobSpec(
            id=new_job_id(first.user_id),
            user_id=first.user_id,
            mode="quick",
            created_ms=created_ms,
            allowed_ms=first.allowed_ms,
            max_tokens=TITLE_TOKENS,
            title_of=conversation,
            cache=CacheControl(mode="bypass"),
            reserved_micros=reservation.expected_micros,
            least_micros=reservation.least_micros,
            budgets=first.budgets,
            api_key_id=first.api_key_id,
            request_id=first.request_id,
            plan=first.plan,
            priority=0,
            is_batch=True,
            expires_at_ms=created_ms + _EXPIRES_MS,
            cache_secret=first.cache_secret,
        )


def _is_wanted(job: Job) -> bool:
    """Say whether an ended job was to find a title, or begins a conversation that may get one."""
    is_first = job.spec.turn == 1 and job.spec.conversation_id is not None
    is_answered = job.status is JobStatus.COMPLETED and bool(_answer_of(job))
    return job.spec.title_of is not None or (is_first and is_answered)


def _answer_of(job: Job) -> str:
    return job.outcome.answer.text if job.outcome and job.outcome.answer else ""
