"""Jobs that ask the same: one leads, the others hand over their claims, nobody is forgotten."""

from __future__ import annotations

import pytest

from storage import keys
from storage.jobs.attempts import Claim
from storage.limits.single_flight import Flight, Flights, Role
from tests.jobs import make_spec

NAME = "f" * 64


@pytest.fixture
def flights(redis_client):
    return Flights(redis_client, silence_s=5)


def make_claim(fence):
    return Claim(spec=make_spec(), fence=fence, attempt=1, accepted_ms=0)


def enter(flights, token, **how):
    return flights.enter(Flight(NAME, token), make_claim(token), **how)


def fences(claims):
    return [claim.fence for claim in claims]


def test_first_leads_and_is_given_the_claims_of_the_others(flights):
    leader = Flight(NAME, "a")

    roles = [enter(flights, token).role for token in "abc"]

    assert roles == [Role.LEAD, Role.FOLLOW, Role.FOLLOW]
    assert fences(flights.tick([leader])[0]) == ["b", "c"]
    assert flights.tick([leader]) == [[]]


def test_claims_that_came_late_are_given_at_the_end(flights):
    for token in "abc":
        enter(flights, token)

    assert fences(flights.close(Flight(NAME, "a"), b"", is_crowd=False)) == ["b", "c"]
    assert enter(flights, "d").role is Role.LEAD


def test_answer_is_given_to_who_comes_just_after_it(flights):
    enter(flights, "a")
    answer = b"\x00kept:\xff"
    flights.close(Flight(NAME, "a"), answer, is_crowd=True)

    entered = enter(flights, "b")

    assert (entered.role, entered.answer) == (Role.ANSWERED, answer)


def test_one_leads_again_when_nobody_has_use_for_the_answer(flights):
    enter(flights, "a")
    flights.close(Flight(NAME, "a"), b"kept", is_crowd=True)

    roles = [enter(flights, token, wants_new=True).role for token in "bcd"]

    assert roles == [Role.LEAD, Role.FOLLOW, Role.FOLLOW]


def test_another_leads_when_the_leader_is_silent(flights, redis_client):
    enter(flights, "a")
    enter(flights, "b")
    redis_client.delete(keys.flight(NAME)[0])

    assert enter(flights, "c").role is Role.LEAD
    assert flights.tick([Flight(NAME, "a")]) == [[]]
    assert flights.close(Flight(NAME, "a"), b"late", is_crowd=True) == []
    assert fences(flights.tick([Flight(NAME, "c")])[0]) == ["b"]


@pytest.mark.parametrize(("is_crowd", "longest_ms"), [(False, 2_000), (True, 30_000)])
def test_answer_is_handed_out_for_longer_when_many_asked(
    is_crowd, longest_ms, flights, redis_client
):
    enter(flights, "a")

    flights.close(Flight(NAME, "a"), b"kept", is_crowd=is_crowd)

    assert longest_ms / 2 < redis_client.pttl(keys.flight(NAME)[0]) <= longest_ms
