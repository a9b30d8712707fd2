"""Events as Redis holds them: entries of a stream, and lines of a message."""

from __future__ import annotations

from typing import Any

from core.events import Event


def from_entries(entries: Any) -> list[Event]:
    """Read the entries of a job's log, as XRANGE returns them."""
    return [
        Event(
            sequence=int(entry_id.partition(b"-")[0]),
            type=fields[b"t"].decode(),
            body=fields[b"b"],
        )
        for entry_id, fields in entries
    ]


def from_lines(message: bytes) -> list[Event]:
    """Read a message: each line is an event, `<sequence> <type> <body>`."""
    return [_from_line(line) for line in message.split(b"\n")]


def _from_line(line: bytes) -> Event:
    sequence, event_type, body = line.split(b" ", 2)
    return Event(sequence=int(sequence), type=event_type.decode(), body=body)
