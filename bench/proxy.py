"""LiteLLM's proxy in front of the same stub upstream, for comparison; it is not a dependency."""

from __future__ import annotations

import os
import secrets
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.client import Target
from bench.cpu import Parts
from ops.stack.readiness import free_port, http_answers

_READY_WITHIN_S = 120.0
_STOPPED_WITHIN_S = 30.0
_TAIL_CHARS = 1_000
_ENVIRONMENT = {
    "LITELLM_LOCAL_MODEL_COST_MAP": "True",
    "LITELLM_MODE": "PRODUCTION",
    "NO_PROXY": "127.0.0.1",
}
_CONFIG = """\
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: "http://127.0.0.1:{port}/openai/v1"
      api_key: bench
litellm_settings: {{telemetry: false}}
"""


@dataclass(frozen=True)
class Proxy:
    """A running proxy and the key that it asks for."""

    target: Target
    process: psutil.Process
    key: str

    @property
    def headers(self) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.key}"}

    @property
    def parts(self) -> Parts:
        return {"proxy": [self.process, *self.process.children(recursive=True)]}


@contextmanager
def running_proxy(executable: Path, stub: Target) -> Iterator[Proxy]:
    """Run the proxy with one worker and no storage, as in its own benchmarks.

    Raises:
        RuntimeError: it ended, or did not answer within two minutes.
    """
    target = Target(free_port())
    # The proxy refuses to start without a master key.
    key = f"sk-{secrets.token_hex(32)}"
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(_CONFIG.format(port=stub.port))
        log = Path(folder, "output.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [executable, "--config", config, "--host", target.host, "--port", str(target.port)],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=os.environ | _ENVIRONMENT | {"LITELLM_MASTER_KEY": key},
            )
        try:
            _await(target, process, log)
            yield Proxy(target, psutil.Process(process.pid), key)
        finally:
            process.terminate()
            try:
                process.wait(_STOPPED_WITHIN_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _await(target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not http_answers(f"http://{target.host}:{target.port}/health/liveliness"):
        if process.poll() is not None or time.monotonic() > deadline:
            tail = log.read_text(errors="replace")[-_TAIL_CHARS:]
            raise RuntimeError(f"LiteLLM's proxy did not get ready; its output ends with:\n{tail}")
        time.sleep(0.5)


def executable_of(path: Path) -> Path:
    """Return the proxy's program: `path` itself, or the one beside the Python that `path` is."""
    return path.with_name("litellm") if path.name.startswith("python") else path
