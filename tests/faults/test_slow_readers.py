"""Readers that do not read hold up nobody but themselves."""

from __future__ import annotations

import socket
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest

from tests.api_client import JOBS
from tests.faults.readers import gaps_in

pytestmark = pytest.mark.faults

#: Many small pieces, of which a reader with a small window takes few before it stops.
LONG = "tokens=1000 gap_ms=1"
IDLE_READERS = 5


def open_stream(stack, user, job_id):
    """Ask for a job's stream and read nothing of it."""
    address = urlsplit(stack.url)
    reader = socket.socket()
    reader.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    reader.settimeout(10)
    reader.connect((address.hostname, address.port))
    request = f"GET {JOBS}/{job_id}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
    reader.sendall(f"{request}Authorization: {user.http.headers['Authorization']}\r\n\r\n".encode())
    return reader


def test_others_read_to_the_end_when_many_readers_read_nothing(stack, crowd, follow, settle):
    job_ids = crowd.submit(4, LONG)
    with ExitStack() as idle:
        for job_id in job_ids * IDLE_READERS:
            idle.enter_context(open_stream(stack, crowd.owner(job_id), job_id))

        readers = follow(job_ids)
        streams = readers.streams()
        late = crowd.submit(4)
        late_streams = follow(late).streams()

    assert gaps_in(streams | late_streams) == {}
    assert readers.returns == 0
    assert settle() == dict.fromkeys(job_ids + late, "completed")
