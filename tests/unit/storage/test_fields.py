"""The table of a job's fields is what the Lua scripts and the Python readers use."""

from __future__ import annotations

import re

import pytest

from storage.jobs import fields
from tests.unit.storage import lua

_ROW = re.compile(
    r"^\| (\w+) \| (JSON|text|number|ms|micros|flag) \| ([^|]+) \| [^|]+ \|$", re.MULTILINE
)
_JOB_PART, _SLOT_PART = fields.__doc__.split("| Slot field |")
JOB_TABLE = {row[1]: row[3].split(", ") for row in _ROW.finditer(_JOB_PART)}
SLOT_TABLE = {row[1]: row[3].split(", ") for row in _ROW.finditer(_SLOT_PART)}


def test_every_field_of_a_job_is_in_the_table_and_every_row_is_a_field():
    used = set().union(*(lua.use_of(script).job for script in lua.JOB_SCRIPTS))

    assert used == set(JOB_TABLE)


def test_every_field_of_a_slot_is_in_the_table_and_every_row_is_a_field():
    used = set().union(*(lua.use_of(script).slot for script in lua.JOB_SCRIPTS))

    assert used == set(SLOT_TABLE)


@pytest.mark.parametrize("name", JOB_TABLE)
def test_the_table_names_the_scripts_that_write_a_field_of_the_job(name):
    assert JOB_TABLE[name] == lua.writers_of(name, is_slots=False)


@pytest.mark.parametrize("name", SLOT_TABLE)
def test_the_table_names_the_scripts_that_write_a_field_of_a_slot(name):
    assert SLOT_TABLE[name] == lua.writers_of(name, is_slots=True)


def test_python_reads_no_other_field():
    of_job = {*fields.WHOLE_JOB, *fields.QUESTION, *fields.SWEPT, *fields.TEAM}
    of_slot = {fields.REPLY, fields.END_ATTEMPTS, *fields.WORK}

    assert of_job <= set(JOB_TABLE)
    assert of_slot <= set(SLOT_TABLE)
