"""Landed files as typed rows in temporary tables, ready to be merged; what a file claims is checked here."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import duckdb
import zstandard

from dagster_project.errors import LandingError
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject, columns
from dagster_project.stripe_api.landing import SUFFIX, Batch
from dagster_project.warehouse.typed import structure, typed


def stage(con: duckdb.DuckDBPyConnection, row: StripeObject, batches: list[Batch]) -> None:
    """`temp.lines`: every line, typed; `temp.stage`: the newest of them per key. Both number their rows, `_row`.

    They and what follows from them are views on one table: a wide row is kept once. Raises LandingError for objects
    without an id and for files that do not hold what their manifest says.
    """
    _describe(con, batches)
    parent = row.parent_column
    own = {column.name: column for column in columns(row.name)}
    given = {}
    if parent in own and own[parent].type != "ref":  # a reference is always there when Stripe names it
        given = {parent: f'coalesce(t."{parent}"::varchar, _parent)'}
    extra = f'_parent as "{parent}", ' if parent and parent not in own else ""
    con.execute(
        f"""
        create or replace temp table observed as
        with line as (select *, json_transform(json, {structure(row)}) as t from {_read(con, batches)})
        select f.account_id, f.livemode, {extra}{typed(row, given=given)}, line.json as _payload,
               f.api_version as _api_version, f.observed_at as _observed_at, f.source as _source,
               null::timestamptz as _deleted_at, coalesce(t.deleted, false) as _deleted, _parent,
               f.n as _file, f.run as _run
        from line join temp.file as f on f.path = line.filename
        """
    )
    # Several files are read at once; the order of lines is kept inside each.
    con.execute(
        "create or replace temp view lines as select rowid as _row, _file * 1000000000 + rowid as _n, * "
        "from temp.observed"
    )
    newest(con, "observed", "stage", "_observed_at desc, _file desc, l.rowid desc")
    if nameless := count(con, "select count(*) from temp.stage where id is null"):
        raise LandingError(f"{nameless} object(s) of {row.name} have no id.", f"Run `ledgerline backfill {row.name}`.")
    found = dict(con.execute("select _file, count(*) from temp.observed group by 1").fetchall())
    for number, batch in enumerate(batches):
        if found.get(number, 0) != batch.rows:
            raise LandingError(
                f"{batch.key} holds {found.get(number, 0)} objects, its manifest says {batch.rows}.",
                f"Run `ledgerline backfill {row.name}`.",
            )


def _describe(con: duckdb.DuckDBPyConnection, batches: list[Batch]) -> None:
    """`temp.file` and `temp.part`: what the manifests say about files and about the child lists in them."""
    con.execute(
        "create or replace temp table file (path varchar, account_id varchar, livemode boolean, "
        "source varchar, api_version varchar, observed_at timestamptz, n bigint, run bigint)"
    )
    con.executemany(
        "insert into temp.file values (?, ?, ?, ?, ?, ?, ?, ?)",
        [
            [str(b.path), b.account_id, b.livemode, b.source, b.api_version, b.observed_at, n, run]
            for n, (b, run) in enumerate(zip(batches, _runs(batches), strict=True))
        ],
    )
    con.execute("create or replace temp table part (path varchar, first bigint, last bigint, parent varchar)")
    parts = [[str(b.path), *part] for b in batches for part in _parts(b)]
    if parts:
        con.executemany("insert into temp.part values (?, ?, ?, ?)", parts)


def _read(con: duckdb.DuckDBPyConnection, batches: list[Batch]) -> str:
    """A relation of `json`, `filename` and `_parent` for every line.

    Numbering the lines of a file takes a pass of its own, so only where parents need it.
    """
    paths = ", ".join("'" + str(batch.path).replace("'", "''") + "'" for batch in batches if batch.rows)
    if not paths:  # a file without lines says through its requests that lists are complete and empty
        return "(select null::json as json, null as filename, null as _parent limit 0)"
    # DuckDB keeps twice the longest line in memory, and no line is longer than its file.
    longest = max(plain_size(batch) for batch in batches) + 1
    files = f"read_ndjson_objects([{paths}], filename = true, compression = 'zstd', maximum_object_size = {longest})"
    if not count(con, "select count(*) from temp.part"):
        return f"(select *, null::varchar as _parent from {files})"
    con.execute(f"create or replace temp table line as from {files}")
    con.execute(
        """
        create or replace temp table listed as
        select l.at, p.parent
        from (select rowid as at, filename, row_number() over (partition by filename order by rowid) as place
              from temp.line) as l
        join temp.part as p on p.path = l.filename and l.place between p.first and p.last
        """
    )
    return """
        (select l.json, l.filename, p.parent as _parent
         from temp.line as l left join temp.listed as p on p.at = l.rowid)
    """


def plain_size(batch: Batch) -> int:
    """Bytes of a file's lines; the frame of zstd starts with them."""
    with batch.path.open("rb") as file:
        return max(zstandard.frame_content_size(file.read(18)), batch.bytes)


def newest(con: duckdb.DuckDBPyConnection, lines: str, view: str, order: str) -> None:
    """The view `temp.<view>`: of each key in `temp.<lines>` the row that comes first in `order`, numbered `_row`.

    A tombstone counts apart, because what the object was before is kept, too: the first one since it was last alive.
    """
    con.execute(
        f"""
        create or replace temp table {view}_older as
        with twice as (select account_id, livemode, id from temp.{lines} group by all having count(*) > 1),
        alive as (
            select account_id, livemode, id, max(_observed_at) as until
            from temp.{lines} semi join twice using (account_id, livemode, id) where not _deleted group by all
        ),
        several as (
            select l.rowid as _row, row_number() over (
                partition by l.account_id, l.livemode, l.id, l._deleted
                order by l._deleted and l._observed_at < a.until, if(l._deleted, l._observed_at, null), {order}
            ) as place
            from temp.{lines} as l semi join twice using (account_id, livemode, id)
            left join alive as a using (account_id, livemode, id)
        )
        select _row from several where place > 1
        """
    )
    con.execute(
        f"create or replace temp view {view} as select o.rowid as _row, o.* from temp.{lines} as o "
        f"where not exists (select 1 from temp.{view}_older as s where s._row = o.rowid)"
    )


def _runs(batches: Sequence[Batch]) -> list[int]:
    """A number per file that grows whenever another run landed it, as their names tell."""
    writers = [batch.path.name.removesuffix(SUFFIX).rpartition("-")[2] for batch in batches]
    runs = [0]
    for before, after in pairwise(writers):
        runs.append(runs[-1] + (before != after))
    return runs


def _parts(batch: Batch) -> list[tuple[int, int, str]]:
    """(first line, last line, parent) of every complete child list in a file, lines counted from 1."""
    parts, line = [], 0
    for request in batch.requests:
        if request.get("parent"):
            parts.append((line + 1, line + request["rows"], request["parent"]))
        line += request["rows"]
    return parts or ([(1, batch.rows, batch.parent)] if batch.parent else [])


def embedded(row: StripeObject) -> list[tuple[StripeObject, str]]:
    """(child, path of its list) for everything that arrives inside `row`."""
    return [
        (child, child.embedded_in[row.name])
        for child in CATALOGUE.values()
        if child.embedded_in and row.name in child.embedded_in
    ]


def count(con: duckdb.DuckDBPyConnection, statement: str) -> int:
    """The one number that a statement answers, also how many rows it changed."""
    found = con.execute(statement).fetchone()
    return int(found[0]) if found else 0
