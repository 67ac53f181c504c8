"""How much a client may ask: requests per second, requests at once, and calls that change the same object.

Sources: https://docs.stripe.com/rate-limits, https://docs.stripe.com/rate-limits#object-lock-timeouts
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from weakref import WeakValueDictionary

from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.faults import Faults


@dataclass
class _Bucket:
    tokens: float
    at: float

    def take(self, rate: float, now: float) -> bool:
        """One second's worth may be saved up."""
        self.tokens = min(max(rate, 1.0), self.tokens + (now - self.at) * rate)
        self.at = now
        if self.tokens < 1:
            return False
        self.tokens -= 1
        return True


class Limiter:
    """As Stripe limits: for the account and per endpoint; all ids of `GET /v1/charges/{id}` share their endpoint's."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}
        self._working: Counter[str] = Counter()

    def check(self, faults: Faults, endpoint: str) -> None:
        """Raises ApiError 429 with the reason that Stripe gives when too many came within a second."""
        own = faults.endpoint_rate_limits.get(endpoint, faults.endpoint_rate_limit)
        if own is None and endpoint.endswith("/search"):
            own, endpoint = faults.search_rate_limit, "search"
        now = time.monotonic()
        if faults.rate_limit is not None and not self._take("", faults.rate_limit, now):
            raise limited("global-rate")
        if own is not None and not self._take(endpoint, own, now):
            raise limited("endpoint-rate")

    @contextlib.contextmanager
    def working(self, faults: Faults, endpoint: str) -> Iterator[None]:
        """Inside, the request counts as one that is being answered. Raises ApiError 429 when too many already are."""
        own = faults.endpoint_concurrency_limits.get(endpoint, faults.endpoint_concurrency_limit)
        if faults.concurrency_limit is not None and self._working[""] >= faults.concurrency_limit:
            raise limited("global-concurrency")
        if own is not None and self._working[endpoint] >= own:
            raise limited("endpoint-concurrency")
        self._working.update(("", endpoint))
        try:
            yield
        finally:
            self._working.subtract(("", endpoint))

    def _take(self, name: str, rate: float, now: float) -> bool:
        bucket = self._buckets.setdefault(name, _Bucket(max(rate, 1.0), now))
        return bucket.take(rate, now)


class ObjectLocks:
    """Calls that change the same object, one after the other."""

    def __init__(self) -> None:
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    @contextlib.asynccontextmanager
    async def holding(self, ids: Iterable[str], wait_s: float) -> AsyncIterator[None]:
        """Raises ApiError 429 when another call does not let go of one of the objects in time."""
        async with contextlib.AsyncExitStack() as held:
            for id in sorted(set(ids)):  # always in the same order, or two calls could wait for each other
                lock = self._locks.setdefault(id, asyncio.Lock())
                try:
                    await asyncio.wait_for(lock.acquire(), wait_s if lock.locked() else None)
                except TimeoutError:
                    raise lock_timeout() from None
                held.callback(lock.release)
            yield


def limited(reason: str) -> ApiError:
    """429 by a limiter; `reason` is one of Stripe's five."""
    return ApiError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


def lock_timeout() -> ApiError:
    """429 because of the object, which carries no reason header."""
    return ApiError(
        429,
        "This object cannot be accessed right now because another API request or Stripe process is currently "
        "accessing it. If you see this error intermittently, retry the request. If you see this error frequently and "
        "are making multiple concurrent requests to a single object, make your requests serially or at a lower rate. "
        "For more details, see https://docs.stripe.com/rate-limits#object-lock-timeouts.",
        code="lock_timeout",
    )
