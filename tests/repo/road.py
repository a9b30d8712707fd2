"""The road of a job through a worker, followed in the text alone: `python -m tests.repo.road`.

**What is followed.** A value is *of the job* when it is the job's id, or an object that knows it:
its class has a field or property that is the id (`IDS`), or that is such an object (the claim, the
attempt, what writes its events). So is a list of such values. A call is followed when its receiver
or an argument is of the job, and the text says which function of ours it calls: by imports, by
annotations of parameters, results and fields, and by what methods put into `self`. A function that
is passed on by name, bound to a value of the job or beside one, counts as called there.

**What is not.** What is merely computed from the job: its question, a plan, a reply, an outcome.
Calls into `core` and `monitoring`, the language that all modules speak. Calls within `storage`: its
methods are entered, each being one step against a server, and what they call is not followed; nor
are an agent's turn and a round's end, which are units of work with roads of their own.
Properties, and constructors without `__init__`: they are read as data. Methods without a body, as a
Protocol has. Callables that are kept in a field.

**The order of reading.** A function is read whole, with its lambdas and nested functions, once,
where it is called first; then the functions that it calls, in the order of the calls, each with
what it calls in turn. A *stay* is a longest run of functions of one module in that order; modules
stand on the road in the order of their first stays.

**The figures.** *Returns* to a module are its stays but the first. *Upward imports* are pairs of
modules, each counted once, of which one calls into the other that stands earlier on the road. The
*main road* is made of the modules on the chains of calls that pass the fewest modules: from the
route to the accept, where the job gets its id, so that every call counts; and from the task to the
agent's answer and to the end of the job. Its last module is the one that has `storage` end the job.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ops.stack.state import ROOT
from tests.repo.program import Function, Program
from tests.repo.reading import Reading, Terms
from tests.repo.tree import PACKAGES, parsed

IDS = frozenset({"job_id", "work_id", "core.jobs.JobSpec.id"})
BELOW = ("core", "monitoring")
EDGE = ("storage", "workers.team.turn", "workers.team.finish")
RUN_JOB = "workers.run_job"
#: Where a job's road begins, and the function of the storage that ends it.
TASK = ("workers.intake", "serve")
END = ("storage.jobs.attempts", "Attempts.finish")


@dataclass(frozen=True)
class Road:
    """The functions that a job is followed into, in the order of reading, and the calls.

    Attributes:
        doubtful: calls that may carry the job further, to a method of a receiver of unknown type.
    """

    functions: Sequence[Function]
    calls: Sequence[tuple[Function, Function]]
    doubtful: Sequence[str] = ()

    @property
    def stays(self) -> list[tuple[str, list[str]]]:
        runs = groupby(self.functions, key=lambda function: function.module)
        return [(module, [function.name for function in run]) for module, run in runs]

    @property
    def modules(self) -> list[str]:
        return list(dict.fromkeys(function.module for function in self.functions))

    @property
    def upward(self) -> list[tuple[str, str]]:
        place = {module: number for number, module in enumerate(self.modules)}
        pairs = dict.fromkeys((caller.module, callee.module) for caller, callee in self.calls)
        return [(here, there) for here, there in pairs if place[there] < place[here]]

    def returns_to(self, module: str) -> int:
        return sum(name == module for name, _ in self.stays) - 1

    def leads_to(self, module: str, name: str) -> bool:
        return any((one.module, one.name) == (module, name) for one in self.functions)

    def chain_to(self, module: str, name: str) -> list[str]:
        """Return the fewest modules by which calls lead to a function.

        Raises:
            LookupError: none do.
        """
        start = self.functions[0]
        chains = {start: [start.module]}
        queue = deque([start])
        while queue:
            here = queue.popleft()
            if (here.module, here.name) == (module, name):
                return chains[here]
            for there in dict.fromkeys(callee for caller, callee in self.calls if caller == here):
                is_same = there.module == here.module
                chain = chains[here] + ([] if is_same else [there.module])
                if there not in chains or len(chain) < len(chains[there]):
                    chains[there] = chain
                    # A chain within a module is not longer, so it is looked at first.
                    (queue.appendleft if is_same else queue.append)(there)
        raise LookupError(f"{start} does not lead to {module}:{name}")


def road_from(program: Program, module: str, name: str, terms: Terms) -> Road:
    start = program.find(module, name)
    if not isinstance(start, Function):
        raise LookupError(f"{module} has no function {name}")
    reading = Reading(program, start, terms)
    return Road(reading.functions, reading.calls, reading.doubtful)


def read_program() -> Program:
    return Program(parsed(ROOT, PACKAGES))


def road_of_a_job(program: Program) -> Road:
    """Follow a job from where a thread begins to serve it."""
    return road_from(program, *TASK, Terms(job="found", ids=IDS, below=BELOW, edge=EDGE))


def main_road(program: Program) -> list[str]:
    """Return the modules that lead from the request to the terminal event, each once."""
    every_call = Terms(job=None, below=BELOW, edge=EDGE)
    request = road_from(program, "web.jobs.chat", "optimized", every_call)
    job = road_of_a_job(program)
    chains = (
        request.chain_to("storage.jobs.acceptance", "Acceptance.accept"),
        job.chain_to("agents.answer", "AnswerRunner.run"),
        job.chain_to(*END)[:-1],
    )
    return list(dict.fromkeys(module for chain in chains for module in chain))


def main() -> None:
    program = read_program()
    road = road_of_a_job(program)
    for module, names in road.stays:
        print(f"{module:32} {', '.join(names)}")
    for doubt in road.doubtful:
        print(f"not followed: {doubt}")
    for here, there in road.upward:
        print(f"upward: {here} -> {there}")
    modules = main_road(program)
    print(f"main road: {' -> '.join(modules)}")
    print(
        f"{len(road.modules)} modules, {len(road.stays)} stays, "
        f"{road.returns_to(RUN_JOB)} returns to {RUN_JOB}, {len(road.upward)} upward imports, "
        f"{len(modules)} files on the main road"
    )


if __name__ == "__main__":
    main()
