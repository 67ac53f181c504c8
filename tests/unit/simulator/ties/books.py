"""All objects of an account in memory, and arithmetic on currencies that owes nothing to the engine."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import msgspec

from dagster_project.simulator.engine.ledger import balance_object
from dagster_project.simulator.engine.world import World

Object = dict[str, Any]
EVERYTHING = 10**7
_NONE = {
    "bif", "clp", "djf", "gnf", "jpy", "kmf", "krw", "mga", "pyg", "rwf", "vnd", "vuv", "xaf", "xof", "xpf",
}  # fmt: skip
_THREE = {"bhd", "jod", "kwd", "omr", "tnd"}


@dataclass
class Books:
    """`batches` are the balance transactions of each payout, `children` the rows of nested lists by their owner."""

    account: str
    now: int
    balance: Object
    kinds: dict[str, dict[str, Object]]
    batches: dict[str, list[str]]
    children: dict[str, dict[str, list[Object]]]
    usage: dict[tuple[str, str], list[tuple[int, Decimal]]]
    on_request: dict[str, Object]  # what an object only shows when it is expanded, such as a price's tiers

    def all(self, kind: str) -> list[Object]:
        return list(self.kinds.get(kind, {}).values())

    def find(self, kind: str, id: str | None) -> Object | None:
        return self.kinds.get(kind, {}).get(id or "")

    def the(self, kind: str, id: str | None) -> Object:
        return self.kinds.get(kind, {})[id or ""]


def read(world: World) -> dict[str, Books]:
    """The books of the platform and of every account connected to it."""
    return {account.id_of_account: _of(account) for account in world.accounts()}


def _of(world: World) -> Books:
    store = world.store
    kinds = {kind: {obj["id"]: obj for obj in store.all(kind)} for kind in store.counts() if kind != "event"}
    batches = {id: _rows(store.page("balance_transaction", where={"payout": id}, limit=EVERYTHING)[0])
               for id in kinds.get("payout", {})}  # fmt: skip
    children: dict[str, dict[str, list[Object]]] = {}
    for kind, owner in (("credit_note_line_item", "credit_note"), ("line_item", "invoice")):
        children[kind] = {
            id: _rows(store.page(kind, parent=id, limit=EVERYTHING)[0]) for id in kinds.get(owner, {})
        }  # fmt: skip
    usage: dict[tuple[str, str], list[tuple[int, Decimal]]] = {}
    for meter, customer, at, value in store.execute(
        "select meter, customer, at, value from usage where account = ? order by at", (store.account,)
    ):
        usage.setdefault((meter, customer), []).append((at, Decimal(value)))
    return Books(
        world.id_of_account, world.now, balance_object(world), kinds,
        {payout: [row["id"] for row in rows] for payout, rows in batches.items()}, children,
        usage, world.meta.get("on_request", {}),
    )  # fmt: skip


def _rows(bodies: Iterable[bytes]) -> list[Object]:
    return [msgspec.json.decode(body) for body in bodies]


def by(rows: Iterable[Object], *path: str) -> dict[Any, list[Object]]:
    """Rows grouped by a field, or by one inside a hash; without those that do not have it."""
    grouped: dict[Any, list[Object]] = defaultdict(list)
    for row in rows:
        value: Any = row
        for name in path:
            value = value.get(name) if isinstance(value, dict) else None
        if value is not None:
            grouped[value].append(row)
    return grouped


def exponent(currency: str) -> int:
    return 0 if currency in _NONE else 3 if currency in _THREE else 2


def converted(amount: int, source: str, target: str, rate: float | None) -> int:
    """`amount` minor units at a rate between whole units, half up; ISK and UGX have no hundredths."""
    if rate is None:
        return amount
    step = 100 if target in ("isk", "ugx") else 1
    units = amount * Decimal(str(rate)) * Decimal(10) ** (exponent(target) - exponent(source)) / step
    return int(units.quantize(Decimal(1), ROUND_HALF_UP)) * step


def is_nearest(amount: int, exact: Decimal) -> bool:
    """Whether an amount is what is exact, rounded to a whole unit."""
    return 2 * abs(Decimal(amount) - exact) <= 1
