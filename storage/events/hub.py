"""One subscription connection per process, however many clients listen.

Pub/sub may lose messages: a listener with a gap reads the log again.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, TypeVar

from redis.exceptions import ConnectionError, TimeoutError

from core.errors import CoordinatorUnavailable
from core.loops import Loop
from storage import keys
from storage.events.log import EventLog
from storage.events.subscribers import EndListener, Listener, Published, Subscriber
from storage.failures import coordinator_errors

if TYPE_CHECKING:
    from redis import Redis
    from redis.client import PubSub

_CONFIRM_TIMEOUT_S: Final = 3.0
_RECONNECT_S: Final = 0.5
#: How long one wait for a message lasts, and so how soon a close is noticed, in seconds.
_WAIT_S: Final = 1.0
#: How often the listener for cancels shows that it is alive, in seconds.
_CANCEL_WAIT_S: Final = 5.0
#: Keeps the connection subscribed to something, so that reading it is possible from the start.
_IDLE_CHANNEL: Final = "aether:hub"

_Subscriber = TypeVar("_Subscriber", bound=Subscriber)


class EventHub:
    """Passes each event that a job script publishes to every listener of its job."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        self._listeners: dict[bytes, set[Subscriber]] = {}
        self._lock = threading.Lock()
        self._pubsub: PubSub | None = None
        self._is_draining = False
        # Not started before the first use: a thread from before the server forks is not in its
        # child.
        self.loop = Loop("event-hub", self._read_until_broken, every_s=_RECONNECT_S)

    @contextmanager
    def listen(self, job_id: str) -> Iterator[Listener]:
        """Subscribe to a job; the block begins when Redis has confirmed the subscription.

        A read of the log within the block and the listener together therefore miss nothing.

        Raises:
            CoordinatorUnavailable: Redis did not confirm in time.
        """
        with self._subscribed(job_id, Listener()) as listener:
            yield listener

    @contextmanager
    def listen_for_end(self, job_id: str) -> Iterator[EndListener]:
        """Subscribe to a job's end; as `listen`, but no event of the job is decoded.

        Raises:
            CoordinatorUnavailable: Redis did not confirm in time.
        """
        with self._subscribed(job_id, EndListener()) as listener:
            yield listener

    @contextmanager
    def _subscribed(self, job_id: str, listener: _Subscriber) -> Iterator[_Subscriber]:
        channel = EventLog.channel(job_id).encode()
        self.loop.start()
        self._add(channel, listener)
        try:
            if not listener.is_confirmed.wait(_CONFIRM_TIMEOUT_S):
                raise CoordinatorUnavailable
            yield listener
        finally:
            self._remove(channel, listener)

    @property
    def is_draining(self) -> bool:
        return self._is_draining

    def drain(self) -> None:
        """End every reader; each resumes at another process by its last number."""
        self._is_draining = True
        with self._lock:
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener.drop()

    def close(self) -> None:
        """End the subscription; call this before the connection pool is closed."""
        self.loop.stop(2 * _WAIT_S)

    def _add(self, channel: bytes, listener: Subscriber) -> None:
        with self._lock:
            others = self._listeners.setdefault(channel, set())
            is_first = not others
            if any(other.is_confirmed.is_set() for other in others):
                listener.is_confirmed.set()
            others.add(listener)
            if is_first:
                self._send("subscribe", channel)

    def _remove(self, channel: bytes, listener: Subscriber) -> None:
        with self._lock:
            others = self._listeners[channel]
            others.discard(listener)
            if not others:
                del self._listeners[channel]
                self._send("unsubscribe", channel)

    def _send(self, command: str, *channels: bytes) -> None:
        """Send a command if connected; a new connection subscribes to everything anyway."""
        if self._pubsub is None:
            return
        try:
            getattr(self._pubsub, command)(*channels)
        except (ConnectionError, TimeoutError):
            self._pubsub = None

    def _read_until_broken(self) -> None:
        """Deliver messages until the connection breaks or the hub is closed."""
        with coordinator_errors(), self._redis.pubsub() as pubsub:  # type: ignore[no-untyped-call]
            try:
                self._subscribe(pubsub)
                while self._reads(pubsub):
                    message = _next_message(pubsub)
                    self.loop.mark_turn()
                    if message is not None:
                        self._deliver(message)
            finally:
                with self._lock:
                    self._pubsub = None

    def _reads(self, pubsub: PubSub) -> bool:
        return not self.loop.is_over and self._pubsub is pubsub

    def _subscribe(self, pubsub: PubSub) -> None:
        with self._lock:
            pubsub.subscribe(_IDLE_CHANNEL, *self._listeners)
            self._pubsub = pubsub
            for listeners in self._listeners.values():
                for listener in listeners:
                    listener.drop()

    def _deliver(self, message: dict[str, Any]) -> None:
        listeners = tuple(self._listeners.get(message["channel"], ()))
        if message["type"] == "subscribe":
            for listener in listeners:
                listener.is_confirmed.set()
        elif message["type"] == "message":
            published = Published(message["data"])
            for listener in listeners:
                listener.take(published)


def _next_message(pubsub: PubSub) -> dict[str, Any] | None:
    """Return the next message, None when none comes in time.

    Raises:
        CoordinatorUnavailable: a sender found the connection broken and closed it during the read;
            redis-py then fails on its socket, which is None.
    """
    try:
        message: dict[str, Any] | None = pubsub.get_message(timeout=_WAIT_S)
    except (AttributeError, TypeError, ValueError) as error:
        raise CoordinatorUnavailable from error
    return message


def listen_for_cancels(redis: Redis) -> Iterator[str | None]:
    """Yield the id of each job when its cancel is asked for, None every few seconds; never ends.

    Raises:
        CoordinatorUnavailable: the connection broke; call again.
    """
    with coordinator_errors(), redis.pubsub() as pubsub:  # type: ignore[no-untyped-call]
        pubsub.subscribe(keys.CANCEL_CHANNEL)
        while True:
            message = pubsub.get_message(ignore_subscribe_messages=True, timeout=_CANCEL_WAIT_S)
            yield message["data"].decode() if message is not None else None
