"""Two warehouses, table by table: which rows only one of them has, or both have differently."""

from __future__ import annotations

from collections.abc import Collection

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.warehouse.connection import Warehouse

# How and when a row was read last differs from one way of reading to another; what it says does not.
HOW_IT_WAS_READ = ("_observed_at", "_source")
_SHOWN = 6


def unequal(
    one: Warehouse, other: Warehouse, *, only_living: bool = False, but: Collection[str] = (), history: bool = True,
    ignoring: Collection[str] = HOW_IT_WAS_READ,
) -> list[str]:  # fmt: skip
    """In words, how tables differ, without the columns `ignoring` and the objects `but`.

    `only_living` leaves tombstones out: a warehouse that came later never saw what was deleted before.
    """
    found: list[str] = []
    with duckdb.connect(":memory:") as con:
        con.execute(f"attach '{one.build}' as one (read_only)")
        con.execute(f"attach '{other.build}' as other (read_only)")
        for row in CATALOGUE.values():
            if row.name not in but:
                found += _unequal(con, f"stripe.{row.name}", ignoring, "_deleted_at is null" if only_living else "true")
            if row.history and history and row.name not in but:
                found += _unequal(con, f"stripe.{row.name}_history", ignoring, "true")
        found += _unequal(con, "sync.payout_transactions", (), "true", key="payout, balance_transaction")
    return found


def _unequal(
    con: duckdb.DuckDBPyConnection, table: str, ignoring: Collection[str], where: str, *, key: str = "id"
) -> list[str]:
    names = [name for (name, *_) in con.execute(f"describe one.{table}").fetchall() if name not in ignoring]
    listed = ", ".join(f'"{name}"::varchar' for name in names)
    rows = {side: f"select {listed}, {key} from {side}.{table} where {where}" for side in ("one", "other")}
    found = []
    for side, opposite in (("one", "other"), ("other", "one")):
        only = con.execute(f"{rows[side]} except all {rows[opposite]}").fetchall()
        found += [f"{table} {only_one[-1]} is so in {side} alone" for only_one in only[:_SHOWN]]
    return found
