"""The ledger's commands on a running stack."""

from __future__ import annotations

import pytest

from tests.services import wait_until

pytestmark = pytest.mark.e2e


def test_ledger_and_sums_agree_when_a_user_s_jobs_have_ended(api, stack):
    jobs = [api.ask(f"What is a queue? {n}") for n in range(3)]
    paid = sum(job["cost"]["usd"] for job in jobs)

    def verify(*words):
        return stack.aether("ledger", "verify", "--user", api.id, *words)

    wait_until(lambda: ": 3 ended jobs" in verify().stdout, 20, "the records")
    found = verify()
    spent = api.http.get("/api/subscription").json()["usage"]["month_spent_usd"]

    assert (found.returncode, "All agree." in found.stdout) == (0, True)
    assert spent == pytest.approx(paid)
    assert verify("--month", "202613").returncode == 2


def test_sums_are_set_by_the_ledger(api, stack):
    api.ask("What is a queue?")

    wait_until(lambda: stack.aether("ledger", "rebuild").returncode == 0, 60, "the records")

    assert stack.aether("ledger", "verify", "--user", api.id).returncode == 0
