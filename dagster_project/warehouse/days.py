"""`sync.days`: how many rows of each object the warehouse holds per created-day, and the checksum of their contents.

A checksum is the sum of the rows' fingerprints, whatever their order; the same fingerprint is made of what Stripe
answers (stripe_api/fingerprints.py). A day is counted again only when its rows were loaded again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import duckdb

from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject, columns
from dagster_project.warehouse.typed import elements, finish, structure

MODULUS = 1 << 60
HASHED_ID = f"(md5_number_lower(id) & {MODULUS - 1}::ubigint)::bigint"
Key = tuple[str, bool]  # account id, livemode
Range = tuple[int, int]  # of `created` in Unix seconds, both ends included
_SLICE = 20_480  # rows; more at once take too much memory
_FEWEST = 40  # rows; memory that does not do for these is too little
_NO_DAY = "date '0001-01-01'"


@dataclass(frozen=True)
class Source:
    """Rows `r` of an object that are read in the list of `via`: a FROM clause, what they must fulfil, in SQL the Unix
    second on whose day they are booked, and the id of whatever must be read to see them again."""

    via: str
    relation: str
    where: str
    second: str
    parent: str

    @property
    def day(self) -> str:
        return f"(to_timestamp({self.second}) at time zone 'UTC')::date"


def sources(row: StripeObject) -> list[Source]:
    """Where rows of `row` are read. Children are booked on the day of their parent, whose list shows them."""
    own = f"stripe.{row.name} as r"
    if row.strategy != "children":
        asked = f'r."{row.parent_column}"' if row.strategy == "per_parent" else "r.id"
        return [Source(row.name, own, "true", _second(row, "r"), asked)]
    if row.parent:
        parent = CATALOGUE[row.parent]
        joined = f'{own} join {_parent(parent.name, "p")} and p.id = r."{row.parent_column}"'
        return [Source(parent.name, joined, "true", _second(parent, "p"), "p.id")]
    # A discount belongs to what it applies to, and exists as long as that names it.
    made = [
        Source(
            name,
            f"{own} join {_parent(name, 'p')} and p.id = r.{column}",
            f"r.subscription_item is null and {rest} and {_names(row, name, 'p')}",
            _second(CATALOGUE[name], "p"),
            "p.id",
        )
        for name, column, rest in (
            ("customers", "customer", "r.subscription is null and r.invoice is null"),
            ("subscriptions", "subscription", "r.invoice is null"),
            ("invoices", "invoice", "true"),
        )
    ]
    item = f"{own} join {_parent('subscription_items', 'i')} and i.id = r.subscription_item"
    item = f"{item} join {_parent('subscriptions', 'p')} and p.id = i.subscription"
    of_items = _names(row, "subscription_items", "i")
    return [*made, Source("subscriptions", item, of_items, _second(CATALOGUE["subscriptions"], "p"), "p.id")]


def _parent(name: str, alias: str) -> str:
    return (
        f"stripe.{name} as {alias} on {alias}.account_id = r.account_id and {alias}.livemode = r.livemode "
        f"and {alias}._deleted_at is null"
    )


def _names(row: StripeObject, parent: str, alias: str) -> str:
    shown = elements(f'{alias}."{(row.embedded_in or {})[parent]}"')
    return f"list_contains(list_transform({shown}, lambda x: coalesce(x ->> '$.id', x ->> '$')), r.id)"


def _second(row: StripeObject, alias: str) -> str:
    timed = any(column.name == row.created_field and column.type == "time" for column in columns(row.name))
    return f"epoch({alias}.{row.created_field})::bigint" if timed else "null::bigint"


def fingerprint(row: StripeObject, payload: str = "_payload") -> str:
    """60 bits of the MD5 of an object's text without its volatile fields, as BIGINT."""
    text = f"{payload}::varchar"
    for field in row.volatile:
        text = f"""regexp_replace({text}, '"{field}":[^,{{}}\\[\\]]*', '', 'g')"""
    return f"(md5_number_lower({text}) & {MODULUS - 1}::ubigint)::bigint"


def update(con: duckdb.DuckDBPyConnection) -> None:
    """Count the days again of which rows were loaded since the last time.

    Costs all rows of those days and of the last ones that were counted, and a look at the times of every row of the
    objects of which anything was loaded.
    """
    loaded = dict(con.execute("select object, count(*) from sync.loads group by object").fetchall())
    seen = dict(con.execute("select object, files from sync.counted").fetchall())
    fresh, filled = [], not_empty(con)
    for row in CATALOGUE.values():
        files = sum(loaded.get(name, 0) for name in _brought_by(row))
        if seen.get(row.name) != files:
            if row.name in filled:
                con.execute("begin")
                _count(con, row)
                con.execute("commit")
            fresh.append([row.name, files])
    con.execute("begin")
    if fresh:
        names = [name for name, _ in fresh]
        con.execute("delete from sync.counted where object in (select unnest(?::varchar[]))", [names])
        con.executemany("insert into sync.counted values (?, ?)", fresh)
    _show_empty(con)
    con.execute("commit")


def _show_empty(con: duckdb.DuckDBPyConnection) -> None:
    """An object of which an account has nothing has a row that says so."""
    con.execute(
        "delete from sync.days as d where stamp is null and exists (select 1 from sync.days as o "
        "where o.account_id = d.account_id and o.livemode = d.livemode and o.object = d.object and o.stamp is not null)"
    )
    objects = ", ".join(f"('{row.name}', '{sources(row)[0].via}')" for row in CATALOGUE.values())
    con.execute(
        f"""
        insert into sync.days
        select a.account_id, a.livemode, o.object, o.via, null, 0, 0, null, null
        from sync.accounts as a cross join (values {objects}) as o(object, via)
        where not exists (select 1 from sync.days as d
            where d.account_id = a.account_id and d.livemode = a.livemode and d.object = o.object)
        """
    )


def not_empty(con: duckdb.DuckDBPyConnection) -> set[str]:
    """Objects whose tables hold something, or did."""
    found = con.execute(
        "select table_name from duckdb_tables() where database_name = current_database() and schema_name = 'stripe' "
        "and estimated_size > 0 union select object from sync.days where stamp is not null"
    ).fetchall()
    return {row[0] for row in found}


def recount(con: duckdb.DuckDBPyConnection, row: StripeObject, account_id: str, livemode: bool) -> None:
    """Count all days of one object of one account again, also where nothing was loaded: somebody may have changed rows
    in other ways."""
    con.execute("begin")  # days that were lost here would not be counted before something is loaded
    con.execute(
        "delete from sync.days where object = ? and account_id = ? and livemode = ?", [row.name, account_id, livemode]
    )
    _count(con, row)
    _show_empty(con)
    con.execute("commit")


def _brought_by(row: StripeObject) -> set[str]:
    """Objects with whose files rows of `row` are loaded, or whose rows decide on which day they are booked."""
    names, waiting = set[str](), [row]
    while waiting:
        one = waiting.pop()
        if one.name not in names:
            names.add(one.name)
            if one.strategy == "children":
                waiting += [CATALOGUE[name] for name in (*(one.embedded_in or {}), one.parent) if name]
    return names


def _count(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """All days are stamped, which needs no payloads; those whose stamp is new are counted."""
    every = " union all ".join(
        f"select r.rowid as _at, r.account_id, r.livemode, '{one.via}' as via, coalesce({one.day}, {_NO_DAY}) as day, "
        f"r._observed_at, r._deleted_at is null as living from {one.relation} where {one.where}"
        for one in sources(row)
    )
    con.execute(f"create or replace temp table place as {every}")
    con.execute(
        f"""
        create or replace temp table stamped as
        select account_id, livemode, via, day, (sum(epoch_us(_observed_at)::hugeint + living::int) % {MODULUS})::bigint
               as stamp, max(_observed_at) as newest
        from temp.place group by all
        """
    )
    # Rows that were read in the second of the last counting may have been loaded after it.
    con.execute(
        f"""
        create or replace temp table moved as
        with last as (
            select account_id, livemode, max(newest) as newest from sync.days where object = '{row.name}' group by all
        )
        select s.* from temp.stamped as s left join sync.days as d
            on d.object = '{row.name}' and d.account_id = s.account_id and d.livemode = s.livemode and d.via = s.via
            and coalesce(d.day, {_NO_DAY}) = s.day
        left join last as l on l.account_id = s.account_id and l.livemode = s.livemode
        where d.stamp is distinct from s.stamp or s.newest >= l.newest
        """
    )
    con.execute(
        """
        create or replace temp table again as
        select p._at, p.account_id, p.livemode, p.via, p.day
        from temp.place as p semi join temp.moved using (account_id, livemode, via, day) where p.living
        """
    )
    con.execute(
        f"""
        create or replace temp table fresh as
        with hashed as (
            select rowid as _at, {fingerprint(row)} as hash from stripe.{row.name}
            where rowid in (select _at from temp.again)
        ),
        summed as (
            select account_id, livemode, via, day, count(*) as rows, (sum(hash) % {MODULUS})::bigint as checksum
            from hashed join temp.again using (_at) group by all
        )
        select m.account_id, m.livemode, m.via, m.day, coalesce(s.rows, 0) as rows, coalesce(s.checksum, 0) as checksum,
               m.stamp, m.newest
        from temp.moved as m left join summed as s using (account_id, livemode, via, day)
        """
    )
    con.execute(
        f"""
        delete from sync.days as d where d.object = '{row.name}' and (
            exists (select 1 from temp.fresh as f where f.account_id = d.account_id and f.livemode = d.livemode
                    and f.via = d.via and f.day = coalesce(d.day, {_NO_DAY}))
            or not exists (select 1 from temp.stamped as s where s.account_id = d.account_id
                    and s.livemode = d.livemode and s.via = d.via and s.day = coalesce(d.day, {_NO_DAY})))
        """
    )
    con.execute(
        f"insert into sync.days select account_id, livemode, '{row.name}', via, nullif(day, {_NO_DAY}), rows, "
        "checksum, stamp, newest from temp.fresh"
    )
    for name in ("place", "stamped", "moved", "again", "fresh"):
        con.execute(f"drop table temp.{name}")


def known(
    con: duckdb.DuckDBPyConnection, row: StripeObject, via: str, key: Key, ranges: Sequence[Range] | None
) -> duckdb.DuckDBPyConnection:
    """Living rows that the list of `via` should show for `created` in `ranges` (None: all), as a result of (hash of the
    id, fingerprint, days since 1970 or null), ordered by the first. `misfits` can be asked of the same rows then."""
    places = " union all ".join(
        f"select r.rowid as _at, {one.second} // 86400 as day from {one.relation} "
        f"where {one.where} and r._deleted_at is null and r.account_id = $account and r.livemode = $livemode "
        f"and {_within(one.second, ranges)}"
        for one in sources(row)
        if one.via == via
    )
    con.execute(f"create or replace temp table shown as {places}", {"account": key[0], "livemode": key[1]})
    return con.execute(
        f"select f.id, f.hash, s.day from (select rowid as _at, {HASHED_ID} as id, {fingerprint(row)} as hash "
        f"from stripe.{row.name} where rowid in (select _at from temp.shown)) as f join temp.shown as s using (_at) "
        "order by f.id"
    )


def misfits(con: duckdb.DuckDBPyConnection, row: StripeObject) -> dict[str, list[str]]:
    """Rows whose columns do not say what their payload says, with the columns: of those that `known` has just found
    and of their neighbours, because choosing among wide rows takes more memory than looking at all."""
    derived = [column for column in columns(row.name) if column.name not in (row.parent_column, "id")]
    if row.name != "balance":
        derived = [*derived, next(column for column in columns(row.name) if column.name == "id")]
    different = ", ".join(
        f"""case when r."{column.name}"::varchar is distinct from ({finish(column, "r.t")})::varchar
            then '{column.name}' end"""
        for column in derived
    )
    found: list[tuple[str, list[str]]] = []
    for (low,) in con.execute(f"select distinct _at // {_SLICE} * {_SLICE} from temp.shown order by 1").fetchall():
        waiting = [(low, low + _SLICE)]
        while waiting:
            start, end = waiting.pop()
            try:
                found += con.execute(
                    f"""
                    with read as (
                        select *, json_transform(_payload, {structure(row)}) as t from stripe.{row.name}
                        where rowid between {start} and {end - 1}
                    ),
                    compared as (
                        select r.id, list_filter([{different}], lambda x: x is not null) as fields from read as r
                        limit {_SLICE}  -- cuts nothing, and keeps DuckDB from parsing each payload once per column
                    )
                    select * from compared where len(fields) > 0
                    """
                ).fetchall()
            except duckdb.OutOfMemoryException:  # long payloads: fewer at once
                if end - start <= _FEWEST:
                    raise
                middle = (start + end) // 2
                waiting += [(middle, end), (start, middle)]
    return dict(found)


def named(
    con: duckdb.DuckDBPyConnection, row: StripeObject, via: str, key: Key, hashes: Sequence[int]
) -> list[tuple[str, str, int | None]]:
    """(id, what must be read to see it again, days since 1970 or null) of living rows by the hashes of their ids."""
    rows = " union all ".join(
        f"select r.id, {one.parent} as parent, {one.second} // 86400 as day from {one.relation} "
        f"where {one.where} and r._deleted_at is null and r.account_id = $account and r.livemode = $livemode "
        f"and {HASHED_ID.replace('(id)', '(r.id)')} in (select unnest($hashes::bigint[]))"
        for one in sources(row)
        if one.via == via
    )
    return con.execute(rows, {"account": key[0], "livemode": key[1], "hashes": list(hashes)}).fetchall()


def _within(second: str, ranges: Sequence[Range] | None) -> str:
    if ranges is None:
        return "true"
    low, high = [low for low, _ in ranges], [high for _, high in ranges]
    asked = f"select unnest({low}::bigint[]) as low, unnest({high}::bigint[]) as high"
    return f"exists (select 1 from ({asked}) as asked where {second} between asked.low and asked.high)"
