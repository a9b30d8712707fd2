"""Models by name, by file and by server: what is chosen, brought and refused."""

from __future__ import annotations

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from core.models import read_catalogue
from core.settings import read_settings
from ops.models.choice import (
    Choice,
    catalogue_file,
    choice_of_file,
    choice_of_server,
    choose,
    known_models,
    read_choice,
)
from ops.models.download import download
from ops.stack.embedded import MODEL_ALIAS
from ops.stack.readiness import free_port
from ops.stack.resolve import resolve
from ops.stack.state import CannotRun, StateDirectory

FILE = b"GGUF" + bytes(range(256)) * 40
SIZE = len(FILE)
SHA = hashlib.sha256(FILE).hexdigest()


class Publisher(BaseHTTPRequestHandler):
    """Serves a file, whole or from a byte on, and a list of models."""

    server: PublisherServer

    def do_GET(self):
        if self.path == "/v1/models":
            self._answer(200, json.dumps({"data": [{"id": "llama"}, {"id": "qwen"}]}).encode())
        elif self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/file")
            self.end_headers()
        elif self.path == "/file":
            start = int(self.headers.get("Range", "bytes=0-")[6:-1])
            self.server.starts.append(start)
            self._answer(206 if start else 200, FILE[start:])
        elif self.path == "/short":
            self._answer(200, FILE[:1_000])
        else:
            self._answer(404, b"not here")

    def _answer(self, status, body):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class PublisherServer(ThreadingHTTPServer):
    def __init__(self):
        super().__init__(("127.0.0.1", 0), Publisher)
        self.starts = []


@pytest.fixture
def publisher():
    with PublisherServer() as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


@pytest.fixture
def url(publisher):
    return f"http://127.0.0.1:{publisher.server_port}"


@pytest.fixture
def directory(tmp_path, monkeypatch):
    for name in ("AETHER_LLM_URL", "GROQ_API_KEY", "AETHER_MODELS_FILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AETHER_PORT", str(free_port()))
    monkeypatch.setenv("AETHER_FLOWER_PORT", str(free_port()))
    directory = StateDirectory(tmp_path / "var")
    directory.create()
    return directory


def fetch(url, target, *, sha256=SHA, size=SIZE):
    seen = []
    download(url, target, size=size, sha256=sha256, on_bytes=seen.append)
    return seen


@pytest.mark.parametrize("path", ["/file", "/moved"])
def test_a_model_is_brought_whole_with_its_progress(url, tmp_path, path):
    seen = fetch(url + path, tmp_path / "m.gguf")

    assert (tmp_path / "m.gguf").read_bytes() == FILE
    assert seen[-1] == len(FILE)


def test_an_interrupted_download_goes_on_where_it_ended(publisher, url, tmp_path):
    (tmp_path / "m.part").write_bytes(FILE[:500])

    fetch(f"{url}/file", tmp_path / "m.gguf")

    assert publisher.starts == [500]
    assert (tmp_path / "m.gguf").read_bytes() == FILE


@pytest.mark.parametrize(
    ("path", "pin", "reason"),
    [
        ("/file", {"sha256": "0" * 64}, "SHA-256 differs"),
        ("/short", {}, "1000 bytes where"),
        ("/file", {"size": 100}, "where 100 are pinned"),
        ("/nowhere", {}, "answered 404"),
    ],
)
def test_what_is_not_the_pinned_file_is_not_used(url, tmp_path, path, pin, reason):
    with pytest.raises(CannotRun, match=reason):
        fetch(url + path, tmp_path / "m.gguf", **pin)

    assert not (tmp_path / "m.gguf").exists()


def test_a_publisher_that_is_away_is_named(tmp_path):
    with pytest.raises(CannotRun, match=r"127\.0\.0\.1 does not answer"):
        fetch(f"http://127.0.0.1:{free_port()}/file", tmp_path / "m.gguf")


def test_every_known_model_but_the_shipped_one_is_pinned():
    models = known_models()

    assert models[MODEL_ALIAS].url == ""
    for name in set(models) - {MODEL_ALIAS}:
        assert len(models[name].sha256) == 64
        assert models[name].url.startswith("https://huggingface.co/Qwen/")


def test_a_file_of_ones_own_answers_from_the_next_start(directory, tmp_path):
    file = tmp_path / "My Model.gguf"
    file.write_bytes(FILE)

    choose(directory, choice_of_file(file))

    stack = resolve(read_settings(), directory)
    assert stack.model == Choice(model="My Model", path=str(file))
    assert "llm" in stack.embedded
    catalogue = read_catalogue("embedded", catalogue_file(directory))
    assert catalogue.for_tier("deep").id == "My Model"
    assert stack.environment()["AETHER_MODELS_FILE"] == str(catalogue_file(directory))


def test_a_server_that_runs_already_takes_the_embedded_models_place(directory, url):
    choose(directory, choice_of_server(url, "qwen"))

    stack = resolve(read_settings(), directory)

    assert "llm" not in stack.embedded
    assert (stack.settings.llm_url, stack.settings.llm_provider) == (url, "custom")
    assert read_catalogue("custom", catalogue_file(directory)).for_tier("quick").id == "qwen"


def test_a_variable_comes_before_the_choice(directory, url, monkeypatch):
    choose(directory, choice_of_server(url, None))
    monkeypatch.setenv("AETHER_LLM_URL", "http://127.0.0.1:9")

    stack = resolve(read_settings(), directory)

    assert stack.settings.llm_url == "http://127.0.0.1:9"
    assert stack.settings.llm_provider == "groq"


def test_the_shipped_model_comes_back(directory, url):
    choose(directory, choice_of_server(url, None))

    choose(directory, None)

    assert read_choice(directory) is None
    assert resolve(read_settings(), directory).model is None


@pytest.mark.parametrize(
    ("address", "model", "reason"),
    [
        ("ftp://host", None, "https://"),
        ("{url}", "mistral", "serves llama, qwen"),
        ("{url}/other", None, "does not list models"),
    ],
)
def test_a_server_without_the_model_is_refused(url, address, model, reason):
    with pytest.raises(CannotRun, match=reason):
        choice_of_server(address.format(url=url), model)


def test_what_is_no_model_file_is_refused(tmp_path):
    (tmp_path / "text").write_text("hello")

    for path, reason in ((tmp_path / "text", "no GGUF"), (tmp_path / "none", "cannot be read")):
        with pytest.raises(CannotRun, match=reason):
            choice_of_file(path)


def test_a_chosen_file_that_is_gone_is_named(directory, tmp_path):
    file = tmp_path / "m.gguf"
    file.write_bytes(FILE)
    choose(directory, choice_of_file(file))
    file.unlink()

    with pytest.raises(CannotRun, match="is gone"):
        read_choice(directory)
