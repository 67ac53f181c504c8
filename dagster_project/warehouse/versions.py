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


def keep(con: duckdb.DuckDBPyConnection, row: StripeObject, lines: str, *, held: str | None) -> None:
    """Add the versions in `temp.candidate`: order all versions of the touched objects, keep those that differ from the
    one before, and close the intervals. Of several versions inside one second the last one stays.

    A candidate is a narrow row; its `_row` is the place of the whole one in the table `temp.<lines>`. `held`: a
    relation of the keys whose row in `stripe.<object>` is new and came with these candidates; None when the candidates
    are no rows of the table.
    """
    # Most objects are seen for the first time, and once: they need no ordering.
    also = f"anti join sync.single_{row.name}" if held is None else f"semi join ({held})"
    con.execute(
        f"""
        create or replace temp table once as
        select {_KEY}, any_value(_row) as _row from temp.candidate {also} using ({_KEY})
        anti join sync.version_{row.name} using ({_KEY}) group by all having count(*) = 1
        """
    )
    if held is None:
        _write(con, row, f"temp.{lines}", "select *, null::timestamptz as valid_to from temp.candidate "
               "where _row in (select _row from temp.once)")  # fmt: skip
    else:
        con.execute(
            f"insert into sync.single_{row.name} ({_KEY}, valid_from, _valid_from_is_exact, _source, _observed_at) "
            f"select {_KEY}, valid_from, exact, _source, _observed_at from temp.candidate "
            "where _row in (select _row from temp.once)"
        )
    con.execute(f"create or replace temp table several as from temp.candidate anti join temp.once using ({_KEY})")
    if count(con, "select count(*) from temp.several"):
        _order(con, row, lines)


def _order(con: duckdb.DuckDBPyConnection, row: StripeObject, lines: str) -> None:
    """Work out all versions of the objects in `temp.several` anew, also from their row: an event may come late, and say
    what was before it was last read. Narrow rows are ordered; whole ones are only written where they are new."""
    kept, table = f"sync.version_{row.name}", f'stripe."{row.name}"'
    con.execute(
        f"""
        create or replace temp table touched as
        select k.*, t.rowid as _at
        from (select distinct {_KEY} from temp.several) as k left join {table} as t using ({_KEY})
        """
    )
    write_out(con, row, "select * from temp.touched")
    con.execute(
        f"""
        create or replace temp table version as
        with every as (
            select {_KEY}, 'version' as part, rowid as _row, valid_from, _valid_from_is_exact as exact, {_META},
                   -9000000000000000000::bigint as _n
            from {kept} semi join temp.touched using ({_KEY})
            union all
            select {_KEY}, 'line', s._row, s.valid_from, s.exact, s._source, s._observed_at, l._content_hash, s._n
            from temp.several as s join (
                select rowid as _row, {fingerprint(row)} as _content_hash from temp.{lines}
                where rowid in (select _row from temp.several)
            ) as l using (_row)
            union all
            select {_KEY}, 'row', rowid, _observed_at, false, _source, _observed_at, {fingerprint(row)}, -1
            from {table} where rowid in (select _at from temp.touched) and _deleted_at is null
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
        f"delete from {kept} where rowid in (select v.rowid from {kept} as v semi join temp.touched using ({_KEY}) "
        "anti join (select _row from temp.version where part = 'version') as o on o._row = v.rowid)"
    )
    con.execute(
        f"update {kept} as v set valid_to = o.valid_to from temp.version as o "
        "where o.part = 'version' and o._row = v.rowid and v.valid_to is distinct from o.valid_to"
    )
    for part, source in (("line", f"temp.{lines}"), ("row", table)):
        _write(con, row, source, f"select * from temp.version where part = '{part}'")


def _write(con: duckdb.DuckDBPyConnection, row: StripeObject, source: str, versions: str) -> None:
    """Put the rows of `source` to which the `_row` of `versions` leads into `sync.version_<object>`."""
    con.execute(
        f"""
        insert into sync.version_{row.name}
            ({listed(row)}, _payload, valid_from, valid_to, _valid_from_is_exact, {_META})
        select {listed(row)}, _payload, v.valid_from, v.valid_to, v.exact, v._source, v._observed_at, t._content_hash
        from (
            select rowid as _row, {listed(row)}, _payload, {fingerprint(row)} as _content_hash from {source}
            where rowid in (select _row from ({versions}))
        ) as t
        join (select _row, valid_from, valid_to, exact, _source, _observed_at from ({versions})) as v using (_row)
        """
    )
