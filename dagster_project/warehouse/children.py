"""Objects that arrive inside their parent: rows from embedded lists, and tombstones for what a complete list lacks."""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import StripeObject, columns
from dagster_project.warehouse import discounts, drift, history
from dagster_project.warehouse.stage import count, embedded, newest
from dagster_project.warehouse.typed import container_of, elements, structure, typed
from dagster_project.warehouse.upsert import NAMED, merge


def children(con: duckdb.DuckDBPyConnection, row: StripeObject, child: StripeObject, path: str, observed: str) -> int:
    """Rows embedded in the parents that were taken; what a complete list lacks is deleted.

    All of a parent's observations count, not only the newest: files loaded together give what they give one by one.
    """
    seen = f"(select o.* from temp.{observed} as o semi join temp.taken_{row.name} using (account_id, livemode, id))"
    container, table = container_of(row, path), f"embedded_{child.name}"
    only_named = child.name == "discounts" and row.name == "invoices"
    source = f"'{NAMED}'" if only_named else "p._source"
    parent = child.parent_column
    own = {column.name: column for column in columns(child.name)}
    given = {parent: "p.id"} if parent and parent in own else {}
    extra = f'p.id as "{parent}", ' if parent and parent not in own else ""
    con.execute(
        f"""
        create or replace temp table {table}_line as
        with element as (
            select p.account_id, p.livemode, p.id, p._api_version, p._observed_at, {source} as _source, p._n,
                   unnest({elements(container)}) as json
            from {seen} as p where not p._deleted
        ),
        typed as (
            select p.account_id, p.livemode, {extra}{typed(child, given=given)}, p.json as _payload, p._api_version,
                   p._observed_at, p._source, null::timestamptz as _deleted_at, coalesce(t.deleted, false) as _deleted,
                   p._n
            from (select *, json_transform(json, {structure(child)}) as t from element) as p
            where json_type(p.json) = 'OBJECT'
        )
        select * from typed where id is not null
        """
    )
    drift.record(con, child, f"{table}_line")
    newest(con, f"{table}_line", table, "_observed_at, _n" if only_named else "_observed_at desc, _n desc")
    complete = f"""
        select p.account_id, p.livemode, p.id as parent, p._observed_at from {seen} as p
        where not p._deleted and ({container} ->> '$.has_more') = 'false'
    """
    number = sum(merge(con, child, table, f"{table}_line"))
    if child.parent == row.name and parent:
        number += drop_vanished(con, child, complete, table)
    if child.name == "discounts":
        number += discounts.drop(con, row, seen)
    if child.history:
        history.from_parents(con, row, child, path)
    for grandchild, inner in embedded(child):
        number += children(con, child, grandchild, inner, table)
    return number


def drop_vanished(con: duckdb.DuckDBPyConnection, child: StripeObject, complete: str, stage: str) -> int:
    """Tombstone the children that a complete list of their parent, read after they were last seen, no longer shows."""
    key = "s.account_id = t.account_id and s.livemode = t.livemode and s.id = t.id"
    return count(
        con,
        f"""
        update stripe."{child.name}" as t set _deleted_at = gone.moment, _observed_at = gone.moment
        from (
            select t.account_id, t.livemode, t.id, min(c._observed_at) as moment
            from stripe."{child.name}" as t join ({complete}) as c
                on t.account_id = c.account_id and t.livemode = c.livemode and t."{child.parent_column}" = c.parent
                and t._observed_at <= c._observed_at
            where t._deleted_at is null
                and not exists (select 1 from temp.{stage} as s where {key} and s._observed_at >= c._observed_at)
            group by all
        ) as gone
        where t.account_id = gone.account_id and t.livemode = gone.livemode and t.id = gone.id
        """,
    )
