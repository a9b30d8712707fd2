"""How a job is followed through code, and how long its road through ours is."""

from __future__ import annotations

import ast
import textwrap
from functools import cache

import pytest

from tests.repo import road
from tests.repo.program import Program
from tests.repo.reading import Terms

#: A class whose objects know the id of their job, and one with a method to be found.
CLAIMS = """
    class Claim:
        job_id: str

        def keep(self):
            pass

    class Store:
        def claim(self, job_id: str) -> Claim | None:
            return Claim(job_id)

        def write(self, what):
            pass
"""


def follow(*, job="job_id", below=(), edge=(), **texts):
    """Follow a job from the function `start` of the module `task`."""
    trees = {name: ast.parse(textwrap.dedent(text)) for name, text in texts.items()}
    terms = Terms(job=job, ids=frozenset({"job_id"}), below=below, edge=edge)
    return road.road_from(Program(trees), "task", "start", terms)


def called_by(body, **texts):
    """Return what a function with this body calls that has a job's id and a store."""
    head = """
from __future__ import annotations
from collections.abc import Iterator
from functools import partial
from claims import Claim, Store

def held() -> Iterator[Claim]:
    yield Claim()

"""
    start = "def start(job_id: str, store: Store):\n" + textwrap.indent(textwrap.dedent(body), "  ")
    found = follow(task=head + start, claims=CLAIMS, **texts)
    return [function.name for function in found.functions[1:]]


def test_figures_of_a_small_program_are_those_counted_by_hand():
    found = follow(
        task="""
            from runner import runner

            def start(job_id: str):
                runner().run(job_id)
        """,
        runner="""
            from attempt import Attempt, Attempts
            from team import Teams

            def runner() -> Runner:
                return Runner(Attempts(), Teams())

            class Runner:
                def __init__(self, attempts: Attempts, teams: Teams):
                    self._attempts = attempts
                    self._teams = teams

                def run(self, job_id: str):
                    attempt = self._attempts.claim(job_id)
                    self._teams.begin(attempt)
                    finish(attempt)
                    self._attempts.count()

            def finish(attempt: Attempt):
                attempt.emit("end")
                attempt.finish()
        """,
        attempt="""
            class Attempts:
                def claim(self, job_id: str) -> Attempt | None:
                    return Attempt(job_id)

                def count(self):
                    pass

            class Attempt:
                def __init__(self, job_id: str):
                    self.job_id = job_id

                def finish(self):
                    pass

                def emit(self, event: str):
                    pass
        """,
        team="""
            from attempt import Attempt

            class Teams:
                def begin(self, attempt: Attempt):
                    attempt.emit("begin")
        """,
    )

    assert found.stays == [
        ("task", ["start"]),
        ("runner", ["Runner.run"]),
        ("attempt", ["Attempts.claim", "Attempt.__init__"]),
        ("team", ["Teams.begin"]),
        ("attempt", ["Attempt.emit"]),
        ("runner", ["finish"]),
        ("attempt", ["Attempt.finish"]),
    ]
    assert found.modules == ["task", "runner", "attempt", "team"]
    assert found.returns_to("runner") == 1
    assert found.upward == [("team", "attempt")]
    assert found.chain_to("attempt", "Attempt.finish") == ["task", "runner", "attempt"]


@pytest.mark.parametrize(
    "use",
    [
        "claim.keep()",
        "store.claim(job_id).keep()",
        "(claim or None).keep()",
        "if (same := claim) is not None: same.keep()",
        "for one in [claim]: one.keep()",
        "[one.keep() for _, one in enumerate([claim])]",
        "claims: dict[str, Claim] = {}; claims['one'].keep()",
        "[one.keep() for one in sorted([claim])]",
        "with held() as one: one.keep()",
        "print(claim.keep)",
        "partial(Claim.keep, claim)",
        "call = lambda: claim.keep()",
        "def call() -> None: claim.keep()",
    ],
)
def test_job_is_followed_whatever_form_the_code_has(use):
    assert "Claim.keep" in called_by(f"claim = store.claim(job_id)\n{use}")


def test_what_is_merely_computed_from_the_job_is_not_followed():
    assert called_by("store.write(f'the job {job_id}')\nstore.write(len(job_id))") == []


def test_object_that_holds_a_claim_is_of_the_job():
    holder = """
        from claims import Claim, Store

        class Attempt:
            def __init__(self, claim: Claim, store: Store):
                self._claim = claim
                self._store = store

            def end(self):
                self._store.write(self._claim)
                self._store.write("a text")

        class Runner:
            def run(self, attempt: Attempt):
                attempt.end()
    """
    body = "from holder import Attempt, Runner\nRunner().run(Attempt(store.claim(job_id), store))"

    assert called_by(body, holder=holder) == [
        "Store.claim",
        "Attempt.__init__",
        "Runner.run",
        "Attempt.end",
        "Store.write",
    ]


def test_entering_and_leaving_a_context_are_calls():
    context = """
        class Held:
            def __init__(self, job_id: str):
                self.job_id = job_id

            def __enter__(self):
                pass

            def __exit__(self, *_):
                pass
    """
    body = "from context import Held\nwith Held(job_id): store.write(job_id)"

    assert called_by(body, context=context) == [
        "Held.__init__",
        "Held.__enter__",
        "Store.write",
        "Held.__exit__",
    ]


def test_call_of_a_receiver_of_unknown_type_is_named():
    found = follow(
        task="def start(job_id: str, store):\n    store.write(job_id)\n    store.other(job_id)",
        claims=CLAIMS,
    )

    assert found.doubtful == ["task:start, line 2: store.write()"]


def test_package_below_is_not_followed_and_one_at_the_edge_is_only_entered():
    texts = {
        "task": """
            import language
            import server

            def start(job_id: str):
                language.look(job_id)
                server.enter(job_id)
        """,
        "language": "def look(job_id: str):\n    return job_id",
        "server": "import far\ndef enter(job_id: str):\n    far.go(job_id)",
        "far": "def go(job_id: str):\n    return job_id",
    }

    assert follow(**texts).modules == ["task", "language", "server", "far"]
    assert follow(**texts, below=("language",), edge=("server",)).modules == ["task", "server"]


@cache
def ours():
    return road.read_program()


def test_job_can_be_followed_to_its_terminal_event_without_a_doubt():
    found = road.road_of_a_job(ours())

    assert found.leads_to(*road.END)
    assert found.doubtful == []


def test_reader_of_a_job_returns_and_looks_up_at_most_three_times():
    found = road.road_of_a_job(ours())

    assert found.returns_to(road.RUN_JOB) in range(4)
    assert len(found.upward) <= 3, found.upward


def test_main_road_has_at_most_seven_files():
    assert len(road.main_road(ours())) <= 7
