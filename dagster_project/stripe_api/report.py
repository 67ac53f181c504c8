"""What a synchronisation says of itself: while it runs, and when it is done."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, Protocol

State = Literal["ok", "not_permitted", "failed", "unchanged"]


class Progress(Protocol):
    """Where a person watches: a bar or a line per name."""

    def start(self, name: str, total: int | None) -> None: ...
    def advance(self, name: str, n: int) -> None: ...
    def done(self, name: str, message: str) -> None: ...


@dataclass
class ObjectReport:
    """What one object's reading did; rows over all accounts. `message` says what is wrong or unusual."""

    name: str
    state: State = "unchanged"
    received: int = 0
    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    total: int = 0
    requests: int = 0
    seconds: float = 0.0
    message: str = ""


@dataclass
class SyncReport:
    """`changed`: whether the warehouse differs from before; `synced_until`: by Stripe's clock, the earliest account."""

    objects: dict[str, ObjectReport]
    load_version: int = 0
    changed: bool = False
    synced_until: datetime = field(default_factory=lambda: datetime.fromtimestamp(0, UTC))
    requests: int = 0
    accounts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
