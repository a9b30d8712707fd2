"""The broker's channel on a real Redis."""

from __future__ import annotations

from contextlib import closing

from kombu.connection import Connection

from workers.celery_guards import GuardedTransport


def test_a_channel_keeps_one_client_until_its_pool_is_replaced(redis_server):
    with closing(Connection(redis_server.url, transport=GuardedTransport)) as connection:
        channel = connection.channel()
        first, again = channel._create_client(), channel._create_client()
        assert first is again

        channel._disconnect_pools()
        renewed = channel._create_client()

        assert renewed is not first
        assert renewed.ping()


def test_the_clients_of_the_event_loop_have_connections_of_their_own(redis_server):
    with closing(Connection(redis_server.url, transport=GuardedTransport)) as connection:
        channel = connection.channel()

        assert channel.client is not channel._create_client()
        assert channel._create_client(asynchronous=True) is not channel.client
