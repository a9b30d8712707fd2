"""Readers that follow jobs' streams as a good client does: who is cut off comes back."""

from __future__ import annotations

import contextlib
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx

from core.events import JOB_SNAPSHOT, TERMINAL_TYPES
from tests.api_client import JOBS, ApiClient, read_events

_RECONNECT_S = 0.2


class Readers:
    """A reader for each job, on threads of their own from its making on.

    Attributes:
        returns: how often a reader was cut off and came back with its last number.
    """

    def __init__(self, owners: dict[str, ApiClient]) -> None:
        self.returns = 0
        self._seen: dict[str, list[dict[str, Any]]] = {job_id: [] for job_id in owners}
        self._is_over = threading.Event()
        self._pool = ThreadPoolExecutor(len(owners), "reader")
        self._futures = [self._pool.submit(self._follow, *pair) for pair in owners.items()]

    def close(self) -> None:
        self._is_over.set()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def have_text(self) -> bool:
        """Say whether every reader has had the first words of its answer."""
        return all(
            any(event["type"] == "answer.delta" for event in seen) for seen in self._seen.values()
        )

    def streams(self, within_s: float = 60.0) -> dict[str, list[dict[str, Any]]]:
        """Return what each reader was told, from the first event to the terminal one."""
        for future in self._futures:
            future.result(within_s)
        return self._seen

    def _follow(self, job_id: str, user: ApiClient) -> None:
        seen = self._seen[job_id]
        while not self._is_over.is_set():
            with contextlib.suppress(httpx.HTTPError):
                self._read(job_id, user)
            if seen and seen[-1]["type"] in TERMINAL_TYPES | {JOB_SNAPSHOT}:
                return
            self.returns += 1
            self._is_over.wait(_RECONNECT_S)

    def _read(self, job_id: str, user: ApiClient) -> None:
        seen = self._seen[job_id]
        headers = {"Last-Event-ID": str(seen[-1]["sequence"])} if seen else {}
        url = f"{JOBS}/{job_id}/events"
        with user.http.stream("GET", url, headers=headers) as response:
            response.raise_for_status()
            for event in read_events(response.iter_lines()):
                seen.append(event)
                if self._is_over.is_set():
                    return


def gaps_in(streams: dict[str, list[dict[str, Any]]]) -> dict[str, list[int]]:
    """Return the numbers of every stream that was not told 1, 2, 3 … to one terminal event."""
    return {
        job_id: [event["sequence"] for event in events]
        for job_id, events in streams.items()
        if [event["sequence"] for event in events] != list(range(1, len(events) + 1))
        or [event["type"] in TERMINAL_TYPES for event in events]
        != [False] * (len(events) - 1) + [True]
    }
