"""The embedded model behind an OpenAI-shaped API: `python -m ops.stack.model_server`."""

from __future__ import annotations

import argparse
import signal

from ops.stack.embedded import MODEL_ALIAS, model_file


def serve(port: int, threads: int, model: str, alias: str) -> None:
    """Serve the model on loopback until the process is ended."""
    import xllamacpp  # loads native code for a second, which `--help` should not wait for

    params = xllamacpp.CommonParams()
    params.model.path = model
    params.model_alias = {alias}
    params.hostnames = ["127.0.0.1"]
    params.port = port
    # The groq SDK appends /openai/v1/… to the host it is given.
    params.api_prefix = "/openai"
    params.n_ctx = 8192
    # Otherwise every conversation's state is kept, up to 8 GiB.
    params.cache_ram_mib = 128
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
    parser.add_argument("--model", default="", help="a GGUF file; the one that ships without it")
    parser.add_argument("--alias", default=MODEL_ALIAS, help="the model's name in requests")
    options = parser.parse_args()
    serve(options.port, options.threads, options.model or str(model_file()), options.alias)


if __name__ == "__main__":
    main()
