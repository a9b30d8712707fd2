"""Passwords are argon2id with the agreed parameters."""

from __future__ import annotations

import subprocess
import sys

import pytest
from argon2 import PasswordHasher, extract_parameters
from argon2.low_level import Type

from web.accounts.passwords import Passwords


@pytest.fixture(scope="module")
def passwords():
    return Passwords()


def test_hash_has_the_agreed_parameters_when_it_is_made(passwords):
    parameters = extract_parameters(passwords.hash("correct horse"))

    assert parameters.type is Type.ID
    assert (parameters.time_cost, parameters.memory_cost, parameters.parallelism) == (2, 19456, 1)


def test_password_is_right_only_when_it_is_the_same(passwords):
    password_hash = passwords.hash("correct horse")

    assert passwords.verify(password_hash, "correct horse")
    assert not passwords.verify(password_hash, "correct horse ")
    assert not passwords.verify("no hash at all", "correct horse")


def test_no_password_is_right_when_there_is_no_user(passwords):
    assert not passwords.verify(None, "nobody's password")


def test_rehash_is_wanted_when_the_parameters_have_changed(passwords):
    weaker = PasswordHasher(time_cost=1, memory_cost=8 * 1024, parallelism=1)

    assert passwords.needs_rehash(weaker.hash("correct horse"))
    assert not passwords.needs_rehash(passwords.hash("correct horse"))


def test_other_greenlets_go_on_when_a_password_is_hashed():
    program = """
from gevent import monkey
monkey.patch_all()
import gevent
from web.accounts.passwords import Passwords
passwords, ticks = Passwords(), []
def tick():
    while True:
        ticks.append(1)
        gevent.sleep(0.001)
ticker = gevent.spawn(tick)
gevent.joinall([gevent.spawn(passwords.hash, "correct horse") for _ in range(4)])
print(len(ticks))
"""

    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)

    assert int(done.stdout) > 10
