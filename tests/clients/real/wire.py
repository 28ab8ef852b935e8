"""What went over the wire: `with Tap(url) as tap` passes connections on to a server, byte by byte, and keeps what was said.

`tap.url` is the address for the client, `tap.exchanges()` are the requests so far, each with the head of its answer. Nothing is
changed on the way. Messages are found by their heads: JSON writes a line's end as `\\r\\n` in letters, so no body of an API looks like
a head.
"""

import contextlib
import dataclasses
import re
import socket
import socketserver
import threading
from urllib.parse import urlsplit

REQUEST = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE|OPTIONS) (\S+) HTTP/1\.[01]\r\n")
ANSWER = re.compile(rb"HTTP/1\.[01] ([2-5]\d\d)[^\r\n]*\r\n((?:[^\r\n]+\r\n)*)\r\n")
EVENTS = re.compile(rb"^content-type: *text/event-stream", re.IGNORECASE | re.MULTILINE)


@dataclasses.dataclass
class Exchange:
    """A request and how it was answered: `status` is 0 if it was not; `sent` is the request from its first line on."""

    method: str
    path: str
    sent: bytes
    status: int
    streamed: bool


class Tap:
    def __init__(self, url):
        address = urlsplit(url)
        self.target = (address.hostname, address.port)
        self.connections = []

    def __enter__(self):
        tap = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self):
                tap.pass_on(self.request)

        class Server(socketserver.ThreadingTCPServer):
            daemon_threads = True
            block_on_close = False

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *error):
        self.server.shutdown()
        self.server.server_close()

    def pass_on(self, client):
        sent, received = bytearray(), bytearray()
        self.connections.append((sent, received))
        with socket.create_connection(self.target) as server:
            for end in (client, server):
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            forth = threading.Thread(target=copy, args=(client, server, sent), daemon=True)
            forth.start()
            copy(server, client, received)
            forth.join()

    def exchanges(self):
        return [exchange for sent, received in self.connections for exchange in pairs(bytes(sent), bytes(received))]


def copy(source, target, kept):
    """Passes bytes on until they end, and then the end."""
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            kept += data
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def pairs(sent, received):
    """The exchanges of one connection, in their order."""
    requests = list(REQUEST.finditer(sent))
    answers = list(ANSWER.finditer(received))
    ends = [request.start() for request in requests[1:]] + [len(sent)]
    for index, (request, end) in enumerate(zip(requests, ends, strict=True)):
        answer = answers[index] if index < len(answers) else None
        yield Exchange(
            method=request[1].decode(),
            path=request[2].decode(),
            sent=sent[request.start() : end],
            status=int(answer[1]) if answer else 0,
            streamed=bool(answer and EVENTS.search(answer[2])),
        )
