"""The simulated account: its clock, what is due when, its objects and the events that announce their changes."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from typing import Any

import msgspec

from dagster_project.simulator.engine import business, ids, shapes
from dagster_project.simulator.engine.store import Store

Object = dict[str, Any]
API_VERSION = "2026-10-28.endive"
_encode = msgspec.json.Encoder().encode

ACTIONS: dict[str, Callable[..., None]] = {}


def action(function: Callable[..., None]) -> Callable[..., None]:
    """Something that can become due on the clock: `world.later(at, function, …)` with arguments that fit into JSON."""
    ACTIONS[function.__name__] = function
    return function


class World:
    """`advance` runs everything that is due; the billing rules are in billing, payments and payouts.

    What is due, the counters of ids and the balance live in the store's meta, so a restart continues exactly.
    """

    def __init__(self, store: Store) -> None:
        self.store = store
        meta = store.meta
        self.seed: int = meta.get("seed", 7)
        self._due: list[list[Any]] = meta.setdefault("due", [])
        self._numbers: dict[str, int] = meta.setdefault("numbers", {})
        self.balance: dict[str, dict[str, int]] = meta.setdefault("balance", {})
        self.unpaid: dict[str, list[list[Any]]] = meta.setdefault("unpaid", {})  # currency -> [id, net], available
        self.pending: list[list[Any]] = meta.setdefault("pending", [])  # heap of [available_on, id, net, currency]
        self.events_from = 0
        self.new_events: list[str] = []

    # ---- time ----------------------------------------------------------------------------------------------
    @property
    def now(self) -> int:
        return self.store.now

    def later(self, at: int, what: Callable[..., None], *arguments: Any) -> None:
        heapq.heappush(self._due, [int(at), self.number("due"), what.__name__, list(arguments)])

    def advance(self, to: int) -> None:
        """Move the clock to `to` (Unix seconds); everything that falls due happens at its own time, in order.

        Raises ValueError when `to` lies before the clock.
        """
        if to < self.store.now:
            raise ValueError("the clock only moves forward")
        while self._due and self._due[0][0] <= to:
            at, _, name, arguments = heapq.heappop(self._due)
            self.store.now = max(self.store.now, at)
            ACTIONS[name](self, *arguments)
        self.store.now = to
        if self.events_from == 0 or to - business.EVENT_RETENTION > self.events_from:
            self.events_from = to - business.EVENT_RETENTION
            self.store.prune("event", self.events_from)
        self.store.flush()

    # ---- objects -------------------------------------------------------------------------------------------
    def number(self, name: str) -> int:
        self._numbers[name] = self._numbers.get(name, 0) + 1
        return self._numbers[name]

    def id(self, prefix: str) -> str:
        return ids.make(self.seed, prefix, self.number(prefix))

    def chance(self, *key: object) -> random.Random:
        return ids.chance(self.seed, *key)

    def add(self, kind: str, prefix: str, *, within: str | None = None, **fields: Any) -> Object:
        """A new object of `kind`, with `created` now unless given."""
        obj = shapes.new(kind, fields.pop("id", None) or self.id(prefix), **fields)
        if "created" in obj and not obj["created"]:
            obj["created"] = self.now
        return self.store.insert(obj, parent=within)

    def the(self, id: str, kind: str | None = None) -> Object:
        obj = self.store.get(id, kind)
        if obj is None:
            raise KeyError(id)
        return obj

    def change(self, obj: Object, event: str | None, **changes: Any) -> Object:
        """Set fields and announce exactly the previous values; what changes nothing is silent."""
        previous = {name: obj.get(name) for name, value in changes.items() if obj.get(name) != value}
        if not previous:
            return obj
        if self.announces:
            previous = shapes.frozen(previous)
        obj.update(changes)
        self.store.save(obj)
        if event:
            self.emit(event, obj, previous)
        return obj

    # ---- events --------------------------------------------------------------------------------------------
    @property
    def announces(self) -> bool:
        """While history is seeded, events older than the retention are not made at all."""
        return self.now >= self.events_from

    def emit(self, event: str, obj: Object, previous: Object | None = None) -> None:
        if not self.announces:
            return
        data: Object = {"object": msgspec.Raw(_encode(obj))}
        if previous is not None:
            data["previous_attributes"] = previous
        made = self.add(
            "event", "evt", type=event, api_version=API_VERSION, data=data, pending_webhooks=0,
            request={"id": None, "idempotency_key": None},
        )  # fmt: skip
        self.new_events.append(made["id"])
