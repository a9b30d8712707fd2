"""Everything that `aether` prints: what comes from outside cannot steer the terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable
from typing import Final

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

#: Control characters but line feed and tab, and those that reverse the order of a line's text.
_CONTROLS: Final = dict.fromkeys(
    set(range(0x20)) - {ord("\n"), ord("\t")}
    | set(range(0x7F, 0xA0))
    | set(range(0x202A, 0x202F))
    | set(range(0x2066, 0x206A))
    | set(range(0xD800, 0xE000)),
    None,
)


def printable(text: str) -> str:
    """Return the text without the characters that a terminal would obey instead of show."""
    return text.translate(_CONTROLS)


def say(text: object = "", *, err: bool = False) -> None:
    """Print a text and a line's end, to standard error if `err`."""
    write(f"{text}\n", err=err)


def write(text: str, *, err: bool = False, is_whole: bool = False) -> None:
    """Print a text at once, without control characters; with them if `is_whole`, for pipes."""
    stream = sys.stderr if err else sys.stdout
    stream.write(text if is_whole else printable(text))
    stream.flush()


class PlainConsole(Console):
    """A console whose texts hold no control characters but those of its own styles."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            text, style, control = segment
            yield segment if control else Segment(printable(text), style)
