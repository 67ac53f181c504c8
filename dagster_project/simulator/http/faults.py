"""Trouble on demand: the settings, by option or while the simulator runs, and the dice that decide whom it strikes."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from dagster_project.simulator.http.api_errors import ApiError


@dataclass
class Faults:
    """Rates are shares of requests (0 to 1) and strike those of `path` and `account`; all else holds for every request.

    Limits that are None do not limit. The keys of the `endpoint_…_limits` are e.g. `GET /v1/charges/{id}`.
    """

    latency_ms: float = 0
    jitter_ms: float = 0
    # Requests per second.
    rate_limit: float | None = None
    endpoint_rate_limit: float | None = None
    endpoint_rate_limits: dict[str, float] = field(default_factory=dict)
    # Of all searches together; Stripe allows 20.
    search_rate_limit: float | None = None
    # Requests that are being answered at the same time.
    concurrency_limit: int | None = None
    endpoint_concurrency_limit: int | None = None
    endpoint_concurrency_limits: dict[str, int] = field(default_factory=dict)
    resource_limit_rate: float = 0
    lock_timeout_rate: float = 0
    # How long a call waits for another one that changes the same object.
    lock_wait_s: float = 5
    # 500 without anything having happened, and 500 although it happened.
    error_rate: float = 0
    lost_rate: float = 0
    reset_rate: float = 0
    truncate_rate: float = 0
    slow_rate: float = 0
    slow_bytes_per_s: float = 1000
    # New objects that lists and retrieves do not show for a while (wall time); an event is never late by these.
    late_rate: float = 0
    late_seconds: float = 5
    # How long a new object cannot be found by search (wall time).
    search_lag_s: float = 0
    # How long lists and retrieves do not show an event (wall time); events that are told once more with another id;
    # seconds whose events stand in any order.
    event_lag_s: float = 0
    event_twice_rate: float = 0
    event_shuffle_rate: float = 0
    # Deliveries to webhook endpoints: how late the first try is, and by up to how much more, so that they overtake each
    # other; those sent once more although taken; the waits between tries, which pass `webhook_speed` times as fast;
    # after how many tries in a row without success an endpoint is disabled (0: never).
    webhook_delay_s: float = 0
    webhook_jitter_s: float = 0
    webhook_twice_rate: float = 0
    webhook_retries: str = "fast"
    webhook_speed: float = 1
    webhook_timeout_s: float = 10
    webhook_disable_after: int = 0
    # "" is every path, otherwise those that start with it; "" is every account, otherwise the platform or the connected
    # account of this id.
    path: str = ""
    account: str = ""

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


def from_texts(texts: Iterable[str]) -> dict[str, Any]:
    """What a command line says: JSON objects or `name=value`, later ones win. Raises ApiError 400 for anything else."""
    values: dict[str, Any] = {}
    for text in texts:
        if text.lstrip().startswith("{"):
            values |= _json(text, text)
        else:
            name, given, value = text.partition("=")
            if not given:
                raise ApiError(400, f"Invalid fault: {text}. Say name=value or a JSON object.")
            plain = name.strip() in ("path", "account", "webhook_retries")
            values[name.strip()] = value if plain else _json(value, text)
    from_mapping(values)
    return values


def _json(value: str, text: str) -> Any:
    try:
        return json.loads(value)
    except ValueError:
        raise ApiError(400, f"Invalid fault: {text}. Say name=value or a JSON object.") from None


def _fits(name: str, value: Any) -> bool:
    def number(each: Any, lowest: float) -> bool:
        return isinstance(each, int | float) and not isinstance(each, bool) and lowest <= each <= 1e9

    def whole(each: Any) -> bool:
        return number(each, 1) and int(each) == each

    if name in ("path", "account"):
        return isinstance(value, str)
    if name == "webhook_retries":
        return value in ("fast", "sandbox", "live")
    if name in ("webhook_speed", "webhook_timeout_s"):
        return number(value, 0.01)
    if name == "webhook_disable_after":
        return value == 0 or whole(value)
    if name == "endpoint_rate_limits":
        return isinstance(value, dict) and all(number(each, 0.01) for each in value.values())
    if name == "endpoint_concurrency_limits":
        return isinstance(value, dict) and all(whole(each) for each in value.values())
    if name.endswith("rate_limit"):
        return value is None or number(value, 0.01)
    if name.endswith("concurrency_limit"):
        return value is None or whole(value)
    if name == "slow_bytes_per_s":
        return number(value, 1)
    return number(value, 0) and (not name.endswith("_rate") or value <= 1)


class Dice:
    """Decides which requests fail; seeded, so that a run can be repeated."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def happens(self, rate: float) -> bool:
        return rate > 0 and self._random.random() < rate

    def shuffled(self, values: list[str]) -> list[str]:
        """In another order; the opposite one where there is only that."""
        return values[::-1] if len(values) == 2 else self._random.sample(values, len(values))

    def delay(self, faults: Faults) -> float:
        """Seconds to wait before answering."""
        return (faults.latency_ms + self._random.random() * faults.jitter_ms) / 1000
