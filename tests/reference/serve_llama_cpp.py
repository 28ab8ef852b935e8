"""Serves a GGUF with llama.cpp's own HTTP server, from the PyPI package `xllamacpp`: the peer that weir is compared with.

    python3 tests/reference/serve_llama_cpp.py MODEL.gguf [--port N] [--threads N] [--ctx N] [--parallel N]

The package is installed once, in an environment of its own in weir's cache (packages.py); this program then starts
itself again in there. When the model is loaded it prints one line, `listening on URL, xllamacpp VERSION`; llama.cpp's
log goes to stderr. It ends with SIGTERM or SIGINT, or when its standard input is a pipe whose other end closes, so it does not
outlive the program that started it. Everything not named here is llama.cpp's default, the prompt cache among it.
"""

import argparse
import importlib.metadata
import os
import signal
import socket
import stat
import sys
from pathlib import Path

import packages


def main():
    options = parse_options()
    packages.require("xllamacpp", Path(__file__).with_suffix(".txt"))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: os._exit(0))
    server = start(options)
    version = importlib.metadata.version("xllamacpp")
    print(f"listening on {server.listening_address}, xllamacpp {version}", flush=True)
    if stat.S_ISFIFO(os.fstat(0).st_mode):
        sys.stdin.read()
    else:
        signal.pause()
    # Its threads have no end of their own.
    os._exit(0)


def parse_options():
    parser = argparse.ArgumentParser(description="llama.cpp's HTTP server on a GGUF.")
    parser.add_argument("model", help="the GGUF")
    parser.add_argument("--port", type=int, default=0, help="0, the default, is any free one")
    parser.add_argument("--threads", type=int, default=2, help="threads that compute [default: 2]")
    parser.add_argument("--ctx", type=int, default=32768, help="tokens of context of all slots together [default: 32768]")
    parser.add_argument("--parallel", type=int, default=16, help="slots: requests computed at once [default: 16]")
    return parser.parse_args()


def start(options):
    """The server, in threads of this process; it returns when the model is loaded."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = options.model
    params.port = options.port or free_port()
    params.n_ctx = options.ctx
    params.n_parallel = options.parallel
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.threads
    return xllamacpp.Server(params)


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


if __name__ == "__main__":
    main()
