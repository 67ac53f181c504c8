"""Landed files into tables: rows, children, tombstones, history and cursors in one transaction per object.

An upsert is a deduplicated stage, then DELETE … USING and INSERT: it costs what changed, not what exists. A row that was
observed earlier never overwrites one observed later, so pages may arrive in any order and any number of times.
A tombstone counts as an observation: only an object seen to exist after it takes it away (coupons may reuse an id).
Seeing the same content again moves `_observed_at` and `_source` and counts as no change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import duckdb

from dagster_project.errors import LandingError, WarehouseError
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject, columns, get
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.warehouse import history
from dagster_project.warehouse.schema import META, table_columns
from dagster_project.warehouse.state import (
    Cursor,
    load_version,
    loaded_files,
    read_cursors,
    write_cursor,
)
from dagster_project.warehouse.typed import elements, structure, typed


@dataclass
class LoadResult:
    """Rows `received` in files, and what they did to the table; `children` has the changes per child object."""

    object: str
    received: int = 0
    inserted: int = 0
    changed: int = 0
    deleted: int = 0
    total: int = 0
    children: dict[str, int] = field(default_factory=dict)

    @property
    def changes(self) -> int:
        return self.inserted + self.changed + self.deleted + sum(self.children.values())


def load(
    con: duckdb.DuckDBPyConnection,
    object: str,
    batches: Sequence[Batch],
    cursors: Mapping[tuple[str, bool], Cursor] | None = None,
) -> LoadResult:
    """Load files of one object and move its cursors, all or nothing. Loading a file again changes nothing.

    Raises LandingError for a file that is truncated or changed, WarehouseError when keys would not stay unique.
    """
    row = get(object)
    landing = Landing(Path())  # batches know their own paths
    for batch in batches:
        if batch.object != object:
            raise WarehouseError(f"{batch.key} holds {batch.object}, not {object}.", "This is a defect; report it.")
        landing.verify(batch)
    con.execute("begin")
    try:
        result = LoadResult(object)
        known = loaded_files(con)
        for group in _by_shape([batch for batch in batches if batch.key not in known]):
            _stage(con, row, group)
            result.received += sum(batch.rows for batch in group)
            _apply(con, row, result, absent=group[0].source == "absent")
        fresh = [[batch.key, object, batch.rows] for batch in batches if batch.key not in known]
        if fresh:
            con.executemany("insert into sync.loads values (?, ?, ?, now())", fresh)
        for (account_id, livemode), cursor in (cursors or {}).items():
            write_cursor(con, object, account_id, livemode, cursor)
        result.total = _count(con, f'select count(*) from stripe."{row.name}"')
        if result.changes:
            con.execute("update sync.version set version = version + 1")
        con.execute("commit")
    except BaseException as error:
        with contextlib.suppress(duckdb.Error):  # a commit that failed has rolled back already
            con.execute("rollback")
        if isinstance(error, duckdb.DataError | duckdb.InvalidInputException):
            raise LandingError(
                f"{object}: a landed file does not hold what Stripe sends ({str(error).splitlines()[0]}).",
                f"Run `ledgerline backfill {object}`.",
            ) from error
        raise
    return result


def _by_shape(batches: list[Batch]) -> list[list[Batch]]:
    """Files that one statement can load, in landed order: tombstones and complete child lists apart."""
    groups: list[list[Batch]] = []
    for batch in batches:
        if groups and (groups[-1][0].source == "absent") == (batch.source == "absent"):
            groups[-1].append(batch)
        else:
            groups.append([batch])
    return groups


def _stage(con: duckdb.DuckDBPyConnection, row: StripeObject, batches: list[Batch]) -> None:
    """`temp.stage`: the newest observation per key, typed; `temp.observed`: every line, where versions or children follow."""
    con.execute(
        "create or replace temp table file (path varchar, account_id varchar, livemode boolean, "
        "source varchar, api_version varchar, observed_at timestamptz, n bigint)"
    )
    con.executemany(
        "insert into temp.file values (?, ?, ?, ?, ?, ?, ?)",
        [
            [str(b.path), b.account_id, b.livemode, b.source, b.api_version, b.observed_at, n]
            for n, b in enumerate(batches)
        ],
    )
    con.execute("create or replace temp table part (path varchar, first bigint, last bigint, parent varchar)")
    parts = [[str(b.path), *part] for b in batches for part in _parts(b)]
    if parts:
        con.executemany("insert into temp.part values (?, ?, ?, ?)", parts)
    parent = row.parent_column
    own = {column.name: column for column in columns(row.name)}
    given = {}
    if parent in own and own[parent].type != "ref":  # a reference is always there when Stripe names it
        given = {parent: f'coalesce(t."{parent}"::varchar, p.parent)'}
    extra = f'p.parent as "{parent}", ' if parent and parent not in own else ""
    paths = ", ".join("'" + str(batch.path).replace("'", "''") + "'" for batch in batches)
    lines = f"""
        with line as (
            select json, filename, row_number() over () as _line
            from read_ndjson_objects([{paths}], filename = true, compression = 'zstd', maximum_object_size = 67108864)
        ),
        counted as (
            select *, _line - min(_line) over (partition by filename) + 1 as _in_file,
                   count(*) over (partition by filename) as _rows
            from line
        )
        select f.account_id, f.livemode, {extra}{typed(row, given=given)}, line.json as _payload, f.api_version as _api_version,
               f.observed_at as _observed_at, f.source as _source, null::timestamptz as _deleted_at,
               coalesce(t.deleted, false) as _deleted, p.parent as _parent, f.n as _file, line._line as _n, line._rows
        from counted as line
        join temp.file as f on f.path = line.filename
        left join temp.part as p on p.path = line.filename and line._in_file between p.first and p.last
        cross join lateral (select json_transform(line.json, {structure(row)}) as t)
    """
    if row.history or _embedded(row):
        con.execute(f"create or replace temp table observed as {lines}")
        lines = "from temp.observed"
    con.execute(
        f"""
        create or replace temp table stage as
        select * from ({lines})
        qualify row_number() over (partition by account_id, livemode, id order by _observed_at desc, _file desc, _n desc) = 1
        """
    )
    if nameless := _count(con, "select count(*) from temp.stage where id is null"):
        raise LandingError(
            f"{nameless} object(s) of {row.name} have no id.", f"Run `ledgerline backfill {row.name}`."
        )
    for number, found in con.execute("select distinct _file, _rows from temp.stage").fetchall():
        if found != batches[number].rows:
            raise LandingError(
                f"{batches[number].key} holds {found} objects, its manifest says {batches[number].rows}.",
                f"Run `ledgerline backfill {row.name}`.",
            )


def _parts(batch: Batch) -> list[tuple[int, int, str]]:
    """(first line, last line, parent) of every complete child list in a file, lines counted from 1."""
    parts, line = [], 0
    for request in batch.requests:
        if request.get("parent"):
            parts.append((line + 1, line + request["rows"], request["parent"]))
        line += request["rows"]
    return parts or ([(1, batch.rows, batch.parent)] if batch.parent else [])


def _apply(con: duckdb.DuckDBPyConnection, row: StripeObject, result: LoadResult, *, absent: bool) -> None:
    """Merge `temp.stage` into the table, then what follows from it: child sets, history, payout batches."""
    if row.name == "balance_transactions":
        _payout_batches(con)
    if row.history:
        history.find_differing(con, row)
    inserted, changed, deleted = _merge(con, row)
    result.inserted += inserted
    result.changed += changed
    result.deleted += deleted
    if row.parent_column and row.name != "balance_transactions":
        complete = """
            select distinct f.account_id, f.livemode, p.parent, f.observed_at as _observed_at
            from temp.part as p join temp.file as f using (path)
        """
        result.deleted += _drop_vanished(con, row, complete, "stage")
    if absent:
        return
    if row.name == "events":
        history.from_events(con)
    if row.history:
        history.from_rows(con, row)
    for child, path in _embedded(row):
        if number := _children(con, row, child, path, "observed"):
            result.children[child.name] = result.children.get(child.name, 0) + number


def _embedded(row: StripeObject) -> list[tuple[StripeObject, str]]:
    """(child, path of its list) for everything that arrives inside `row`."""
    return [(child, child.embedded_in[row.name]) for child in CATALOGUE.values() if row.name in (child.embedded_in or {})]


def _merge(
    con: duckdb.DuckDBPyConnection, row: StripeObject, stage: str = "stage", *, revives: bool = True
) -> tuple[int, int, int]:
    """(inserted, changed, deleted); `temp.taken_<object>` holds the rows that are not older than what was there.

    `revives`: whether these rows show that an object exists, so that they take a tombstone away.
    """
    table, taken = f'stripe."{row.name}"', f"taken_{row.name}"
    same = "t.account_id = s.account_id and t.livemode = s.livemode and t.id = s.id"
    names = [name for name, _, _ in table_columns(row)] + [name for name, _, _ in META]
    listed = ", ".join(f'"{name}"' for name in names)
    con.execute(
        f"""
        create or replace temp table {taken} as
        select s.*, t.id is not null as _known,
               t.id is null or t._deleted_at is not null or s._payload::varchar is distinct from t._payload::varchar as _differs
        from temp.{stage} as s left join {table} as t on {same}
        where not s._deleted and (t.id is null or s._observed_at > t._observed_at
            or (s._observed_at = t._observed_at and t._deleted_at is null)) {"" if revives else "and t._deleted_at is null"}
        """
    )
    inserted, changed, again = con.execute(
        f"select count(*) filter (not _known), count(*) filter (_known and _differs), count(*) filter (not _differs) "
        f"from temp.{taken}"
    ).fetchone() or (0, 0, 0)
    if changed:
        con.execute(f"delete from {table} as t using temp.{taken} as s where {same} and s._known and s._differs")
    if inserted or changed:
        con.execute(f"insert into {table} ({listed}) select {listed} from temp.{taken} where _differs")
        _check_keys(con, row)
    if again:
        con.execute(
            f"update {table} as t set _observed_at = s._observed_at, _source = s._source, _api_version = s._api_version "
            f"from temp.{taken} as s "
            f"where {same} and not s._differs and t._observed_at < s._observed_at"
        )
    gone = _count(
        con,
        f"""
        update {table} as t set _deleted_at = s._observed_at, _observed_at = s._observed_at
        from temp.{stage} as s
        where {same} and s._deleted and t._deleted_at is null and t._observed_at <= s._observed_at
        """,
    )
    unseen = _count(
        con,
        f"""
        insert into {table} ({listed})
        select {", ".join("_observed_at" if n == "_deleted_at" else f'"{n}"' for n in names)} from temp.{stage} as s
        where s._deleted and not exists (select 1 from {table} as t where {same})
        """,
    )
    return int(inserted), int(changed), gone + unseen


def _children(
    con: duckdb.DuckDBPyConnection, row: StripeObject, child: StripeObject, path: str, observed: str
) -> int:
    """Rows embedded in the parents that were taken; where an embedded list is complete, what vanished from it is deleted.

    All of a parent's observations count, not only the newest, so that files loaded together give what they give one by one.
    """
    seen = f"(select o.* from temp.{observed} as o semi join temp.taken_{row.name} using (account_id, livemode, id))"
    container = f"json_extract(p._payload, '$.{path}')"
    parent = child.parent_column
    own = {column.name: column for column in columns(child.name)}
    given = {parent: "p.id"} if parent and parent in own else {}
    extra = f'p.id as "{parent}", ' if parent and parent not in own else ""
    con.execute(
        f"""
        create or replace temp table child_stage as
        with element as (
            select p.account_id, p.livemode, p.id, p._api_version, p._observed_at, p._source, p._n,
                   unnest({elements(container)}) as json
            from {seen} as p where not p._deleted
        ),
        typed as (
            select p.account_id, p.livemode, {extra}{typed(child, given=given)}, p.json as _payload, p._api_version,
                   p._observed_at, p._source, null::timestamptz as _deleted_at, coalesce(t.deleted, false) as _deleted, p._n
            from element as p cross join lateral (select json_transform(p.json, {structure(child)}) as t)
            where json_type(p.json) = 'OBJECT'
        )
        select * from typed where id is not null
        qualify row_number() over (partition by account_id, livemode, id order by _observed_at desc, _n desc) = 1
        """
    )
    complete = f"""
        select p.account_id, p.livemode, p.id as parent, p._observed_at from {seen} as p
        where not p._deleted and json_exists({container}, '$.data') and coalesce((json_extract({container}, '$.has_more'))::boolean, false) = false
    """
    # An invoice goes on naming the discounts that it had; only what they apply to shows whether they exist.
    number = sum(_merge(con, child, "child_stage", revives=row.name != "invoices"))
    if child.parent == row.name and parent:
        number += _drop_vanished(con, child, complete, "child_stage")
    if child.name == "discounts" and row.name in _DISCOUNTS_OF:
        number += _drop_discounts(con, row, container)
    if child.history:
        history.from_parents(con, row, child, path)
    for grandchild, inner in _embedded(child):
        number += _children(con, child, grandchild, inner, "child_stage")
    return number


# Which discounts belong to a parent itself; others only pass through it.
_DISCOUNTS_OF = {
    "customers": "t.customer = p.id and t.subscription is null and t.subscription_item is null "
    "and t.invoice is null and t.invoice_item is null and t.checkout_session is null",
    "subscriptions": "t.subscription = p.id and t.subscription_item is null and t.invoice is null",
    "subscription_items": "t.subscription_item = p.id",
}


def _drop_discounts(con: duckdb.DuckDBPyConnection, row: StripeObject, container: str) -> int:
    """Tombstone the discounts that the customer, subscription or item they applied to no longer shows."""
    shown = f"list_transform({elements(container)}, lambda x: coalesce(x ->> '$.id', x ->> '$'))"
    return _count(
        con,
        f"""
        update stripe.discounts as t set _deleted_at = p._observed_at, _observed_at = p._observed_at
        from temp.taken_{row.name} as p
        where t.account_id = p.account_id and t.livemode = p.livemode and {_DISCOUNTS_OF[row.name]}
            and t._deleted_at is null and t._observed_at <= p._observed_at and not list_contains({shown}, t.id)
        """,
    )


def _drop_vanished(con: duckdb.DuckDBPyConnection, child: StripeObject, complete: str, stage: str) -> int:
    """Tombstone the children that a complete list of their parent, read after they were last seen, no longer shows."""
    key = "s.account_id = t.account_id and s.livemode = t.livemode and s.id = t.id"
    return _count(
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


def _payout_batches(con: duckdb.DuckDBPyConnection) -> None:
    """Files that list the transactions of one payout also say which batch they belong to."""
    con.execute(
        """
        delete from sync.payout_transactions as t
        using (select distinct f.account_id, f.livemode, p.parent from temp.part as p join temp.file as f using (path)) as s
        where t.account_id = s.account_id and t.livemode = s.livemode and t.payout = s.parent
        """
    )
    con.execute(
        "insert into sync.payout_transactions "
        "select account_id, livemode, _parent, id from temp.stage where _parent is not null"
    )


def _check_keys(con: duckdb.DuckDBPyConnection, row: StripeObject) -> None:
    """Uniqueness without an index: looked at where this load wrote."""
    twice = _count(
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


def _count(con: duckdb.DuckDBPyConnection, statement: str) -> int:
    found = con.execute(statement).fetchone()
    return int(found[0]) if found else 0


__all__ = ["LoadResult", "load", "load_version", "loaded_files", "read_cursors"]
