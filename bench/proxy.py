"""LiteLLM's proxy in front of the same stub upstream, for comparison; it is not a dependency."""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.client import Target
from ops.readiness import free_port, http_answers

_READY_WITHIN_S = 120.0
_CONFIG = """\
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: "http://127.0.0.1:{port}/openai/v1"
      api_key: bench
litellm_settings: {{telemetry: false}}
"""


@contextmanager
def running_proxy(executable: Path, stub: Target) -> Iterator[Target]:
    """Run the proxy with one worker and nothing stored, as its own benchmarks do."""
    target = Target(free_port())
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder, "config.yaml")
        config.write_text(_CONFIG.format(port=stub.port))
        process = subprocess.Popen(
            [executable, "--config", config, "--host", target.host, "--port", str(target.port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION"},
        )
        try:
            _await(target)
            yield target
        finally:
            process.terminate()
            process.wait(30)


def _await(target: Target) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while not http_answers(f"http://{target.host}:{target.port}/health/liveliness"):
        if time.monotonic() > deadline:
            raise RuntimeError("the proxy did not get ready")
        time.sleep(0.5)
