"""A program's log file: its end, and what is written to it from now on, across rotations."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

_POLL_S: Final = 0.3


def tail(path: Path, lines: int) -> list[str]:
    """Return a file's last lines; none if it does not exist."""
    try:
        with path.open(errors="replace") as file:
            return [line.rstrip("\n") for line in deque(file, maxlen=lines)]
    except FileNotFoundError:
        return []


def follow(path: Path) -> Iterator[str]:
    """Yield what is appended to `path` from now on, without end; waits while there is nothing."""
    file = path.open(errors="replace")
    try:
        file.seek(0, 2)
        while True:
            text = file.read()
            if text:
                yield text
                continue
            time.sleep(_POLL_S)
            if _is_replaced(path, file.fileno()):
                file.close()
                file = path.open(errors="replace")
    finally:
        file.close()


def _is_replaced(path: Path, open_file: int) -> bool:
    """Return whether the name means another file now; supervisor rotates by renaming."""
    try:
        return not os.path.samestat(path.stat(), os.fstat(open_file))
    except FileNotFoundError:
        return False
