"""`stripe.<object>_history`: one row per version that differs, with the time in which it held.

Versions come from events (exact: the event's `created`) and from re-reads (from the time of the re-read). A version seen
by both counts once. The result depends only on the set of versions seen, so rebuilding from landing gives the same rows.
"""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.warehouse.schema import table_columns
from dagster_project.warehouse.typed import elements, fingerprint, structure, typed


def from_events(con: duckdb.DuckDBPyConnection) -> None:
    """Versions that the events in `temp.accepted_events` carry, also of subscription items inside subscriptions."""
    seen = {
        kind
        for (kind,) in con.execute("select distinct _payload ->> '$.data.object.object' from temp.accepted_events").fetchall()
    }
    for row in CATALOGUE.values():
        if not row.history or row.name == "subscription_items" or seen.isdisjoint(row.kinds):
            continue
        kinds = ", ".join(f"'{kind}'" for kind in row.kinds)
        found = _candidates(
            con,
            row,
            f"""
            select e.account_id, e.livemode, json_extract(e._payload, '$.data.object') as json, e.created as valid_from,
                   true as exact, 'event' as _source, e._observed_at, -e._n as _n, null::varchar as parent
            from temp.accepted_events as e
            where (e._payload ->> '$.data.object.object') in ({kinds}) and (e._payload ->> '$.data.object.id') is not null
            """,
        )
        if found:
            _merge(con, row)
    items = CATALOGUE["subscription_items"]
    container = "json_extract(e._payload, '$.data.object.items')"
    if _candidates(
        con,
        items,
        f"""
        select e.account_id, e.livemode, unnest({elements(container)}) as json, e.created as valid_from, true as exact,
               'event' as _source, e._observed_at, -e._n as _n, e._payload ->> '$.data.object.id' as parent
        from temp.accepted_events as e where (e._payload ->> '$.data.object.object') = 'subscription'
        """,
    ):
        _merge(con, items)


def from_rows(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """Versions that re-reads brought: `temp.accepted_<object>` has the rows that were taken."""
    parent = row.parent_column
    if _candidates(
        con,
        row,
        f"""
        select account_id, livemode, _payload as json, _observed_at as valid_from, false as exact, _source, _observed_at, _n,
               {f'"{parent}"' if parent else "null::varchar"} as parent
        from temp.accepted_{row.name}
        """,
    ):
        _merge(con, row)


def _candidates(con: duckdb.DuckDBPyConnection, row: StripeObject, source: str) -> int:
    parent = row.parent_column
    given = {parent: "c.parent"} if parent and any(name == parent for name, _, _ in table_columns(row)) else {}
    con.execute(
        f"""
        create or replace temp table candidate as
        with c as ({source}),
        typed as (
            select c.account_id, c.livemode, {typed(row, given=given)}, c.json as _payload, c.valid_from, c.exact, c._source,
                   c._observed_at, c._n
            from c cross join lateral (select json_transform(c.json, {structure(row)}) as t)
        )
        select *, {fingerprint(row)} as _content_hash from typed where id is not null
        """
    )
    found = con.execute("select count(*) from temp.candidate").fetchone()
    return int(found[0]) if found else 0


def _merge(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """Order all versions of the touched objects, keep those that differ from the one before, and close the intervals.

    Inside one second the order of landing decides: the event list is newest first, so later lines are older.
    """
    table = f'stripe."{row.name}_history"'
    listed = ", ".join(f'"{name}"' for name, _, _ in table_columns(row))
    con.execute(
        f"""
        create or replace temp table version as
        with touched as (select distinct account_id, livemode, id from temp.candidate),
        every as (
            select {listed}, _payload, valid_from, _valid_from_is_exact as exact, _source, _observed_at, _content_hash,
                   -9000000000000000000::bigint as _n
            from {table} semi join touched using (account_id, livemode, id)
            union all
            select {listed}, _payload, valid_from, exact, _source, _observed_at, _content_hash, _n from temp.candidate
        ),
        last_of_second as (
            select * from every
            qualify row_number() over (
                partition by account_id, livemode, id, valid_from order by exact desc, _n desc
            ) = 1
        ),
        differing as (
            select * from last_of_second
            qualify lag(_content_hash) over (partition by account_id, livemode, id order by valid_from)
                is distinct from _content_hash
        )
        select *, lead(valid_from) over (partition by account_id, livemode, id order by valid_from) as valid_to from differing
        """
    )
    con.execute(
        f"delete from {table} as h using (select distinct account_id, livemode, id from temp.candidate) as c "
        "where h.account_id = c.account_id and h.livemode = c.livemode and h.id = c.id"
    )
    con.execute(
        f"""
        insert into {table} ({listed}, _payload, valid_from, valid_to, _valid_from_is_exact, _source, _observed_at, _content_hash)
        select {listed}, _payload, valid_from, valid_to, exact, _source, _observed_at, _content_hash from temp.version
        """
    )
