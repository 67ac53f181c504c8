"""Trouble on demand: latency, rate limits, failures and broken answers, by option or while the simulator runs."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dagster_project.simulator.http.api_errors import ApiError


@dataclass
class Faults:
    """Rates are shares of requests (0 to 1); limits are requests per second; None is no limit."""

    latency_ms: float = 0
    jitter_ms: float = 0
    rate_limit: float | None = None
    endpoint_rate_limit: float | None = None
    endpoint_rate_limits: dict[str, float] = field(default_factory=dict)
    error_rate: float = 0
    reset_rate: float = 0
    truncate_rate: float = 0
    # Restricts error_rate, reset_rate and truncate_rate to paths that start with this; "" is every path.
    path: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def from_mapping(values: Mapping[str, Any], base: Faults | None = None) -> Faults:
    """`base` with the given fields replaced. Raises ApiError 400 for an unknown field or a value of another type."""
    changed = (base or Faults()).as_dict()
    known = {each.name for each in fields(Faults)}
    for name, value in values.items():
        if name not in known:
            raise ApiError(400, f"Unknown fault: {name}. Known: {', '.join(sorted(known))}.", param=name)
        if not _fits(name, value):
            raise ApiError(400, f"Invalid value of {name}: {value!r}", param=name)
        changed[name] = value
    return Faults(**changed)


def _fits(name: str, value: Any) -> bool:
    def number(each: Any, lowest: float = 0) -> bool:
        return isinstance(each, int | float) and not isinstance(each, bool) and each >= lowest

    if name == "path":
        return isinstance(value, str)
    if name == "endpoint_rate_limits":
        return isinstance(value, dict) and all(number(each, 0.01) for each in value.values())
    if name in ("rate_limit", "endpoint_rate_limit"):
        return value is None or number(value, 0.01)
    return number(value) and (not name.endswith("_rate") or value <= 1)


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
    """Token buckets as Stripe keeps them: one for the account, one per endpoint; all ids share their endpoint's."""

    def __init__(self) -> None:
        self._buckets: dict[str, _Bucket] = {}

    def check(self, faults: Faults, endpoint: str) -> None:
        """Raises ApiError 429 with the reason that Stripe gives. `endpoint` is e.g. `GET /v1/charges/{id}`."""
        own = faults.endpoint_rate_limits.get(endpoint, faults.endpoint_rate_limit)
        now = time.monotonic()
        if faults.rate_limit is not None and not self._take("", faults.rate_limit, now):
            raise _limited("global-rate")
        if own is not None and not self._take(endpoint, own, now):
            raise _limited("endpoint-rate")

    def _take(self, name: str, rate: float, now: float) -> bool:
        bucket = self._buckets.setdefault(name, _Bucket(max(rate, 1.0), now))
        return bucket.take(rate, now)


def _limited(reason: str) -> ApiError:
    return ApiError(
        429,
        "Request rate limit exceeded. Learn more about rate limits here https://docs.stripe.com/rate-limits.",
        code="rate_limit",
        headers={"Stripe-Rate-Limited-Reason": reason},
    )


class Dice:
    """Decides which requests fail; seeded, so that a run can be repeated."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def happens(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    def delay(self, faults: Faults) -> float:
        """Seconds to wait before answering."""
        return (faults.latency_ms + self._random.random() * faults.jitter_ms) / 1000
