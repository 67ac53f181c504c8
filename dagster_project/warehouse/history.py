"""`stripe.<object>_history`: one row per version that differs, with the time in which it held.

Versions come from events (exact: the event's `created`) and from re-reads (from the time of the re-read). A version
seen by both counts once. Versions of what a load brings are ordered anew, so that rebuilding from landing gives the
same rows.
"""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject
from dagster_project.warehouse.normalise import pinned
from dagster_project.warehouse.schema import table_columns
from dagster_project.warehouse.stage import count
from dagster_project.warehouse.typed import elements, structure, typed
from dagster_project.warehouse.upsert import pair
from dagster_project.warehouse.versions import keep, write_out


def find_differing(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """`temp.differing_<object>`: keys of which `temp.lines` has a line that the table has not; before the merge."""
    pair(con, row, "lines")
    con.execute(
        f"""
        create or replace temp table differing_{row.name} as
        select distinct s.account_id, s.livemode, s.id
        from temp.lines as s left join temp.pair as p using (_row)
        where not s._deleted and (p._row is null or not p._same)
        """
    )


def from_events(con: duckdb.DuckDBPyConnection) -> None:
    """Versions that the new events in `temp.taken_events` carry, also of subscription items inside subscriptions."""
    # Inside one second later runs are newer; within the event list, which is newest first, later lines are older.
    con.execute(
        """
        create or replace temp table event_order as
        select _row, row_number() over (order by _run, _file desc, _row desc) as _n
        from temp.taken_events where _differs
        """
    )
    objects = """
        select account_id, livemode, created, _observed_at, _n, json_extract(_payload, '$.data.object') as json
        from temp.taken_events join temp.event_order using (_row)
    """
    con.execute(f"create or replace temp table carried as {pinned(objects)}")
    seen = {kind for (kind,) in con.execute("select distinct kind from temp.carried").fetchall()}
    for row in CATALOGUE.values():
        if not row.history or row.name == "subscription_items" or seen.isdisjoint(row.kinds):
            continue
        kinds = ", ".join(f"'{kind}'" for kind in row.kinds)
        _candidates(
            con,
            row,
            f"""
            select e.account_id, e.livemode, e.json, e.created as valid_from,
                   true as exact, 'event' as _source, e._observed_at, e._n, null::varchar as parent
            from temp.carried as e where e.kind in ({kinds})
            """,
        )
        keep(con, row, "carried_version", held=None)
    if "subscription" not in seen:
        return
    items = CATALOGUE["subscription_items"]
    _candidates(
        con,
        items,
        f"""
        select e.account_id, e.livemode, unnest({elements("json_extract(e.json, '$.items')")}) as json,
               e.created as valid_from, true as exact, 'event' as _source, e._observed_at, e._n,
               e.json ->> '$.id' as parent
        from temp.carried as e where e.kind = 'subscription'
        """,
    )
    keep(con, items, "carried_version", held=None)
    _end_removed_items(
        con,
        "select account_id, livemode, json ->> '$.id' as id from temp.carried where kind = 'subscription'",
    )


def from_rows(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """Versions that re-reads brought: every line in `temp.lines` of an object that differs from what was known."""
    con.execute(
        f"""
        create or replace temp view candidate as
        select account_id, livemode, id, _row, _n, _observed_at as valid_from, false as exact, _source, _observed_at
        from temp.lines semi join temp.differing_{row.name} using (account_id, livemode, id) where not _deleted
        """
    )
    keep(con, row, "observed", held=_new(row))
    if row.name == "subscription_items":
        _end_removed_items(con, "select account_id, livemode, subscription as id from temp.lines")


def from_parents(con: duckdb.DuckDBPyConnection, parent: StripeObject, child: StripeObject, path: str) -> None:
    """Versions of children that re-reads of their parents brought."""
    container = f"json_extract(o._payload, '$.{path}')"
    _candidates(
        con,
        child,
        f"""
        select account_id, livemode, unnest({elements(container)}) as json, _observed_at as valid_from, false as exact,
               _source, _observed_at, _n, id as parent
        from temp.lines as o semi join temp.differing_{parent.name} using (account_id, livemode, id)
        where not _deleted
        """,
    )
    keep(con, child, "carried_version", held=_new(child))
    if child.name == "subscription_items":
        _end_removed_items(con, f"select account_id, livemode, id from temp.differing_{parent.name}")


def _new(row: StripeObject) -> str:
    """Keys that the merge before put into the table of an object for the first time."""
    return f"select account_id, livemode, id from temp.taken_{row.name} where not _known"


def _end_removed_items(con: duckdb.DuckDBPyConnection, subscriptions: str) -> None:
    """An item's last version ends when a version of its subscription no longer holds it."""
    con.execute(
        f"""
        create or replace temp table ended as
        select i.account_id, i.livemode, i.id, min(v.valid_from) as moment
        from stripe.subscription_items_history as i
        semi join ({subscriptions}) as touched
            on touched.account_id = i.account_id and touched.livemode = i.livemode and touched.id = i.subscription
        join stripe.subscriptions_history as v
            on v.account_id = i.account_id and v.livemode = i.livemode and v.id = i.subscription
            and v.valid_from > i.valid_from
        where i.valid_to is null and (v.items ->> '$.has_more') is distinct from 'true'
            and not list_contains(list_transform({elements("v.items")}, lambda x: x ->> '$.id'), i.id)
        group by all
        """
    )
    if not count(con, "select count(*) from temp.ended"):
        return
    places = """
        select e.account_id, e.livemode, e.id, t.rowid as _at
        from temp.ended as e join stripe.subscription_items as t using (account_id, livemode, id)
    """
    write_out(con, CATALOGUE["subscription_items"], places)
    con.execute(
        """
        update sync.version_subscription_items as h set valid_to = e.moment from temp.ended as e
        where h.account_id = e.account_id and h.livemode = e.livemode and h.id = e.id and h.valid_to is null
        """
    )


def _candidates(con: duckdb.DuckDBPyConnection, row: StripeObject, source: str) -> None:
    """`temp.candidate`: versions of `row` in `temp.carried_version`, typed from the JSON that `source` selects."""
    parent = row.parent_column
    given = {parent: "c.parent"} if parent and any(name == parent for name, _, _ in table_columns(row)) else {}
    con.execute(
        f"""
        create or replace temp table carried_version as
        select c.account_id, c.livemode, {typed(row, given=given)}, c.json as _payload, c.valid_from, c.exact,
               c._source, c._observed_at, c._n
        from (select *, json_transform(json, {structure(row)}) as t from ({source})) as c
        """
    )
    con.execute(
        "create or replace temp view candidate as select account_id, livemode, id, rowid as _row, _n, valid_from, "
        "exact, _source, _observed_at from temp.carried_version where id is not null"
    )
