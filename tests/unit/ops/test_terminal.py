"""What comes from outside cannot steer the terminal, whichever way it is printed."""

from __future__ import annotations

import io

import pytest
from rich.table import Table
from rich.text import Text

from ops.terminal import PlainConsole, printable, say, write

HOSTILE = [
    "\x1b[31mred",
    "\x1b]0;title\x07",
    "\x1b]8;;http://evil.example\x1b\\link",
    "\x9b31m",
    "back\x08\x08",
    "over\rwritten",
    "\x1bc",
    "\u202egnp.exe",
    "\u2066isolated\u2069",
    "\x00\x7f\x85",
]
FORBIDDEN = {
    "\x1b",
    "\x9b",
    "\x07",
    "\x08",
    "\r",
    "\x00",
    "\x7f",
    "\x85",
    "\u202e",
    "\u2066",
    "\u2069",
}


def steering(text):
    return FORBIDDEN & set(text)


def test_lines_tabs_and_every_script_are_printed_as_they_are():
    text = "a\tb\nc \u05d0\u200f \U0001f469\u200d\U0001f680 \u2028 é"

    assert printable(text + "\x00\x7f") == text


@pytest.mark.parametrize("text", HOSTILE)
def test_said_text_does_not_steer(text, capsys):
    say(text)
    write(text, err=True)

    printed = capsys.readouterr()
    assert not steering(printed.out + printed.err)


@pytest.mark.parametrize("text", HOSTILE)
@pytest.mark.parametrize("wrap", [str, Text, lambda text: _table_of(text)])
def test_a_console_prints_no_control_characters_of_its_texts(text, wrap):
    out = io.StringIO()
    console = PlainConsole(file=out, force_terminal=False)

    console.print(wrap(text), markup=False)
    console.rule(text)

    assert not steering(out.getvalue())


def test_a_console_keeps_its_own_styles():
    out = io.StringIO()

    PlainConsole(file=out, force_terminal=True, color_system="standard").print("[red]no\x1b[2J[/]")

    assert "\x1b[31m" in out.getvalue()
    assert "\x1b[2J" not in out.getvalue()


def test_a_pipe_gets_an_answer_byte_for_byte(capsys):
    write("\x1b[31m", is_whole=True)

    assert capsys.readouterr().out == "\x1b[31m"


def _table_of(text):
    table = Table("heading")
    table.add_row(text)
    return table
