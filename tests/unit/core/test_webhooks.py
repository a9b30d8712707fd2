"""Whom webhooks may call, and when a delivery is tried again."""

from __future__ import annotations

from ipaddress import ip_address

import pytest

from core.jobs import JobStatus
from core.webhook_errors import InvalidWebhook, WebhookNotHttps, WebhookNotPublic
from core.webhooks import (
    TRIED_FOR_MS,
    Delivery,
    Reachable,
    event_of,
    is_public,
    message_id,
    next_try_ms,
)

PRIVATE = [
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "127.8.9.10",
    "169.254.169.254",
    "172.16.0.1",
    "192.0.0.8",
    "192.0.2.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "240.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::127.0.0.1",
    "::ffff:127.0.0.1",
    "::ffff:169.254.169.254",
    "64:ff9b::7f00:1",
    "64:ff9b:1::a00:1",
    "2001:0:1::",
    "2001:db8::1",
    "2002:7f00:1::",
    "fc00::1",
    "fd00:ec2::254",
    "fe80::1",
    "fe80::1%eth0",
    "fec0::1",
    "ff02::1",
]
PUBLIC = ["8.8.8.8", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::", "2606:4700::1111"]


def delivery(**changes):
    fields = {
        "id": "msg_1",
        "user_id": "usr_1",
        "job_id": "job_1",
        "url": "https://hooks.example.com:8443/x",
        "type": "job.completed",
        "status": "pending",
        "attempts": 1,
        "created_ms": 0,
        "since_ms": 0,
    }
    return Delivery(**(fields | changes))


@pytest.mark.parametrize("text", PRIVATE)
def test_an_address_inside_is_not_public(text):
    assert not is_public(ip_address(text))
    assert not Reachable().allows("hooks.example.com", ip_address(text))


@pytest.mark.parametrize("text", PUBLIC)
def test_an_address_of_the_internet_is_public(text):
    assert is_public(ip_address(text))


@pytest.mark.parametrize(
    "url",
    [
        "https://hooks.example.com",
        "https://hooks.example.com./x",
        "HTTPS://Hooks.Example.COM:8443/x?y=1#z",
        "https://8.8.8.8/x",
        "https://[2606:4700::1111]:443/",
        "https://xn--bcher-kva.example/",
    ],
)
def test_a_public_https_url_is_taken(url):
    assert Reachable().check_url(url) == url


@pytest.mark.parametrize(
    ("url", "error"),
    [
        ("http://hooks.example.com", WebhookNotHttps),
        ("ftp://hooks.example.com", WebhookNotHttps),
        ("hooks.example.com", WebhookNotHttps),
        ("javascript:alert(1)", WebhookNotHttps),
        ("file:///etc/passwd", WebhookNotHttps),
        ("https://localhost/x", WebhookNotPublic),
        ("https://api.localhost/x", WebhookNotPublic),
        ("https://metadata.google.internal/", WebhookNotPublic),
        ("https://printer.local/", WebhookNotPublic),
        ("https://router.home.arpa/", WebhookNotPublic),
        ("https://redis/", WebhookNotPublic),
        ("https://127.0.0.1/", WebhookNotPublic),
        ("https://[::ffff:10.0.0.1]/", WebhookNotPublic),
        ("https://169.254.169.254/latest/meta-data", WebhookNotPublic),
        ("https://2130706433/", InvalidWebhook),
        ("https://0x7f.1/", InvalidWebhook),
        ("https://127.1/", InvalidWebhook),
        ("https://user:password@hooks.example.com/", InvalidWebhook),
        ("https://@hooks.example.com/", InvalidWebhook),
        ("https://hooks.example.com:0/", InvalidWebhook),
        ("https://hooks.example.com:99999/", InvalidWebhook),
        ("https://hooks..example.com/", InvalidWebhook),
        ("https://-hooks.example.com/", InvalidWebhook),
        ("https://[::1", InvalidWebhook),
        ("https:///x", InvalidWebhook),
        ("https://hooks.example.com\\@127.0.0.1/", InvalidWebhook),
        ("https://hooks.example.com/a b", InvalidWebhook),
        ("https://hooks.example.com/\n", InvalidWebhook),
        ("https://bücher.example/", InvalidWebhook),
        ("https://hooks.example.com/" + "x" * 2_048, InvalidWebhook),
    ],
)
def test_any_other_is_refused_with_its_own_error(url, error):
    with pytest.raises(InvalidWebhook if error is InvalidWebhook else error) as refused:
        Reachable().check_url(url)

    assert type(refused.value) is error
    assert refused.value.field == "webhook"


def test_what_is_allowed_may_be_called_although_it_is_inside():
    reachable = Reachable(["10.0.0.0/8", "fd00::1", "hooks.internal"])

    assert reachable.check_url("https://10.9.8.7:8443/x")
    assert reachable.check_url("https://[fd00::1]/x")
    assert reachable.check_url("https://Hooks.internal/x")
    assert reachable.allows("anything.example.com", ip_address("10.1.1.1"))
    assert reachable.allows("hooks.internal", ip_address("192.168.1.1"))
    assert not reachable.allows("other.internal", ip_address("192.168.1.1"))
    assert not reachable.allows("anything.example.com", ip_address("fd00::2"))


def test_pauses_grow_and_end_after_a_day():
    pauses = [next_try_ms(delivery(attempts=n), 0) for n in range(1, 12)]

    assert all(pauses)
    assert 4_000 <= pauses[0] <= 6_000
    assert 24_000 <= pauses[1] <= 36_000
    assert 5_760_000 <= pauses[-1] <= 8_640_000
    assert next_try_ms(delivery(attempts=9), TRIED_FOR_MS - 1_000) is None
    assert next_try_ms(delivery(attempts=1), TRIED_FOR_MS - 10_000) is not None
    # One that was sent again has another day.
    assert next_try_ms(delivery(since_ms=TRIED_FOR_MS), TRIED_FOR_MS + 5) is not None


def test_a_receiver_may_ask_for_a_longer_pause_up_to_an_hour():
    assert next_try_ms(delivery(), 0, asked_s=600) == 600_000
    assert next_try_ms(delivery(), 0, asked_s=1e9) == 3_600_000
    assert next_try_ms(delivery(attempts=6), 0, asked_s=1) > 1_000_000


def test_a_message_is_named_after_its_job():
    assert message_id("job_" + "a" * 32) == "msg_" + "a" * 32
    assert [event_of(status) for status in (JobStatus.COMPLETED, JobStatus.CANCELLED)] == [
        "job.completed",
        "job.cancelled",
    ]
    assert delivery().host == "hooks.example.com:8443"


@pytest.mark.parametrize(
    "spelling", ["hooks.example.com", "HOOKS.example.com.", "hooks.example.com:443"]
)
def test_a_receiver_is_one_however_its_url_is_spelt(spelling):
    assert delivery(url=f"https://{spelling}/x").host == "hooks.example.com:443"
