"""Group commit: concurrent writers share a batch; each waits for its own acknowledgement."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

from core.errors import ServiceUnavailable

Item = TypeVar("Item")


class GroupCommit(Generic[Item]):
    """Collects items while a batch is being written and writes them together in the next.

    An item that finds no batch being written is written at once, so a lone writer never waits.

    Args:
        write: stores a batch, and may be asked again to store parts of it. ServiceUnavailable
            reaches every writer of the batch, another error only those whose item raises it alone.
        max_batch: most items of one batch.
    """

    def __init__(self, write: Callable[[Sequence[Item]], None], *, max_batch: int) -> None:
        self._write = write
        self._max_batch = max_batch
        self._turn = threading.Lock()
        self._waiting: list[_Slot[Item]] = []

    def commit(self, item: Item) -> None:
        """Return once the batch with the item is stored; raise what storing it raised."""
        slot = _Slot(item)
        self._waiting.append(slot)
        with self._turn:
            # The lock's holder writes for all who wait, so the item may be stored by now.
            if not slot.is_done:
                self._write_batch()
        if slot.error is not None:
            raise slot.error

    def _write_batch(self) -> None:
        batch = self._waiting[: self._max_batch]
        del self._waiting[: self._max_batch]
        error = self._try([slot.item for slot in batch])
        if isinstance(error, ServiceUnavailable):
            # The others would each wait as long again for the same error.
            batch += self._waiting
            self._waiting.clear()
        # One item that cannot be stored must not fail the writers of the others.
        is_split = (
            error is not None and not isinstance(error, ServiceUnavailable) and len(batch) > 1
        )
        for slot in batch:
            slot.error = self._try([slot.item]) if is_split else error
            slot.is_done = True

    def _try(self, items: Sequence[Item]) -> Exception | None:
        try:
            self._write(items)
        except Exception as failure:
            return failure
        return None


class _Slot(Generic[Item]):
    __slots__ = ("error", "is_done", "item")

    def __init__(self, item: Item) -> None:
        self.item = item
        self.is_done = False
        self.error: Exception | None = None
