"""A server on a real socket that sends the very bytes a test scripts, and ends connections as badly as it is told."""

from __future__ import annotations

import gzip
import json
import socket
import socketserver
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

Ending = Literal["keep", "close", "reset"]


class RawServer:
    """Answers requests from its script, one after the other, and then with `whole` for ever."""

    def __init__(self, whole: bytes) -> None:
        self.script: list[tuple[bytes, Ending]] = []
        self.whole = whole
        self.requests = 0
        self.connections = 0
        self.url = ""


def http(
    body: bytes | dict[str, Any], status: int = 200, *, length: int | None = None, **headers: str
) -> bytes:  # fmt: skip
    """An answer; `length` lies about the body's."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = {
        "Content-Type": "application/json", "Request-Id": "req_raw", "Content-Length": str(length or len(data)),
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }  # fmt: skip
    start = "\r\n".join([f"HTTP/1.1 {status} X", *(f"{name}: {value}" for name, value in lines.items() if value)])
    return start.encode() + b"\r\n\r\n" + data


def zipped(body: dict[str, Any], *, cut: int = 0, **options: Any) -> bytes:
    """Compressed, without its last `cut` bytes."""
    data = gzip.compress(json.dumps(body).encode())
    return http(data[: len(data) - cut], Content_Encoding="gzip", **options)


def chunked(body: dict[str, Any], *, upto: int) -> bytes:
    """In two chunks, of which only the bytes up to `upto` are sent."""
    data = json.dumps(body).encode()
    chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (data[:20], data[20:])) + b"0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + chunks[:upto]


@contextmanager
def serving(whole: dict[str, Any]) -> Iterator[RawServer]:
    raw = RawServer(http(whole))

    class Handler(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            raw.connections += 1
            connection: socket.socket = self.request
            received = b""
            while True:
                while b"\r\n\r\n" not in received:
                    try:
                        part = connection.recv(65536)
                    except ConnectionError:
                        return
                    if not part:
                        return
                    received += part
                received = received.split(b"\r\n\r\n", 1)[1]
                raw.requests += 1
                data, ending = raw.script.pop(0) if raw.script else (raw.whole, "keep")
                connection.sendall(data)
                if ending == "reset":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                if ending != "keep":
                    return

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True

        def shutdown_request(self, request: Any) -> None:
            request.close()  # without the FIN that would hide a reset

    with Server(("127.0.0.1", 0), Handler) as server:
        raw.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=lambda: server.serve_forever(poll_interval=0.01))
        thread.start()
        try:
            yield raw
        finally:
            server.shutdown()
            thread.join()
