"""The embedded model behind an OpenAI-shaped API: `python -m ops.stack.model_server`."""

from __future__ import annotations

import argparse
import signal

from ops.stack.embedded import MODEL_ALIAS, model_file


def serve(port: int, threads: int) -> None:
    """Serve the model on loopback until the process is ended."""
    import xllamacpp  # loads native code for a second, which `--help` should not wait for

    params = xllamacpp.CommonParams()
    params.model.path = str(model_file())
    params.model_alias = {MODEL_ALIAS}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    # The groq SDK appends /openai/v1/… to the host it is given.
    params.api_prefix = "/openai"
    params.n_ctx = 8192
    params.n_parallel = 2
    params.cpuparams.n_threads = threads
    params.n_threads_http = 8
    params.verbosity = 0
    params.ui = False
    server = xllamacpp.Server(params)
    signal.pause()
    del server


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ops.stack.model_server", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads for the model")
    options = parser.parse_args()
    serve(options.port, options.threads)


if __name__ == "__main__":
    main()
