"""Real clients, unmodified and headless, against weir: run.py PATH_OF_WEIR [--output FILE] [CLIENT...]

All are installed first (installs.py); then the network is cut off, but for this machine's own addresses, and each client (clients.py) is
asked for a plain turn, a streamed one, a tool round trip and an answer within a schema, where it has them, one after the other, each in an empty home of its own. Two
servers answer: one replays replay.jsonl, so that what is said is known; the other runs the default model, for clients whose prompts it can
hold. What is right is judged here, by what a client ends with and by what went over the wire (wire.py). The result is Markdown, written to
FILE or printed; the rest goes to standard error. Exits with 1 when something failed.
"""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import traceback
import urllib.request
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE.parent))

from clients import CLIENTS, Server  # noqa: E402
from installs import installed, version  # noqa: E402
from server import server  # noqa: E402
from wire import Tap  # noqa: E402

CHECKS = {"plain": "plain turn", "stream": "streamed turn", "tools": "tool round trip", "structured": "answer within a schema"}
GREETING = "Hello from weir, in one short sentence."
PIECES = 3
TIMEOUT_SECONDS = 300
REPLAY = ("--max-model-len", "200000", "--tool-call-parser", "hermes")
MODEL = ("--default-temperature", "0", "--default-max-tokens", "64")


class Wrong(Exception):
    """What is not as it should be, in words for the table."""


def turn(client, place, check, url, known):
    """One turn of a client: the exchanges that it took, and None or what was wrong."""
    with Tap(url) as tap, tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as home:
        command = client.command(place, Server(tap.url, *model_of(url)), check)
        try:
            judge(client, check, known, started(command, Path(home)), tap.exchanges())
            wrong = None
        except Wrong as error:
            wrong = str(error)
        return tap.exchanges(), wrong


def model_of(url):
    with urllib.request.urlopen(f"{url}/v1/models") as answer:
        (model,) = json.load(answer)["data"]
    return model["id"], model["max_model_len"]


def started(command, home):
    """What the client said, once it has ended well."""
    for path, text in command.files.items():
        file = home / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    work = home / "work"
    work.mkdir()
    environment = {"PATH": os.environ["PATH"], "HOME": str(home), "LANG": "C.UTF-8", "TERM": "dumb", **command.environment}
    with open(home / "stdout", "w+") as stdout, open(home / "stderr", "w+") as stderr:
        process = subprocess.Popen(
            [str(argument) for argument in command.arguments],
            env=environment,
            cwd=work,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
            start_new_session=True,
        )
        try:
            code = process.wait(TIMEOUT_SECONDS)
        except subprocess.TimeoutExpired:
            code = None
        finally:
            # Clients leave processes of their own behind.
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    output, complaints = (home / "stdout").read_text(), (home / "stderr").read_text()
    print(output, complaints, sep="\n", file=sys.stderr, flush=True)
    if code is None:
        raise Wrong(f"no end within {TIMEOUT_SECONDS} s")
    if code != 0:
        raise Wrong(f"ended with {code}: {last_line(complaints or output)}")
    try:
        return command.pieces(output)
    except (ValueError, LookupError) as error:
        raise Wrong(f"not its usual output: {error}") from error


def last_line(text):
    return (text.strip().splitlines() or [""])[-1][:200]


def judge(client, check, known, pieces, exchanges):
    said = "".join(pieces).strip()
    result, concluded = client.tool
    wanted = concluded if check == "tools" else GREETING
    if known and wanted not in said:
        raise Wrong(f"said `{last_line(said)}`")
    if not said:
        raise Wrong("said nothing")
    generated = [exchange for exchange in exchanges if exchange.method == "POST"]
    if check == "stream" and not any(exchange.streamed for exchange in generated):
        raise Wrong("nothing was streamed")
    if check == "stream" and 1 < len(pieces) < PIECES:
        raise Wrong(f"a stream of {len(pieces)} pieces")
    if check == "tools" and not any(result.encode() in exchange.sent for exchange in generated):
        raise Wrong("the tool's result was never sent")
    if check == "structured":
        judge_objects(pieces, generated)


def judge_objects(pieces, generated):
    """Each is whole and was asked for by a schema, not merely by words; the client has judged it itself."""
    for piece in pieces:
        missing = {"name", "age", "ticket", "guide"} - json.loads(piece).keys()
        if missing:
            raise Wrong(f"an object without {', '.join(sorted(missing))}")
    if len(generated) != len(pieces):
        raise Wrong(f"{len(generated)} requests for {len(pieces)} answers")
    if not all(b"json_schema" in exchange.sent or b'"tool_choice"' in exchange.sent for exchange in generated):
        raise Wrong("a request without a schema")


def row(client, replay, model):
    """The client's line of the table, and whether all went well."""
    cells, exchanges, well = {}, [], True
    try:
        place = installed(client.pins)
        for check in CHECKS:
            print(f"\n=== {client.name}: {check}", file=sys.stderr, flush=True)
            turns = []
            if check in client.checks and check != "structured":
                turns.append(turn(client, place, check, replay, known=True))
            # A replay says what it says: only a model can be bound.
            if check in client.checks and client.fits and check != "tools":
                turns.append(turn(client, place, check, model, known=False))
            cells[check], passed = cell(check, turns)
            well &= passed
            exchanges += [exchange for took in turns for exchange in took[0]]
    except Exception as error:
        traceback.print_exc()
        cells, well = dict.fromkeys(CHECKS, f"**no**: {error}"), False
    against = ", ".join(["replay"] * (client.checks != ("structured",)) + ["default model"] * client.fits)
    notes = [client.note, *complaints(exchanges)]
    if not client.fits:
        notes.append(f"requests of up to {max((len(exchange.sent) for exchange in exchanges), default=0) // 1000} kB")
    columns = [client.name, version(client.pins), routes(exchanges), *cells.values(), against, "; ".join(filter(None, notes))]
    line = " | ".join(column.replace("|", "\\|").replace("\n", " ") for column in columns)
    print(line, file=sys.stderr, flush=True)
    return f"| {line} |", well


def cell(check, turns):
    if not turns:
        return "none", True
    wrong = [wrong for _, wrong in turns if wrong]
    if wrong:
        return f"**no**: {'; '.join(wrong)}", False
    streamed = all(any(exchange.streamed for exchange in exchanges) for exchanges, _ in turns)
    return "yes, as a stream" if check == "plain" and streamed else "yes", True


def routes(exchanges):
    paths = {f"{exchange.method} {exchange.path.partition('?')[0]}" for exchange in exchanges if 200 <= exchange.status < 300}
    return ", ".join(sorted(path.removeprefix("POST ") for path in paths))


def complaints(exchanges):
    """What weir refused, though the client went on."""
    refused = {(exchange.status, exchange.method, exchange.path) for exchange in exchanges if exchange.status >= 400}
    return [f"{status} for {method} {path}" for status, method, path in sorted(refused)]


def cut_off():
    """Leaves this process and all that it starts no network but the loopback addresses; False where the system does not let it."""
    new_user, new_net = 0x10000000, 0x40000000
    user, group, libc = os.getuid(), os.getgid(), ctypes.CDLL(None, use_errno=True)
    if libc.unshare(new_net if user == 0 else new_net | new_user) != 0:
        return False
    if user != 0:
        for file, text in {"setgroups": "deny", "uid_map": f"{user} {user} 1", "gid_map": f"{group} {group} 1"}.items():
            Path("/proc/self", file).write_text(text)
    set_flags, up_and_running = 0x8914, 0x41
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, set_flags, struct.pack("16sH14x", b"lo", up_and_running))
    return True


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("weir", type=Path)
    arguments.add_argument("clients", nargs="*")
    arguments.add_argument("--output", type=Path)
    given = arguments.parse_args()
    weir = given.weir.resolve()
    unknown = set(given.clients) - {client.name for client in CLIENTS}
    if unknown:
        arguments.error(f"no such client: {', '.join(unknown)}; there are {', '.join(client.name for client in CLIENTS)}")
    chosen = [client for client in CLIENTS if not given.clients or client.name in given.clients]
    subprocess.run([weir, "pull"], check=True, stdout=sys.stderr)
    for client in chosen:
        try:
            installed(client.pins)
        except subprocess.CalledProcessError as error:
            print(f"{client.name} cannot be installed: {error}", file=sys.stderr)
    # Whoever ends this run means clients and servers, too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("told to end"))
    alone = cut_off()
    with server(weir, f"replay:{HERE / 'replay.jsonl'}", *REPLAY) as replay, server(weir, "smollm2", *MODEL) as model:
        rows = [row(client, replay, model) for client in chosen]
    titles = ["client", "version", "routes", *CHECKS.values(), "against", "note"]
    lines = [f"| {' | '.join(titles)} |", "|" + "---|" * len(titles), *(line for line, _ in rows)]
    if not alone:
        lines += ["", "The system did not let the network be cut off."]
    text = "\n".join(lines) + "\n"
    given.output.write_text(text) if given.output else print(text)
    return 0 if all(well for _, well in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
