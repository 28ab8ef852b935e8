"""weir as a process: its engine, which does orders as JSON Lines, and its server."""

import json
import re
import subprocess
import tempfile
import time

# Loading 16 GB and proving the device.
START_SECONDS = 90


class Engine:
    """`weir engine` on a model, until the `with` block ends."""

    def __init__(self, plan, model, *options):
        self.log = tempfile.TemporaryFile("w+")
        command = [str(plan.weir), "engine", "--device", plan.device, "--model", str(model), *options]
        begun = time.monotonic()
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.log, text=True
        )
        self.info = self.ask("info")
        self.load_seconds = time.monotonic() - begun

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()

    def ask(self, order, **values):
        """Has an order done and returns the answer."""
        try:
            print(json.dumps({"order": order, **values}), file=self.process.stdin, flush=True)
        except BrokenPipeError:
            pass
        line = self.process.stdout.readline()
        if not line:
            self.log.seek(0)
            raise RuntimeError(f"weir engine ended: {self.log.read()[-2000:]}")
        answer = json.loads(line)
        if "error" in answer:
            raise RuntimeError(f"{order}: {answer['error']}")
        return answer


class Server:
    """`weir serve` on a model, until the `with` block ends."""

    def __init__(self, plan, model, *options):
        command = [str(plan.weir), "serve", "--port", "0", "--device", plan.device, "--model", str(model), *options]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        self.url = self.wait_for_url()

    def wait_for_url(self):
        lines = []
        begun = time.monotonic()
        for line in self.process.stderr:
            lines.append(line)
            found = re.search(r"weir serves.*?(http://[^\s,]+)", line)
            if found:
                return found.group(1).rstrip("/").removesuffix("/v1") + "/v1"
            if time.monotonic() - begun > START_SECONDS:
                break
        raise RuntimeError("weir serve did not start: " + "".join(lines[-5:]))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        # Unread, its log would keep it from ending.
        self.process.stderr.close()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def bench(plan, url, *options):
    """`weir bench` as its JSON."""
    command = [str(plan.weir), "bench", "--url", url, "--json", "-", *options]
    output = subprocess.run(command, capture_output=True, text=True)
    if not output.stdout:
        raise RuntimeError(f"weir bench: {output.stderr[-2000:]}")
    return json.loads(output.stdout)
