"""What a synchronisation says of itself: while it runs, and when it is done."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from typing import Literal, Protocol

from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.governor import ENDPOINT, Governor

State = Literal["ok", "not_permitted", "failed", "unchanged"]


class Progress(Protocol):
    """Where a person watches: objects of Stripe and other work, by name.

    `start` begins a name (again: another account reads it too), with how many rows there are where that is known;
    `advance` counts rows, `left` being an estimate of those still to come; `done` ends it, with what else there is to
    say. `watch` shows an account's requests.
    """

    def start(self, name: str, total: int | None) -> None: ...
    def advance(self, name: str, n: int, left: int | None = None) -> None: ...
    def done(self, name: str, message: str) -> None: ...
    def watch(self, governor: Governor) -> None: ...


@dataclass
class ObjectReport:
    """What one object's reading did; rows over all accounts. `message` says what is wrong or unusual.

    `requests` and `refused` (429s by reason) are those of all its endpoints; `share` is the part of Stripe's limit per
    endpoint that the busiest of them used while it was read (1.0 is all). `read_from` and `read_until` are the ends of
    `created` that were listed.
    """

    name: str
    state: State = "unchanged"
    received: int = 0
    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    total: int = 0
    requests: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    share: float | None = None
    seconds: float = 0.0
    read_from: datetime | None = None
    read_until: datetime | None = None
    message: str = ""


@dataclass
class SyncReport:
    """`changed`: whether the warehouse differs from before; `synced_until`: by Stripe's clock, the earliest account;
    `failed_accounts`: name (`platform/acct_…` for a connected one) -> why it could not be read.

    `refused` are 429s by reason; `share` is the part of Stripe's limit for an account that the requests used while
    it was read, None where nothing limits; `seconds` is how long everything took.
    """

    objects: dict[str, ObjectReport]
    load_version: int = 0
    changed: bool = False
    synced_until: datetime = field(default_factory=lambda: datetime.fromtimestamp(0, UTC))
    requests: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    share: float | None = None
    seconds: float = 0.0
    accounts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    failed_accounts: dict[str, str] = field(default_factory=dict)

    def count_requests(self, governor: Governor, seconds: float) -> None:
        """Add what the reading of a key's accounts asked Stripe for in `seconds`."""
        self.requests += governor.requests.total()
        for (_, reason), number in governor.refusals.items():
            self.refused[reason] += number
        if governor.paced and seconds > 0:
            used = governor.requests.total() / seconds / governor.limit
            self.share = max(self.share or 0.0, used)
        for name in self.objects.keys() | set(map(object_of, governor.requests)):
            if name:
                self._count_object(governor, self.objects.setdefault(name, ObjectReport(name)))

    def _count_object(self, governor: Governor, row: ObjectReport) -> None:
        mine = [number for endpoint, number in governor.requests.items() if object_of(endpoint) == row.name]
        row.requests += sum(mine)
        for (endpoint, reason), number in governor.refusals.items():
            if object_of(endpoint) == row.name:
                row.refused[reason] += number
        if governor.paced and mine and row.seconds > 0:
            row.share = max(row.share or 0.0, max(mine) / row.seconds / min(ENDPOINT, governor.limit))


@cache
def _objects() -> dict[str, str]:
    paths = {"/account": "accounts"}
    for row in CATALOGUE.values():
        if row.path:
            path = row.path.removeprefix("/v1").replace("{parent}", "{id}")
            paths |= {path: row.name, f"{path}/{{id}}": row.name}
    return paths


def object_of(endpoint: str) -> str | None:
    """Whose rows an endpoint (as the governor names it) gives; None for one that gives no object's."""
    return _objects().get(endpoint)


def refusals(by_reason: Counter[str]) -> str:
    """429s in words, e.g. `429: 3 endpoint-rate, 1 lock`; empty when there were none."""
    parts: Iterable[str] = (f"{number:,} {reason}" for reason, number in by_reason.most_common() if number)
    text = ", ".join(parts)
    return f"429: {text}" if text else ""
