"""A webhook endpoint for tests: keeps what arrives and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Receiver:
    """Answers 500 to the first `refusals` deliveries; `answer`, when set, says the status of the n-th one (from 1)."""

    def __init__(self) -> None:
        self.received: list[tuple[bytes, str]] = []
        self.refusals = 0
        self.answer: Callable[[int], int] | None = None
        self.slow_s = 0.0
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((body, self.headers["Stripe-Signature"]))
                number = len(receiver.received)
                time.sleep(receiver.slow_s)
                refused = 500 if number <= receiver.refusals else 200
                self.send_response(receiver.answer(number) if receiver.answer else refused)
                self.send_header("Location", f"{receiver.url}/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self.thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.server_port}/hook"

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body, _ in self.received]

    def wait(self, count: int, seconds: float = 10) -> list[tuple[bytes, str]]:
        until = time.monotonic() + seconds
        while len(self.received) < count and time.monotonic() < until:
            time.sleep(0.01)
        return self.received

    def close(self) -> None:
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


def wait_for(what: Callable[[], Any], seconds: float = 10) -> Any:
    """What is first true, or what it was in the end."""
    until = time.monotonic() + seconds
    while not (found := what()) and time.monotonic() < until:
        time.sleep(0.02)
    return found
