"""The drill `restore`: a backup under load, then an empty machine that goes on from it."""

from __future__ import annotations

import random
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import httpx

from core.jobs import TERMINAL
from ops.client import ApiClient, checked
from ops.drills.actions import Found
from ops.drills.evidence import Violation
from ops.drills.load import Load, Tracked
from ops.drills.target import Target
from ops.stack.own import OwnStack, clean_environment
from ops.stack.readiness import wait_until
from ops.stack.state import ROOT, CannotRun

_COMMAND_WITHIN_S: Final = 120.0
_ENDS_WITHIN_S: Final = 180.0
_RECORDED_WITHIN_S: Final = 60.0
_CALL_WITHIN_S: Final = 15.0
_OPTIONS: Final = ("--workers", "2", "--no-sample", "--no-flower")
_IN_FLIGHT: Final = "wait for their record"


def restore_elsewhere(target: Target, load: Load, _: random.Random) -> Found:
    """Back up under load and go on from it on an empty machine: jobs end, sums agree, keys work."""
    user = _Registered(target.api_url)
    # The load goes on while the backup is made; only what came before it has to be in it.
    before = list(load.accepted)
    with own_folder() as folder:
        file, state = folder / "backup.tar.gz", folder / "state"
        yield _last_line(_aether("backup", str(file), state=target.directory.root))
        yield _last_line(_aether("restore", str(file), state=state))
        with OwnStack(state, *_OPTIONS, AETHER_LLM_URL=target.stub_url) as machine:
            yield from user.try_on(machine.url)
            yield from _jobs_end(load, before, machine.url)
            yield from _sums_agree(state)


class _Registered:
    """A user with a password and an API key, made on the first stack."""

    def __init__(self, api_url: str) -> None:
        email = f"drill-{secrets.token_hex(6)}@example.com"
        self._login = {"email": email, "password": secrets.token_urlsafe(16)}
        with _http(api_url) as http:
            tokens = checked(http.post("/api/auth/register", json=self._login))
            signed_in = {"Authorization": f"Bearer {tokens['access_token']}"}
            made = checked(http.post("/api/keys", json={"name": "drill"}, headers=signed_in))
        self._key = made["key"]

    def try_on(self, api_url: str) -> Found:
        """Log in with the password, and list jobs with the key."""
        with _http(api_url) as http:
            by_key = {"Authorization": f"Bearer {self._key}"}
            answers = {
                "password": http.post("/api/auth/login", json=self._login),
                "API key": http.get("/api/ai/v4/jobs", headers=by_key),
            }
        for what, answer in answers.items():
            if not answer.is_success:
                refusal = f"is refused on the new machine with his {what}: {answer.status_code}"
                yield Violation("a user", refusal)
        yield "a user tried his password and his API key on the new machine"


def _jobs_end(load: Load, jobs: Sequence[Tracked], api_url: str) -> Found:
    """Ask the new machine for these jobs, with the tokens that the first one gave."""
    with _clients(load, api_url) as client_of:

        def unfinished() -> list[str]:
            found = (client_of[job.user.id].find(job.job_id) for job in jobs)
            return [job["id"] for job in found if job and job["status"] not in TERMINAL]

        there = [job for job in jobs if client_of[job.user.id].find(job.job_id)]
        left = unfinished()
        wait_until(lambda: not unfinished(), _ENDS_WITHIN_S, "the restored jobs to end")
    yield f"{len(there)} jobs were restored, {len(left)} had not ended; all have ended now"
    if len(there) < len(jobs):
        lost = len(jobs) - len(there)
        yield Violation("the new machine", f"lacks {lost} jobs accepted before the backup")


@contextmanager
def _clients(load: Load, api_url: str) -> Iterator[dict[str, ApiClient]]:
    """Yield a client of the new machine for each user of the load, by user id."""
    clients = dict[str, ApiClient]()
    for user in load.users:
        client = ApiClient(api_url, user.authorization.removeprefix("Bearer "))
        # The new machine's database has a state of the session of its own.
        client.refresh_token = user.refresh_token
        clients[user.id] = client
    try:
        yield clients
    finally:
        for client in clients.values():
            client.close()


def _sums_agree(state: Path) -> Found:
    verified: list[subprocess.CompletedProcess[str]] = []

    def is_recorded() -> bool:
        verified.append(_aether("ledger", "verify", state=state, may_fail=True))
        return _IN_FLIGHT not in verified[-1].stdout

    wait_until(is_recorded, _RECORDED_WITHIN_S, "the restored jobs to be recorded")
    yield f"the new machine's ledger: {' '.join(verified[-1].stdout.split())}"
    if verified[-1].returncode:
        yield Violation("the new machine's ledger", verified[-1].stderr.strip())


def _aether(*words: str, state: Path, may_fail: bool = False) -> subprocess.CompletedProcess[str]:
    """Run a command as an operator would.

    Raises:
        CannotRun: it failed, and may not.
    """
    done = subprocess.run(
        [sys.executable, "-m", "ops.cli", *words, "--state", str(state)],
        cwd=ROOT,
        env=clean_environment(),
        capture_output=True,
        text=True,
        timeout=_COMMAND_WITHIN_S,
        check=False,
    )
    if done.returncode and not may_fail:
        raise CannotRun(f"aether {words[0]} failed: {done.stderr.strip()}")
    return done


def _last_line(done: subprocess.CompletedProcess[str]) -> str:
    lines = [line for line in done.stdout.splitlines() if "sign in" not in line]
    return lines[-1] if lines else ""


@contextmanager
def own_folder() -> Iterator[Path]:
    """Yield a folder whose path is short enough for a stack, and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="aether-")).resolve()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _http(api_url: str) -> httpx.Client:
    return httpx.Client(base_url=api_url, timeout=_CALL_WITHIN_S, trust_env=False)
