"""What the Lua scripts do with a job's hash, read from their text."""

from __future__ import annotations

import re
from pathlib import Path

from msgspec import Struct, field

import storage

FOLDER = Path(storage.__file__).parent / "lua"
#: Scripts of jobs work on the hash KEYS[1], of which some change what it is; these have no job.
NO_JOB = {"breaker", "budget", "budget_book", "budget_correct", "count_ready"}
NO_JOB |= {"lines", "prelude", "single_flight_keep"}
NO_JOB |= {"admit", "count", "know_spent", "learn", "limits", "money"}
#: Where `field(slot, …)` never means the job itself.
SLOTS_ONLY = {"report", "start_round", "take_slot"}
#: Where it never means a slot.
JOB_ONLY = {"enter", "restore", "single_flight_end", "single_flight_enter"}

_FUNCTION = re.compile(r"^local function (\w+)\(.*?^end$", re.MULTILINE | re.DOTALL)
_CONSTANTS = re.compile(r"^local ([A-Z_]+(?:, [A-Z_]+)*) =", re.MULTILINE)
_NAMES_OF = {
    "HSET": lambda arguments: arguments[::2],
    "HSETNX": lambda arguments: arguments[:1],
    "HINCRBY": lambda arguments: arguments[:1],
    "HGET": lambda arguments: arguments,
    "HMGET": lambda arguments: arguments,
    "HEXISTS": lambda arguments: arguments,
    "HDEL": lambda arguments: arguments,
}
_WRITES = {"HSET", "HSETNX", "HINCRBY"}


class Use(Struct):
    """Fields that a piece of Lua names: the job's, and those of `field(slot, …)`."""

    job: set[str] = field(default_factory=set)
    slot: set[str] = field(default_factory=set)

    def __or__(self, other: Use) -> Use:
        return Use(self.job | other.job, self.slot | other.slot)


def text_of(name: str) -> str:
    """Return a script without its comments."""
    return re.sub(r"--[^\n]*", "", (FOLDER / f"{name}.lua").read_text())


_SHARED = "".join(map(text_of, ("prelude", "lines", "limits", "money")))


def scripts() -> list[str]:
    return sorted(path.stem for path in FOLDER.glob("*.lua"))


def use_of(script: str, *, only_writes: bool = False) -> Use:
    """Return the fields a script names, those of the shared functions it calls included."""
    found = _use(text_of(script), only_writes=only_writes)
    functions = {match[1]: match[0] for match in _FUNCTION.finditer(_SHARED)}
    called, new = set(), _called(text_of(script), functions)
    while new:
        called |= new
        new = {name for one in new for name in _called(functions[one], functions)} - called
    for name in called:
        found |= _use(functions[name], only_writes=only_writes)
    return found


def uses(script: str, part: str) -> bool:
    """Say whether a script names a function or a constant of a part that is loaded in front."""
    text, shared = text_of(script), text_of(part)
    functions = {match[1]: match[0] for match in _FUNCTION.finditer(shared)}
    constants = ", ".join(_CONSTANTS.findall(shared)).split(", ")
    return bool(_called(text, functions) or set(constants) & set(re.findall(r"\w+", text)))


def writers_of(name: str, *, is_slots: bool) -> list[str]:
    """Return the scripts that set a field of the job, or of its slots."""

    def sets(script: str) -> bool:
        use = use_of(script, only_writes=True)
        if is_slots:
            return script not in JOB_ONLY and name in use.slot
        return name in use.job or (script not in SLOTS_ONLY and name in use.slot)

    return [script for script in JOB_SCRIPTS if sets(script)]


def _called(text: str, functions: dict[str, str]) -> set[str]:
    return {name for name in functions if re.search(rf"(?<!function )\b{name}\(", text)}


def _use(text: str, *, only_writes: bool) -> Use:
    found = Use()
    for command, *arguments in _calls(text):
        command = command.strip("'")
        if command not in _NAMES_OF or arguments[0] != "KEYS[1]":
            continue
        if only_writes and command not in _WRITES:
            continue
        for name in _NAMES_OF[command](arguments[1:]):
            found.slot |= set(re.findall(r"field\(\w+, '(\w+)'\)", name))
            found.job |= set(re.findall(r"'(\w+)'", re.sub(r"field\(.*?\)", "", name)))
    return found


def _calls(text: str) -> list[list[str]]:
    """Return the arguments of each `redis.call`."""
    return [_arguments(text[match.end() :]) for match in re.finditer(r"redis\.call\(", text)]


def _arguments(text: str) -> list[str]:
    """Split what stands before the closing parenthesis at its own commas."""
    arguments, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += (letter in "({[") - (letter in ")}]")
        if depth < 0 or (depth == 0 and letter == ","):
            arguments.append(" ".join(text[start:at].split()))
            start = at + 1
        if depth < 0:
            break
    return arguments


JOB_SCRIPTS = [script for script in scripts() if script not in NO_JOB]
