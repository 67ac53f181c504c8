"""The balance of an account, worked out anew from its rows and from its payouts."""

from __future__ import annotations

import json
from collections import Counter

from dagster_project.simulator.engine.ledger import balance_object
from dagster_project.simulator.engine.world import World

Totals = Counter[tuple[str, str]]


def summed(world: World) -> Totals:
    """(status, currency) -> the sum of the rows."""
    found: Totals = Counter()
    for row in world.store.all("balance_transaction"):
        assert row["net"] == row["amount"] - row["fee"], row
        assert row["fee"] == sum(part["amount"] for part in row["fee_details"]), row
        assert {part["currency"] for part in row["fee_details"]} <= {row["currency"]}, row
        found[row["status"], row["currency"]] += row["net"]
    return Counter({key: value for key, value in found.items() if value})


def kept(world: World) -> Totals:
    """(status, currency) -> what the account says it has."""
    balance = balance_object(world)
    return Counter(
        {
            (status, row["currency"]): row["amount"]
            for status in ("available", "pending")
            for row in balance[status]
            if row["amount"]
        }
    )


def batches(world: World) -> dict[str, int]:
    """Automatic payout -> the sum of what it consists of, without its own row."""
    found: dict[str, int] = {}
    for payout in world.store.all("payout"):
        if payout["automatic"]:
            rows, more = world.store.page("balance_transaction", where={"payout": payout["id"]}, limit=100_000)
            assert not more
            parts = [part for part in map(_decoded, rows) if part["id"] != payout["balance_transaction"]]
            found[payout["id"]] = sum(part["net"] for part in parts)
    return found


def _decoded(body: bytes) -> dict[str, object]:
    return dict(json.loads(body))
