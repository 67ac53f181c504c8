"""Discounts end without an event or a flag: what they applied to no longer shows them.

An invoice goes on naming the discounts that it had, so it shows that one existed, not that it exists.
"""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import StripeObject, get
from dagster_project.warehouse.stage import count
from dagster_project.warehouse.typed import container_of, elements
from dagster_project.warehouse.upsert import NAMED

# Which discounts belong to an owner itself; others only pass through it.
_OF = {
    "customers": "t.customer = p.id and t.subscription is null and t.subscription_item is null "
    "and t.invoice is null and t.invoice_item is null and t.checkout_session is null",
    "subscriptions": "t.subscription = p.id and t.subscription_item is null and t.invoice is null",
    "subscription_items": "t.subscription_item = p.id",
}


def drop(con: duckdb.DuckDBPyConnection, row: StripeObject, seen: str) -> int:
    """Tombstone discounts that their owner does not show; returns how many.

    `row`: what was loaded, an owner or the invoices; `seen`: its lines. All observations of an owner count, not only
    the newest, and a discount that only invoices named ends when the first did so: then the order of loading does not
    matter.
    """
    if row.name in _OF:
        return _tombstone(con, row, f"(select * from {seen} where not _deleted)")
    if row.name != "invoices":
        return 0
    fresh = f"""
        and t._source = '{NAMED}' and exists (select 1 from temp.taken_discounts as n
            where n.account_id = t.account_id and n.livemode = t.livemode and n.id = t.id)
    """
    return sum(_tombstone(con, get(owner), f'stripe."{owner}"', fresh) for owner in _OF)


def of_deleted(con: duckdb.DuckDBPyConnection, row: StripeObject) -> int:
    """Tombstone the discounts of owners of which this load says that they are deleted; returns how many."""
    if row.name not in _OF:
        return 0
    return count(
        con,
        f"""
        update stripe.discounts as t set _deleted_at = p._deleted_at, _observed_at = p._deleted_at
        from stripe."{row.name}" as p semi join temp.stage as s using (account_id, livemode, id)
        where t.account_id = p.account_id and t.livemode = p.livemode and {_OF[row.name]}
            and p._deleted_at is not null and t._deleted_at is null
        """,
    )


def _tombstone(con: duckdb.DuckDBPyConnection, owner: StripeObject, owners: str, also: str = "") -> int:
    listed = elements(container_of(owner, (get("discounts").embedded_in or {})[owner.name]))
    return count(
        con,
        f"""
        update stripe.discounts as t set _deleted_at = gone.moment, _observed_at = gone.moment
        from (
            select t.account_id, t.livemode, t.id,
                   min(if(t._source = '{NAMED}', t._observed_at, p._observed_at)) as moment
            from stripe.discounts as t join {owners} as p
                on t.account_id = p.account_id and t.livemode = p.livemode and {_OF[owner.name]}
                and (t._observed_at <= p._observed_at or t._source = '{NAMED}')
            where t._deleted_at is null {also}
                and not list_contains(list_transform({listed}, lambda x: coalesce(x ->> '$.id', x ->> '$')), t.id)
            group by all
        ) as gone
        where t.account_id = gone.account_id and t.livemode = gone.livemode and t.id = gone.id
        """,
    )
