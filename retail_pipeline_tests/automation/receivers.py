"""Receivers of alerts: an HTTP server and a mail server on loopback."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer


@dataclass
class Receiver:
    """The received messages; a webhook answers with `status` and refuses the title `unwanted`."""

    port: int = 0
    status: int = 200
    unwanted: str = ""
    received: list = field(default_factory=list)

    @property
    def titles(self) -> list[str]:
        return [each["title"] for each in self.received]


@contextmanager
def webhook() -> Iterator[Receiver]:
    receiver = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status = 400 if body["title"] == receiver.unwanted else receiver.status
            if status == 200:
                receiver.received.append(body)
            self.send_response(status)
            self.end_headers()

        def log_message(self, *words: object) -> None:
            pass

    with _serving(HTTPServer(("127.0.0.1", 0), Handler)) as receiver.port:
        yield receiver


@contextmanager
def mail_server() -> Iterator[Receiver]:
    """A minimal SMTP server that stores each message as text."""
    receiver = Receiver()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 here\r\n")
            while line := self.rfile.readline():
                if line.upper().startswith(b"DATA"):
                    self.wfile.write(b"354 go on\r\n")
                    receiver.received.append(b"".join(iter(self.rfile.readline, b".\r\n")).decode())
                quits = line.upper().startswith(b"QUIT")
                self.wfile.write(b"221 bye\r\n" if quits else b"250 fine\r\n")

    with _serving(socketserver.TCPServer(("127.0.0.1", 0), Handler)) as receiver.port:
        yield receiver


@contextmanager
def _serving(server: socketserver.BaseServer) -> Iterator[int]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(30)
        server.server_close()
