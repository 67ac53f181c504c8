"""The pace of requests: Stripe's documented limits as token buckets, adapted by what 429 answers say.

Limits: https://docs.stripe.com/rate-limits (100 requests/s in live mode and 25 in a sandbox, 25 per endpoint). A share
is left for the other users of the key. A 429 is normal: it slows what it names, and the pace recovers by itself.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from dataclasses import dataclass, field

LIVE, SANDBOX, ENDPOINT = 100.0, 25.0, 25.0
LEFT_FOR_OTHERS = 0.05
IN_FLIGHT = 24


@dataclass
class _Bucket:
    limit: float
    rate: float = 0.0
    next_at: float = 0.0
    slowed_until: float = 0.0

    def __post_init__(self) -> None:
        self.rate = self.limit

    def take(self, now: float) -> float:
        """When the next request may start."""
        at = max(now, self.next_at)
        self.next_at = at + 1 / self.rate
        return at

    def slow(self, now: float) -> None:
        # Requests that were in flight together are refused together; that is one reason to slow down, not many.
        if now < self.slowed_until:
            return
        self.slowed_until = now + 1.0
        self.rate = max(self.limit * 0.1, self.rate * 0.7)
        self.next_at = max(self.next_at, now + 0.25)

    def recover(self) -> None:
        self.rate = min(self.limit, self.rate + self.limit * 0.005)


@dataclass
class Governor:
    """One per account. `paced` False is for the local simulator, which nobody else shares."""

    livemode: bool = True
    paced: bool = True
    requests: Counter[str] = field(default_factory=Counter)
    refusals: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        share = 1 - LEFT_FOR_OTHERS
        self._all = _Bucket((LIVE if self.livemode else SANDBOX) * share)
        self._each: dict[str, _Bucket] = {}
        self._share = share

    async def turn(self, endpoint: str) -> None:
        """Wait until a request to `endpoint` may start."""
        self.requests[endpoint] += 1
        if not self.paced and not self.refusals:
            return
        now = time.monotonic()
        at = max(self._all.take(now), self._bucket(endpoint).take(now))
        if at > now:
            await asyncio.sleep(at - now)

    def refused(self, endpoint: str, reason: str) -> None:
        """A 429 with its `Stripe-Rate-Limited-Reason` ('' is contention on one object, which needs no slower pace)."""
        self.refusals[reason or "lock"] += 1
        now = time.monotonic()
        if reason.startswith("global"):
            self._all.slow(now)
        elif reason.startswith("endpoint"):
            self._bucket(endpoint).slow(now)

    def answered(self, endpoint: str) -> None:
        self._all.recover()
        if endpoint in self._each:
            self._each[endpoint].recover()

    def _bucket(self, endpoint: str) -> _Bucket:
        return self._each.setdefault(endpoint, _Bucket(ENDPOINT * self._share))
