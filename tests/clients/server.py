"""A weir for clients to talk to: `with server(weir, model, *flags) as url`. It must end with 0 when it is told to."""

import contextlib
import socket
import subprocess
import time
import urllib.request


@contextlib.contextmanager
def server(weir, model, *flags):
    """Serves `model`, or what the flags say, until the block ends; gives the address without `/v1`."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    source = ["--model", model] if model else []
    process = subprocess.Popen([weir, "serve", *source, "--port", str(port), "--log-level", "warn", *flags])
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(600):
            if process.poll() is not None:
                raise RuntimeError(f"weir ended with {process.returncode}")
            with contextlib.suppress(OSError):
                urllib.request.urlopen(f"{url}/ready", timeout=1)
                break
            time.sleep(0.1)
        yield url
    finally:
        process.terminate()
        code = process.wait(timeout=20)
    assert code == 0, f"SIGTERM ended weir with {code}"
