"""Answers that do not arrive as they should: cut short, drop by drop, or not at all."""

from __future__ import annotations

import asyncio
import math

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

_DROP_S = 0.05  # shorter waits than this cost more than they show


class Reset(Response):
    """The connection ends without an answer, though the call was carried out."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if (transport := scope.get("ledgerline.transport")) is not None:
            transport.abort()


class Truncated(Response):
    """Promises the whole body and sends half of it."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        half = bytes(self.body)[: len(self.body) // 2]
        await send({"type": "http.response.body", "body": half, "more_body": True})
        if (transport := scope.get("ledgerline.transport")) is not None:
            transport.close()


class Slow(Response):
    """The whole body, at some bytes per second, for as long as the client stays."""

    bytes_per_s: float = 1000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        body, transport = bytes(self.body), scope.get("ledgerline.transport")
        drop = max(1, math.floor(self.bytes_per_s * _DROP_S))
        for start in range(0, len(body), drop):
            if transport is not None and transport.is_closing():
                return
            await send({"type": "http.response.body", "body": body[start : start + drop], "more_body": True})
            await asyncio.sleep(drop / self.bytes_per_s)
        await send({"type": "http.response.body", "body": b""})


def slow(answer: Response, bytes_per_s: float) -> Response:
    made = Slow(answer.body, answer.status_code, dict(answer.headers))
    made.bytes_per_s = bytes_per_s
    return made
