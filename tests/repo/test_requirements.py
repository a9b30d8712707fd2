"""The locks hold what pyproject.toml asks for, complete and checked by hashes."""

from __future__ import annotations

import json
import re
import subprocess
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from ops.stack.state import ROOT

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
RUN = PROJECT["project"]["dependencies"]
GROUPS = PROJECT["dependency-groups"]
#: What each lock is compiled from.
LOCKS = {
    "requirements.txt": RUN,
    "requirements-dev.txt": [*RUN, *GROUPS["embedded"], *GROUPS["dev"]],
    "bench/requirements-litellm.txt": GROUPS["litellm"],
}


def blocks_of(lock):
    """Return each pin's lines: the requirement, its hashes and who asked for it."""
    text = (ROOT / lock).read_text()
    return re.findall(r"^[\w.-]+==.*(?:\n .*)+", text, re.MULTILINE)


def pins_of(lock):
    """Return the lock's requirements by the names of their packages."""
    heads = (Requirement(block.split("\\")[0]) for block in blocks_of(lock))
    return {canonicalize_name(pin.name): pin for pin in heads}


def version_of(pin):
    (specifier,) = pin.specifier
    return specifier.version


@pytest.mark.parametrize("lock", LOCKS)
def test_every_pin_of_a_lock_has_hashes(lock):
    blocks = blocks_of(lock)

    assert len(blocks) == len(re.findall(r"^[^\s#]", (ROOT / lock).read_text(), re.MULTILINE))
    assert [block for block in blocks if "--hash=sha256:" not in block] == []


@pytest.mark.parametrize(("lock", "asked"), LOCKS.items())
def test_a_lock_pins_what_the_project_asks_for(lock, asked):
    pins = pins_of(lock)

    for requirement in map(Requirement, asked):
        version = version_of(pins[canonicalize_name(requirement.name)])
        assert requirement.specifier.contains(version, prereleases=True), requirement


def test_the_lock_for_tests_holds_what_the_image_installs_in_the_same_versions():
    image = {name: version_of(pin) for name, pin in pins_of("requirements.txt").items()}
    tests = {name: version_of(pin) for name, pin in pins_of("requirements-dev.txt").items()}

    assert image.items() <= tests.items()


def test_the_embedded_parts_bring_nothing_along():
    """`make run` installs the pins that the group names, and nothing that these would require."""
    embedded = {canonicalize_name(Requirement(line).name) for line in GROUPS["embedded"]}

    asking = set()
    for block in blocks_of("requirements-dev.txt"):
        asking |= set(re.findall(r"[\w.-]+", block.partition("# via ")[2]))
    assert embedded & asking == set()


def test_the_bill_of_materials_lists_every_package_of_the_image(tmp_path):
    bill = tmp_path / "sbom.json"

    subprocess.run(
        [
            *("make", "--silent", "--assume-old=.venv/.stamp-dev", "sbom"),
            # The program takes a quarter of a minute to check its own output.
            *(f"SBOM={bill}", "OPTIONS=--no-validate"),
        ],
        cwd=ROOT,
        timeout=300,
        check=True,
    )

    components = json.loads(bill.read_text())["components"]
    listed = {canonicalize_name(part["name"]): part["version"] for part in components}
    installed = {
        name: version_of(pin)
        for name, pin in pins_of("requirements.txt").items()
        if pin.marker is None or pin.marker.evaluate()
    }
    assert installed
    assert installed.items() <= listed.items()
