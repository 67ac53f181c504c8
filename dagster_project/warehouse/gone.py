"""What goes with an object that is deleted: what belonged to it and nothing else, whatever was loaded first."""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.warehouse import discounts
from dagster_project.warehouse.stage import count


def with_parents(con: duckdb.DuckDBPyConnection, row: StripeObject) -> int:
    """Tombstone the embedded children of deleted parents, where this load of `row` brought one of either."""
    number = 0
    for child in CATALOGUE.values():
        if (
            child.strategy == "children"
            and child.parent
            and child.parent_column
            and row.name in (child.name, child.parent)
        ):
            key = "id" if row.name == child.name else f'"{child.parent_column}"'
            number += count(
                con,
                f"""
                update stripe."{child.name}" as t set _deleted_at = p._deleted_at, _observed_at = p._observed_at
                from stripe."{child.parent}" as p
                where p.account_id = t.account_id and p.livemode = t.livemode and p.id = t."{child.parent_column}"
                    and p._deleted_at is not null and t._deleted_at is null and t._observed_at <= p._observed_at
                    and exists (select 1 from temp.stage as s
                        where s.account_id = t.account_id and s.livemode = t.livemode and s.id = t.{key})
                """,
            )
    return number + discounts.of_deleted(con, row)
