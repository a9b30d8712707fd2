"""Nothing in the tree is a secret, a path of somebody's machine or an index of packages."""

from __future__ import annotations

import re

import pytest

from tests.repo.tree import tracked_texts

FORBIDDEN = {
    "Groq key": re.compile(r"\bgsk_[A-Za-z0-9]{20,}"),
    "OpenAI-like key": re.compile(r"\bsk-[A-Za-z0-9]{20,}"),
    "private key": re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----"),
    "signed token": re.compile(r"\beyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{40,}"),
    "cloud key": re.compile(r"\bAKIA[0-9A-Z]{16}\b"),
    "random value given to a secret": re.compile(
        r"(?i)(?:secret|password|api_key|token)[\"']?\s*[:=]\s*[\"']?(?=[\w-]*\d)(?=[\w-]*[A-Z])[\w-]{40,}"
    ),
    "path of a machine": re.compile(
        r"(?<![\w.])/(?:tmp/lab|work/main|work/shared|root|home/\w+|Users/\w+)/"
    ),
    "index of packages": re.compile(
        r"(?i)\bpypi\.org|files\.pythonhosted\.org|--(?:extra-)?index-url"
    ),
}
#: This file spells out what it looks for.
EXCEPT = {"tests/repo/test_secrets_in_tree.py"}


@pytest.mark.parametrize("what", FORBIDDEN)
def test_the_tree_holds_no(what):
    found = [
        f"{name}: {match[0][:60]}"
        for name, text in tracked_texts().items()
        if name not in EXCEPT
        for match in FORBIDDEN[what].finditer(text)
    ]

    assert found == []


def test_what_a_stack_writes_is_never_tracked():
    assert [name for name in tracked_texts() if name.startswith(("var/", ".venv/", ".env"))] == []
