"""A reader of event streams, as the HTML standard defines them (section "Server-sent events").

It knows nothing of chat: bytes in any pieces become events.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Final

from msgspec import Struct

#: A longer line, or event of several lines, is refused: a server must not fill the memory.
MAX_LINE_BYTES: Final = 1 << 20
#: Lines end at CR LF, LF or CR and nowhere else: U+2028 and the like are text.
_LINE_END: Final = re.compile(rb"\r\n|\n|\r")


class StreamTooLong(Exception):
    """A line or an event of the stream is longer than its bound."""


class Event(Struct, frozen=True):
    """One event; its data is not empty, and `type` is `message` where the server gave none."""

    data: str
    type: str = "message"


class EventReader:
    """Turns the bytes of one stream into events; bytes that are no UTF-8 become U+FFFD.

    Args:
        on_other: gets each line whose field the standard does not know, and would ignore.
    """

    def __init__(self, on_other: Callable[[str], None] | None = None) -> None:
        self._on_other = on_other
        self._rest = bytearray()
        self._is_first_line = True
        self._ended_in_cr = False
        self._type = ""
        self._data: list[str] = []
        self._data_chars = 0

    def events(self, pieces: Iterable[bytes]) -> Iterator[Event]:
        """Yield the events of the pieces.

        The standard drops an event that the stream ends in; here it is the last one, since servers
        omit the final empty line.

        Raises:
            StreamTooLong: a line or an event exceeds `MAX_LINE_BYTES`.
        """
        for piece in pieces:
            yield from self._feed(piece)
        if self._rest:
            yield from self._take_line(bytes(self._rest))
        yield from self._dispatch()

    def _feed(self, piece: bytes) -> Iterator[Event]:
        # A line ended at the CR that was the last byte so far; its LF begins no other line.
        if self._ended_in_cr and piece:
            piece = piece.removeprefix(b"\n")
            self._ended_in_cr = False
        start = 0
        for end in _LINE_END.finditer(piece):
            self._keep(piece[start : end.start()])
            line = bytes(self._rest)
            self._rest.clear()
            start = end.end()
            self._ended_in_cr = start == len(piece) and end[0] == b"\r"
            yield from self._take_line(line)
        self._keep(piece[start:])

    def _keep(self, part: bytes) -> None:
        if len(self._rest) + len(part) > MAX_LINE_BYTES:
            raise StreamTooLong
        self._rest += part

    def _take_line(self, line: bytes) -> Iterator[Event]:
        if self._is_first_line:
            self._is_first_line = False
            line = line.removeprefix(codecs.BOM_UTF8)
        if not line:
            yield from self._dispatch()
        elif not line.startswith(b":"):
            self._take_field(line.decode(errors="replace"))

    def _take_field(self, line: str) -> None:
        name, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if name == "data":
            self._data_chars += len(value) + 1
            if self._data_chars > MAX_LINE_BYTES:
                raise StreamTooLong
            self._data.append(value)
        elif name == "event":
            self._type = value
        elif name not in ("id", "retry") and self._on_other is not None:
            self._on_other(line)

    def _dispatch(self) -> Iterator[Event]:
        data, type_ = "\n".join(self._data), self._type or "message"
        self._data, self._data_chars, self._type = [], 0, ""
        if data:
            yield Event(data, type_)
