"""The router's data file."""

from __future__ import annotations

import pytest

from core.models import TIERS
from core.policy_version import policy_version
from core.routing_rules import RULES_FILE, read_rules

SHIPPED = RULES_FILE.read_text()


@pytest.fixture
def own_file(tmp_path):
    def write(text):
        path = tmp_path / "routing.toml"
        path.write_text(text)
        return path

    return write


def test_the_shipped_file_is_read_unless_another_one_is_named(own_file):
    own = own_file(SHIPPED.replace("standard = 0.33", "standard = 0.5"))

    assert read_rules().tiers["standard"] == 0.33
    assert read_rules(own).tiers["standard"] == 0.5
    assert list(read_rules().tiers) == list(TIERS)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("bias = ", "Invalid"),
        ("bias = 0.1", "no features"),
        (SHIPPED.replace("bias = -", "bias = 'x' #"), "bias"),
        (SHIPPED.replace("[features.demands]", "[features.wishes]"), "no features.demands"),
        (SHIPPED.replace("deep = 0.62", ""), "no tiers.deep"),
        (SHIPPED.replace('pulls = "harder"', 'pulls = "up"'), "pulls"),
    ],
)
def test_a_file_that_is_none_of_the_router_is_refused_with_its_name(own_file, text, problem):
    path = own_file(text)

    with pytest.raises(ValueError, match=problem) as refused:
        read_rules(path)

    assert str(path) in str(refused.value)


def test_a_missing_file_is_refused_with_its_name(tmp_path):
    with pytest.raises(ValueError, match=r"absent\.toml"):
        read_rules(tmp_path / "absent.toml")


def test_the_version_changes_with_the_bytes_of_the_file(own_file, tmp_path):
    same, other = tmp_path / "a" / "routing.toml", own_file(SHIPPED + "# mine")
    same.parent.mkdir()
    same.write_text(SHIPPED)

    assert policy_version(same) == policy_version() != policy_version(other)
