"""Settings in the forms that people write them, and the sentences for what cannot be taken."""

from __future__ import annotations

import os

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from core.forms.addresses import read_llm_url
from core.problems import SettingsError
from core.settings import SECRETS, Settings, read_settings, settings_of, variable_of

VARIABLES = [variable_of(name) for name in Settings.model_fields]


@pytest.fixture(autouse=True)
def _no_settings(monkeypatch):
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)


def plain(value):
    return value.get_secret_value() if hasattr(value, "get_secret_value") else value


def read(name, text):
    return plain(getattr(settings_of({variable_of(name): text}), name))


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("port", " 9000\r\n", 9000),
        ("port", '"9000"', 9000),
        ("port", ":9000", 9000),
        ("port", "9_000", 9000),
        ("port", "\ufeff9000\u200b", 9000),
        ("port", "", 8001),
        ("port", "  ", 8001),
        ("port", "''", 8001),
        ("port", "tcp://10.0.0.1:8001", 8001),
        ("flower_port", "tcp://10.96.0.7:5555", 5555),
        ("port", "udp://[fd00::1]:53", 8001),
        ("host", "[::1]", "::1"),
        ("host", "0.0.0.0", "0.0.0.0"),
        ("host", "“localhost”", "localhost"),
        ("log_level", "INFO", "info"),
        ("env", " Production ", "production"),
        ("demo_login", "No", False),
        ("demo_login", "on", True),
        ("llm_connect_s", "2.5s", 2.5),
        ("llm_connect_s", "500 ms", 0.5),
        ("access_token_s", "15min", 900),
        ("refresh_token_s", "1d", 86_400),
        ("max_body_bytes", "512KiB", 524_288),
        ("max_body_bytes", "1 MB", 1_000_000),
        ("groq_api_key", "gsk_abc\n", "gsk_abc"),
        ("groq_api_key", "gsk_abc\u200b", "gsk_abc"),
        ("groq_api_key", "'gsk_abc'", "gsk_abc"),
        ("redis_url", "REDIS://host:6379/0/", "redis://host:6379/0"),
        ("redis_url", " 'redis://:p@host' ", "redis://:p@host"),
        ("redis_url", "rediss://[::1]:6380/2", "rediss://[::1]:6380/2"),
        ("redis_url", "unix:///run/redis.sock?db=1", "unix:///run/redis.sock?db=1"),
        ("broker_url", "amqps://u:p@host/vhost", "amqps://u:p@host/vhost"),
        (
            "mongo_url",
            "mongodb+srv://u:p@c.example/?w=majority",
            "mongodb+srv://u:p@c.example/?w=majority",
        ),
        ("mongo_url", "MongoDB://a:1,b:2/?replicaSet=r", "mongodb://a:1,b:2/?replicaSet=r"),
        ("public_url", "https://Aether.example.com/", "https://aether.example.com"),
        ("public_url", "http://[::1]:8001", "http://[::1]:8001"),
    ],
)
def test_a_value_is_taken_as_people_write_it(name, text, value):
    assert read(name, text) == value


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.groq.com/openai/v1", "https://api.groq.com"),
        ("https://api.groq.com/openai/v1/", "https://api.groq.com"),
        ("https://api.groq.com/openai/v1/chat/completions", "https://api.groq.com"),
        ("https://API.groq.com/", "https://api.groq.com"),
        ("http://127.0.0.1:11434/v1", "http://127.0.0.1:11434/v1"),
        ("http://127.0.0.1:11434/v1/models", "http://127.0.0.1:11434/v1"),
        ("https://openrouter.ai/api/v1/", "https://openrouter.ai/api/v1"),
        ("localhost:8080", "http://localhost:8080"),
        ("10.0.0.7:8000/v1", "http://10.0.0.7:8000/v1"),
        ("http://[::1]:8080//", "http://[::1]:8080"),
    ],
)
def test_a_provider_is_found_by_whatever_its_page_shows(text, url):
    assert read_llm_url(text) == url


@pytest.mark.parametrize(
    ("name", "text", "right"),
    [
        ("port", "eighty", "a port, in digits alone"),
        ("port", "70000", "65535"),
        ("port", "80.5", "digits alone"),
        ("worker_threads", "1,000", "whole number"),
        ("host", "http://0.0.0.0", "without scheme and port"),
        ("host", "0.0.0.0:8001", "without scheme and port"),
        ("log_level", "loud", "'debug'"),
        ("demo_login", "maybe", "boolean"),
        ("lease_s", "soon", "a time such as"),
        ("max_body_bytes", "many", "a size in bytes"),
        ("redis_url", "localhost:6379", "redis://host:6379/0"),
        ("redis_url", "http://host:6379", "redis://"),
        ("redis_url", "redis://host:port", "port from 1 to 65535"),
        ("redis_url", "redis://::1:6379/0", "brackets"),
        ("redis_url", "redis://host:99999", "port from 1 to 65535"),
        ("redis_url", "redis://host/zero", "number of the database"),
        ("redis_url", "redis://:pa#ss@host", "%23"),
        ("redis_url", "redis+socket:///run/r.sock", "unix:///"),
        ("redis_url", "unix://run/r.sock", "whole path"),
        ("redis_url", "rediss://host?ssl_cert_reqs=none", "AETHER_TLS_VERIFY"),
        ("redis_url", "sentinel://host:26379", "redis://"),
        ("broker_url", "kafka://host", "amqp://"),
        ("mongo_url", "localhost:27017", "mongodb://"),
        ("mongo_url", "mongodb://", "name a host"),
        ("mongo_url", "mongodb://u:p w@host", "%20"),
        ("llm_url", "api.groq.com", "https://api.groq.com"),
        ("llm_url", "ftp://host", "https://"),
        ("llm_url", "https://user:canary@host", "GROQ_API_KEY"),
        ("llm_url", "https://host?key=1", "without ? and #"),
        ("public_url", "aether.example.com", "https://"),
        ("public_url", "https://host/path", "scheme, host and port alone"),
        ("public_url", "https://user:canary@host", "scheme, host and port alone"),
        ("groq_api_key", "gsk abc", "without blanks"),
        ("groq_api_key", "gsk_ä", "ASCII"),
        ("redis_tls_ca_file", "/no/such/file", "a file that exists"),
        ("flower_user", "a:b", "pattern"),
        ("mongo_database", "a.b", "pattern"),
    ],
)
def test_a_refusal_names_the_variable_and_what_is_right(name, text, right):
    with pytest.raises(SettingsError) as refused:
        read(name, text)

    (sentence,) = str(refused.value).splitlines()
    assert sentence.startswith(f"{variable_of(name)} is ")
    assert right in sentence
    assert ("not shown" in sentence) == (name in SECRETS)
    assert "canary" not in sentence


def test_all_refusals_come_at_once(monkeypatch):
    monkeypatch.setenv("AETHER_PORT", "eighty")
    monkeypatch.setenv("AETHER_LOG_LEVEL", "loud")

    with pytest.raises(SettingsError) as refused:
        read_settings()

    assert len(str(refused.value).splitlines()) == 2


@given(
    variable=st.sampled_from(VARIABLES),
    text=st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=60)
    | st.sampled_from(["redis://", "mongodb://", "https://", "unix://", "amqp://"]).flatmap(
        lambda scheme: st.text("a1.:@/[]?#%= \t-", max_size=20).map(scheme.__add__)
    ),
)
@example("AETHER_REDIS_URL", "redis://[")
@example("AETHER_REDIS_URL", "redis://h]")
@example("AETHER_LLM_URL", "http://[::1%25eth0]")
@example("AETHER_LLM_URL", "http://\u2100.example")
@example("AETHER_PORT", "٨٠٠١")
@example("AETHER_LLM_URL", "//")
def test_any_text_is_a_setting_or_a_sentence_that_names_it(variable, text):
    try:
        settings_of(os.environ | {variable: text})
    except SettingsError as refused:
        (sentence,) = str(refused).splitlines()
        assert sentence.startswith(variable)
        field = next(name for name in Settings.model_fields if variable_of(name) == variable)
        if field in SECRETS and len(text) > 12:
            assert text not in sentence
