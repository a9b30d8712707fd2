"""Processor time of the parts under test, and of everything else on the machine."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Self

import psutil

Parts = dict[str, list[psutil.Process]]


@dataclass(frozen=True)
class Sample:
    """Processor seconds used so far, by part and on the whole machine, at one moment."""

    at_s: float
    parts: dict[str, float]
    machine: float

    @classmethod
    def take(cls, parts: Parts) -> Self:
        """Read the counters.

        Raises:
            RuntimeError: a process of a part has ended.
        """
        try:
            used = {name: sum(map(_used_s, processes)) for name, processes in parts.items()}
        except psutil.NoSuchProcess as gone:
            raise RuntimeError(f"a process ended during the measurement: {gone}") from gone
        times = psutil.cpu_times()
        machine = times.user + times.system + getattr(times, "nice", 0.0)
        return cls(time.monotonic(), used, machine)

    def per_job_ms(self, before: Sample, jobs: int) -> dict[str, float]:
        return {
            name: (used - before.parts[name]) * 1000 / max(jobs, 1)
            for name, used in self.parts.items()
        }

    def others_cores(self, before: Sample) -> float:
        """Return how many cores processes of no part used; interrupts are not counted."""
        ours = sum(self.parts.values()) - sum(before.parts.values())
        return max(0.0, (self.machine - before.machine - ours) / (self.at_s - before.at_s))


def _used_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return times.user + times.system
