"""What clients did, counted: so that a benchmark can check what one really asked for and got."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from starlette.types import Message, Send

REASON = b"stripe-rate-limited-reason"


@dataclass
class Traffic:
    """Since the start or the last reset. A request is counted when it arrives, an answer when it begins."""

    since: float = field(default_factory=time.time)
    requests: Counter[str] = field(default_factory=Counter)
    statuses: Counter[str] = field(default_factory=Counter)
    limited: Counter[str] = field(default_factory=Counter)
    bytes_received: int = 0
    bytes_sent: int = 0
    in_flight: int = 0
    most_in_flight: int = 0
    reads: int = 0
    spans: dict[str, list[float]] = field(default_factory=dict)  # per endpoint the times of its first and last request

    def arrives(self, endpoint: str) -> None:
        self.requests[endpoint] += 1
        self.spans.setdefault(endpoint, [time.time(), 0.0])[1] = time.time()
        self.reads += endpoint.startswith("GET ")
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def counted(self, send: Send) -> Send:
        """`send`, with status, reason of a 429 and bytes of the body counted."""

        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                status = str(message["status"])
                self.statuses[status] += 1
                if status == "429":
                    reasons = [value.decode() for name, value in message["headers"] if name == REASON]
                    self.limited[reasons[0] if reasons else "lock_timeout"] += 1
            else:
                self.bytes_sent += len(message.get("body", b""))
            await send(message)

        return counting

    def reset(self) -> None:
        """Start to count anew; what is in flight stays so."""
        in_flight = self.in_flight
        self.__init__(in_flight=in_flight, most_in_flight=in_flight)  # type: ignore[misc]

    def as_dict(self) -> dict[str, Any]:
        return {
            "seconds": round(time.time() - self.since, 3),
            "requests": dict(sorted(self.requests.items())),
            "statuses": dict(sorted(self.statuses.items())),
            "limited": dict(sorted(self.limited.items())),
            "reads": self.reads,
            "spans": dict(sorted(self.spans.items())),
            "bytes_received": self.bytes_received,
            "bytes_sent": self.bytes_sent,
            "in_flight": self.in_flight,
            "most_in_flight": self.most_in_flight,
        }
