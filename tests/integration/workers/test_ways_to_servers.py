"""Every program reaches Redis and MongoDB alike: by address, by socket, and by verified TLS."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from ops.stack import embedded
from ops.stack.own import Child
from ops.stack.readiness import free_port, redis_answers
from ops.stack.state import ROOT
from tests.services import port_of
from tests.tls_proxy import TlsProxy, make_certificates

#: Those that wait only milliseconds, which a TLS handshake on a busy machine may exceed.
PATIENT = ("api", "broker", "backend", "beat", "flower", "mongo")


def ways(*names, **variables):
    """Return what each program's way to its server answered."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.connect_all", *names],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(scope="module")
def other_certificates(tmp_path_factory):
    return make_certificates(tmp_path_factory.mktemp("others"))


@pytest.fixture
def tls(redis_server, mongo_server, certificates):
    """Variables of servers that are reached with TLS alone."""
    with (
        TlsProxy(port_of(redis_server.url), certificates) as redis,
        TlsProxy(port_of(mongo_server.url), certificates) as mongo,
    ):
        yield {
            "AETHER_REDIS_URL": f"rediss://127.0.0.1:{redis.port}/0",
            "AETHER_MONGO_URL": f"mongodb://127.0.0.1:{mongo.port}/?directConnection=true&tls=true",
        }


def test_a_socket_is_reached_by_every_program(tmp_path, mongo_server):
    port, socket = free_port(), tmp_path / "r.sock"
    command = (*embedded.redis_command(port, tmp_path), "--unixsocket", str(socket))
    url = f"redis://127.0.0.1:{port}/0"
    with Child(url, command, lambda: redis_answers(url), tmp_path / "redis.log"):
        found = ways(AETHER_REDIS_URL=f"unix://{socket}?db=2", AETHER_MONGO_URL=mongo_server.url)

    assert found == dict.fromkeys(found, "reached")
    assert set(found) == {*PATIENT, "cache"}


def test_a_verified_server_is_reached_by_every_program(tls, certificates):
    authority = str(certificates.authority)
    files = {"AETHER_REDIS_TLS_CA_FILE": authority, "AETHER_MONGO_TLS_CA_FILE": authority}

    found = ways(*PATIENT, **tls, **files)

    assert found == dict.fromkeys(PATIENT, "reached")


def test_a_server_of_another_authority_is_refused_by_every_program(tls, other_certificates):
    authority = str(other_certificates.authority)
    files = {"AETHER_REDIS_TLS_CA_FILE": authority, "AETHER_MONGO_TLS_CA_FILE": authority}

    strange = ways(*PATIENT, **tls, **files)
    unknown = ways(*PATIENT, **tls)

    for found in (strange, unknown):
        assert "reached" not in found.values(), found
        assert "CERTIFICATE_VERIFY_FAILED" in found["api"]


def test_a_server_of_another_name_is_refused(tls, certificates):
    renamed = {"AETHER_REDIS_URL": tls["AETHER_REDIS_URL"].replace("127.0.0.1", "127.0.0.2")}
    authority = str(certificates.authority)

    found = ways("api", "broker", "beat", **tls | renamed, AETHER_REDIS_TLS_CA_FILE=authority)

    assert "reached" not in found.values()


def test_any_certificate_is_believed_when_the_operator_says_so(tls):
    found = ways(*PATIENT, **tls, AETHER_TLS_VERIFY="no")

    assert found == dict.fromkeys(PATIENT, "reached")


def test_a_certificate_of_our_own_is_shown_to_who_asks(redis_server, mongo_server, certificates):
    files = {
        "AETHER_REDIS_TLS_CA_FILE": certificates.authority,
        "AETHER_REDIS_TLS_CERT_FILE": certificates.own,
        "AETHER_REDIS_TLS_KEY_FILE": certificates.key,
        "AETHER_MONGO_TLS_CA_FILE": certificates.authority,
        "AETHER_MONGO_TLS_CERT_FILE": certificates.own_with_key,
    }
    with (
        TlsProxy(port_of(redis_server.url), certificates, asks_client=True) as redis,
        TlsProxy(port_of(mongo_server.url), certificates, asks_client=True) as mongo,
    ):
        urls = {
            "AETHER_REDIS_URL": f"rediss://127.0.0.1:{redis.port}/0",
            "AETHER_MONGO_URL": f"mongodb://127.0.0.1:{mongo.port}/?directConnection=true&tls=true",
        }
        found = ways(*PATIENT, **urls, **{name: str(file) for name, file in files.items()})

    assert found == dict.fromkeys(PATIENT, "reached")
