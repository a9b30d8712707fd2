"""What README.md and the other documents name exists."""

from __future__ import annotations

import re

import pytest
from typer.main import get_group

from core.settings import Settings
from ops.cli.main import app
from ops.stack.state import ROOT
from tests.repo.tree import PACKAGES, setting_names

README = (ROOT / "README.md").read_text()
INDEX = (ROOT / "docs" / "index.md").read_text()
SETTINGS = (ROOT / "docs" / "settings.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z-]+):", MAKEFILE, re.MULTILINE))
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def make_words(text):
    """Return the targets of `make X` in code, not of the English verb."""
    return set(re.findall(r"(?:`|^)make ([a-z-]+)", text, re.MULTILINE))


def settings_table():
    """Return the default that docs/settings.md gives for each setting."""
    rows = re.findall(r"^\| `((?:AETHER|GROQ)_\w+)` \| ([^|]*) \|", SETTINGS, re.MULTILINE)
    return {name: default.strip().strip("`") for name, default in rows}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_make_target_named_in_a_document_exists(document):
    assert make_words(document.read_text()) <= TARGETS


def test_every_make_target_explains_itself():
    assert set(re.findall(r"^([a-z-]+):.*## \S", MAKEFILE, re.MULTILINE)) == TARGETS


def test_the_checks_of_a_change_are_commands_that_the_readme_names():
    called = make_words((ROOT / ".ci" / "run").read_text())

    assert called == {"lint", "test"}
    assert called <= make_words(README)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_aether_command_named_in_a_document_exists(document):
    commands = set(get_group(app).commands)

    assert set(re.findall(r"(?:`|^|\./)aether ([a-z-]+)", document.read_text())) <= commands


def test_the_document_lists_every_setting_and_no_other():
    assert set(settings_table()) == setting_names()


def test_the_document_gives_the_defaults_that_the_settings_have():
    plain = {
        f"AETHER_{name.upper()}": field.default
        for name, field in Settings.model_fields.items()
        if isinstance(field.default, bool | int | float | str)
    }

    given = settings_table()
    assert {name: given.get(name) for name in plain} == {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in plain.items()
    }


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_to_a_file_leads_to_one(document):
    links = re.findall(r"\]\(([^)#:]+)\)", document.read_text())

    assert [link for link in links if not (document.parent / link).exists()] == []


@pytest.mark.parametrize("package", PACKAGES)
def test_the_index_says_what_each_package_is_for(package):
    assert re.search(rf"^{package}/ +\S", INDEX, re.MULTILINE)


def test_the_index_leads_to_every_document():
    linked = set(re.findall(r"\]\(([a-z-]+\.md)\)", INDEX))

    assert linked == {path.name for path in (ROOT / "docs").glob("*.md")} - {"index.md"}
