"""The guarded upsert: a deduplicated stage, then DELETE … USING and INSERT. It costs what changed, not what exists."""

from __future__ import annotations

import duckdb

from dagster_project.errors import WarehouseError
from dagster_project.stripe_api.catalog import StripeObject
from dagster_project.warehouse.schema import META, table_columns
from dagster_project.warehouse.stage import count
from dagster_project.warehouse.versions import write_out

# How a discount is known that only an invoice names: it existed once, and what it applies to shows whether it still
# does. The first such sight stays, and any other sight counts for more.
NAMED = "invoice"


def merge(
    con: duckdb.DuckDBPyConnection,
    row: StripeObject,
    source: str = "stage",
    lines: str = "observed",
) -> tuple[int, int, int]:
    """(inserted, changed, deleted); `temp.taken_<object>` shows the rows that are not older than what was there.

    `source` is a view whose rows have a number of their own, `_row`: their place in the table `lines`. Whole rows are
    taken from the table, because a join with what the view leaves out would keep them in memory once more.
    """
    table, taken = f'stripe."{row.name}"', f"taken_{row.name}"
    same = "t.account_id = s.account_id and t.livemode = s.livemode and t.id = s.id"
    names = [name for name, _, _ in table_columns(row)] + [name for name, _, _ in META]
    listed = ", ".join(f'"{name}"' for name in names)
    pair(con, row, source)
    con.execute(
        f"""
        create or replace temp table mark_{row.name} as
        select s._row, p._row is not null as _known,
               p._row is null or p._deleted_at is not null or not p._same as _differs
        from temp.{source} as s left join temp.pair as p using (_row)
        where not s._deleted and case
            when p._row is null then true
            when s._source = '{NAMED}' then p._source = '{NAMED}' and s._observed_at < p._observed_at
            when p._source = '{NAMED}' then true
            else s._observed_at > p._observed_at or (s._observed_at = p._observed_at and p._deleted_at is null)
            end
        """
    )
    con.execute(
        f"create or replace temp view {taken} as select m._row, s.*, m._known, m._differs "
        f"from temp.{lines} as s join temp.mark_{row.name} as m on m._row = s.rowid"
    )
    inserted, changed, again = con.execute(
        f"select count(*) filter (not _known), count(*) filter (_known and _differs), count(*) filter (not _differs) "
        f"from temp.mark_{row.name}"
    ).fetchone() or (0, 0, 0)
    if changed:
        if row.history:
            write_out(
                con,
                row,
                f"select s.account_id, s.livemode, s.id, p._at from temp.{taken} as s join temp.pair as p using (_row) "
                "where s._known and s._differs",
            )
        con.execute(f"delete from {table} as t using temp.{taken} as s where {same} and s._known and s._differs")
    if inserted or changed:
        con.execute(f"insert into {table} ({listed}) select {listed} from temp.{taken} where _differs")
        check_keys(con, row)
    if again:
        con.execute(
            f"update {table} as t "
            "set _observed_at = s._observed_at, _source = s._source, _api_version = s._api_version "
            f"from temp.{taken} as s "
            f"where {same} and not s._differs and (t._observed_at < s._observed_at or t._source <> s._source)"
        )
    gone = count(
        con,
        f"""
        update {table} as t set _deleted_at = s._observed_at, _observed_at = s._observed_at
        from temp.{source} as s
        where {same} and s._deleted and t._deleted_at is null and t._observed_at <= s._observed_at
        """,
    )
    unseen = count(
        con,
        f"""
        insert into {table} ({listed})
        select {", ".join("_observed_at" if n == "_deleted_at" else f'"{n}"' for n in names)} from temp.{source} as s
        where s._deleted and not exists (select 1 from {table} as t where {same})
        """,
    )
    return int(inserted), int(changed), gone + unseen


def pair(con: duckdb.DuckDBPyConnection, row: StripeObject, source: str) -> None:
    """`temp.pair`: for each row of `temp.<source>` whose key the table knows, what it knows and whether it is the same.

    Keys are joined first, alone; contents are compared for those that met. A join that carried the payloads would read
    the whole table at every load.
    """
    con.execute(
        f"""
        create or replace temp table met as
        select s._row, t.rowid as _at, t._observed_at, t._source, t._deleted_at
        from temp.{source} as s join stripe."{row.name}" as t
            on t.account_id = s.account_id and t.livemode = s.livemode and t.id = s.id
        """
    )
    if not count(con, "select count(*) from temp.met"):
        con.execute("create or replace temp view pair as select *, false as _same from temp.met")
        return
    con.execute(
        f"""
        create or replace temp table compared as
        select m.*, s._payload::varchar is not distinct from t._payload::varchar as _same
        from temp.met as m
        join (select rowid as _at, _payload from stripe."{row.name}"
              where rowid in (select _at from temp.met)) as t using (_at)
        join temp.{source} as s using (_row)
        """
    )
    con.execute("create or replace temp view pair as from temp.compared")


def check_keys(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """Uniqueness without an index: looked at where this load wrote."""
    twice = count(
        con,
        f"""
        select count(*) from (
            select 1 from stripe."{row.name}" as t
            semi join (select account_id, livemode, id from temp.taken_{row.name} where _differs) as s
                on t.account_id = s.account_id and t.livemode = s.livemode and t.id = s.id
            group by t.account_id, t.livemode, t.id having count(*) > 1
        )
        """,
    )
    if twice:
        raise WarehouseError(
            f"stripe.{row.name} would hold {twice} keys twice; nothing was loaded.", "This is a defect; report it."
        )
