"""What supervisor reads."""

from __future__ import annotations

import configparser
import shlex

import pytest

from ops.stack.config import render, write_config
from ops.stack.programs import Program, worker
from ops.stack.state import StateDirectory


@pytest.fixture
def directory(tmp_path):
    directory = StateDirectory(tmp_path / "100% var")
    directory.programs.mkdir(parents=True)
    return directory


def section_of(directory, program):
    """Read a program as supervisor does, which then fills in `%(…)s` and `%%` itself."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(";", "#"))
    parser.read_string(render(directory, program))
    return dict(parser[f"program:{program.name}"])


def test_a_workers_host_and_threads_are_left_to_supervisor_and_celery(directory):
    section = section_of(directory, worker(3))

    filled_in = section["command"] % {"ENV_AETHER_WORKER_THREADS": "7"}
    assert "-c 7 " in filled_in
    assert "-n worker-3@%h " in filled_in


def test_what_a_program_must_not_see_is_empty_in_its_environment(directory):
    program = Program(name="api", command=("api",), rank=1, withheld=("A", "B"))

    assert section_of(directory, program)["environment"] == 'A="",B=""'


def test_words_with_spaces_and_per_cent_signs_arrive_as_they_are(directory):
    program = Program(name="api", command=("api", "a b", "50%", ""), rank=1)

    filled_in = section_of(directory, program)["command"] % {}
    assert tuple(shlex.split(filled_in)) == program.command


def test_programs_of_an_earlier_start_are_forgotten(directory):
    write_config(directory, [worker(1), worker(2)])

    write_config(directory, [worker(1)])

    assert [path.name for path in directory.programs.iterdir()] == ["worker-1.conf"]
