"""Every Lua script opens with its contract and names its arguments before it uses them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import storage
from storage import scripts
from tests.unit.storage import lua

#: Loaded in front of other scripts, so they have no contract of their own.
SHARED = {"prelude", "lines", "limits", "money", "budget"}
SCRIPTS = [script for script in lua.scripts() if script not in SHARED]


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_opens_with_keys_arguments_and_answer(script):
    text = (lua.FOLDER / f"{script}.lua").read_text()
    head = text[: re.search(r"^[^-]", text, re.MULTILINE).start()]

    assert re.search(r"^-- \w.*\n(?:-- .*\n)*-- KEYS  .*\n(?:--  .*\n)*-- ARGV  ", head)
    assert "\n-- Answer: " in head


@pytest.mark.parametrize("script", lua.scripts())
def test_a_script_gives_each_argument_a_name_before_it_uses_it(script):
    lines = [line.strip() for line in lua.text_of(script).splitlines()]
    using = [line for line in lines if re.search(r"ARGV\[|unpack\(ARGV", line)]

    assert [line for line in using if not line.startswith("local ")] == []


def test_every_script_is_loaded_by_somebody():
    assert set(loaded_behind()) == set(SCRIPTS)


@pytest.mark.parametrize("part", sorted(SHARED - {"prelude"}))
def test_a_script_is_loaded_behind_a_shared_part_when_it_uses_it_and_only_then(part):
    behind = loaded_behind()

    users = {script for script in SCRIPTS if lua.uses(script, part)}
    assert {script for script, parts in behind.items() if part in parts} == users


def loaded_behind():
    """Return by each script that is loaded what is loaded in front of it beside the prelude."""
    call = re.compile(r'Script\(\w+, "(\w+)"(?:, behind=(.+))?\)')
    sources = Path(storage.__file__).parent.rglob("*.py")
    found = (match for path in sources for match in call.findall(path.read_text()))
    named = {
        name: set(getattr(scripts, name)) for name in vars(scripts) if name.startswith("WITH_")
    }

    def parts_of(behind):
        by_name = (named[name] for name in re.findall(r"WITH_\w+", behind))
        return set(re.findall(r'"(\w+)"', behind)).union(*by_name) - {"prelude"}

    return {script: parts_of(behind) for script, behind in found}
