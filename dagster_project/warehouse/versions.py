"""How versions are kept, so that an object which was seen once is not stored twice.

`stripe.<object>_history` is a view (schema.py). The only version of an object is its row in `stripe.<object>` with a
narrow row in `sync.single_<object>`; from its second version on, all of them are whole rows in `sync.version_<object>`.
"""

from __future__ import annotations

import duckdb

from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.warehouse.schema import table_columns
from dagster_project.warehouse.stage import count
from dagster_project.warehouse.typed import fingerprint

_KEY = "account_id, livemode, id"
_META = "_source, _observed_at, _content_hash"


def listed(row: StripeObject) -> str:
    """The columns that a version shares with its object's table, as SQL text."""
    return ", ".join(f'"{name}"' for name, _, _ in table_columns(row))


def write_out(con: duckdb.DuckDBPyConnection, row: StripeObject, places: str) -> None:
    """Single versions become rows of their own: before the object's row changes, or because another version came.

    `places`: a relation of keys and `_at`, the rowid in `stripe.<object>`.
    """
    single = f"sync.single_{row.name}"
    con.execute(
        f"""
        create or replace temp table leaving as
        select p._at, s.valid_from, s._valid_from_is_exact, s._source, s._observed_at
        from {single} as s join ({places}) as p using ({_KEY})
        """
    )
    if not count(con, "select count(*) from temp.leaving"):
        return
    con.execute(
        f"""
        insert into sync.version_{row.name} ({listed(row)}, _payload, valid_from, _valid_from_is_exact, {_META})
        select {listed(row)}, t._payload, l.valid_from, l._valid_from_is_exact, l._source, l._observed_at,
               t._content_hash
        from temp.leaving as l
        join (select rowid as _at, {listed(row)}, _payload, {fingerprint(row)} as _content_hash
              from stripe."{row.name}" where rowid in (select _at from temp.leaving)) as t using (_at)
        """
    )
    con.execute(
        f"delete from {single} as s using ({places}) as p "
        "where s.account_id = p.account_id and s.livemode = p.livemode and s.id = p.id"
    )


def keep(con: duckdb.DuckDBPyConnection, row: StripeObject, *, held: str | None) -> None:
    """Add the versions in `temp.candidate`: order all versions of the touched objects, keep those that differ from the
    one before, and close the intervals. Of several versions inside one second the last one stays.

    `held`: a relation of the keys whose row in `stripe.<object>` is new and came with these candidates; None when the
    candidates are no rows of the table.
    """
    # Most objects are seen for the first time, and once: they need no ordering.
    if held is None:
        table, shown = f"sync.version_{row.name}", f"{listed(row)}, _payload"
        _first(con, row, f"anti join sync.single_{row.name} using ({_KEY})")
    else:
        table, shown = f"sync.single_{row.name}", _KEY
        _first(con, row, f"semi join ({held}) using ({_KEY})")
    meta = _META if held is None else "_source, _observed_at"
    con.execute(
        f"insert into {table} ({shown}, valid_from, _valid_from_is_exact, {meta}) "
        f"select {shown}, valid_from, exact, {meta} from temp.candidate semi join temp.once using ({_KEY})"
    )
    # By key first: whole rows and their content hashes are only worked out for those that need an order.
    con.execute(
        "create or replace temp table other as "
        f"select distinct {_KEY}, _n from temp.candidate anti join temp.once using ({_KEY})"
    )
    if count(con, "select count(*) from temp.other"):
        con.execute(
            "create or replace temp table several as select c.* "
            f"from temp.candidate as c join temp.other using ({_KEY}, _n)"
        )
        _order(con, row)


def _first(con: duckdb.DuckDBPyConnection, row: StripeObject, also: str) -> None:
    """`temp.once`: keys that have one candidate and no version yet."""
    con.execute(
        f"""
        create or replace temp table once as
        select {_KEY} from temp.candidate {also} anti join sync.version_{row.name} using ({_KEY})
        group by all having count(*) = 1
        """
    )


def _order(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """Work out all versions of the objects in `temp.several` anew, also from their row: an event may come late, and say
    what was before it was last read."""
    table, columns = f"sync.version_{row.name}", listed(row)
    con.execute(
        f"""
        create or replace temp table touched as
        select k.*, t.rowid as _at
        from (select distinct {_KEY} from temp.several) as k left join stripe."{row.name}" as t using ({_KEY})
        """
    )
    write_out(con, row, "select * from temp.touched")
    con.execute(
        f"""
        create or replace temp table version as
        with every as (
            select {columns}, _payload, valid_from, _valid_from_is_exact as exact, {_META},
                   -9000000000000000000::bigint as _n
            from {table} semi join temp.touched using ({_KEY})
            union all
            select {columns}, _payload, valid_from, exact, {_META}, _n from temp.several
            union all
            select {columns}, _payload, _observed_at, false, _source, _observed_at, {fingerprint(row)}, -1
            from stripe."{row.name}" where rowid in (select _at from temp.touched) and _deleted_at is null
        ),
        last_of_second as (
            select * from every
            qualify row_number() over (partition by {_KEY}, valid_from order by exact desc, _n desc) = 1
        ),
        differing as (
            select * from last_of_second
            qualify lag(_content_hash) over (partition by {_KEY} order by valid_from) is distinct from _content_hash
        )
        select *, lead(valid_from) over (partition by {_KEY} order by valid_from) as valid_to from differing
        """
    )
    con.execute(
        f"delete from {table} as h using temp.touched as c "
        "where h.account_id = c.account_id and h.livemode = c.livemode and h.id = c.id"
    )
    con.execute(
        f"insert into {table} ({columns}, _payload, valid_from, valid_to, _valid_from_is_exact, {_META}) "
        f"select {columns}, _payload, valid_from, valid_to, exact, {_META} from temp.version"
    )
