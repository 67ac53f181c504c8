"""Landed files into tables: rows, children, tombstones, history and cursors in one transaction per object.

A row that was observed earlier never overwrites one observed later, so pages may arrive in any order and any number of
times.
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
from dagster_project.stripe_api.catalog import StripeObject, get
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.warehouse import drift, gone, history
from dagster_project.warehouse.children import children, drop_vanished
from dagster_project.warehouse.stage import count, embedded, plain_size, stage
from dagster_project.warehouse.state import (
    Cursor,
    load_version,
    loaded_files,
    read_cursors,
    write_cursor,
)
from dagster_project.warehouse.upsert import merge

# Bytes of JSON that are typed at once: they are in memory about four times, as text and as columns, read and written.
_AT_ONCE = 64_000_000


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
    *,
    also: Sequence[tuple[str, tuple[str, bool], Cursor]] = (),
) -> LoadResult:
    """Load files of one object and move its cursors, all or nothing. Loading a file again changes nothing.

    Without `cursors` those move that the files carry, the newest of each account. `also` are cursors of other objects.

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
        for group in _groups([batch for batch in batches if batch.key not in known]):
            stage(con, row, group)
            drift.record(con, row, "observed")
            result.received += sum(batch.rows for batch in group)
            _apply(con, row, result, absent=group[0].source == "absent")
        fresh = [[batch.key, object, batch.rows] for batch in batches if batch.key not in known]
        if fresh:
            con.executemany("insert into sync.loads values (?, ?, ?, now())", fresh)
        _remember_parents(con, object, [batch for batch in batches if batch.key not in known])
        if cursors is None:
            carried = [batch for batch in batches if batch.cursor is not None and batch.key not in known]
            cursors = {(batch.account_id, batch.livemode): batch.cursor or {} for batch in carried}
        for name, key, cursor in [*((object, key, cursor) for key, cursor in cursors.items()), *also]:
            write_cursor(con, name, *key, cursor)
        result.total = count(con, f'select count(*) from stripe."{row.name}"')
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


def _groups(batches: list[Batch]) -> list[list[Batch]]:
    """Files that are loaded in one go, in landed order: tombstones apart, and no more than memory holds at ease."""
    groups: list[list[Batch]] = []
    size = 0
    for batch in batches:
        more = plain_size(batch)
        # The order of events inside one second is only known while they are together.
        fits = size + more <= _AT_ONCE or batch.object == "events"
        if groups and fits and (groups[-1][0].source == "absent") == (batch.source == "absent"):
            groups[-1].append(batch)
            size += more
        else:
            groups.append([batch])
            size = more
    return groups


def _apply(con: duckdb.DuckDBPyConnection, row: StripeObject, result: LoadResult, *, absent: bool) -> None:
    """Merge `temp.stage` into the table, then what follows from it: child sets, history, payout batches."""
    if row.name == "balance_transactions":
        _payout_batches(con)
    if row.history:
        history.find_differing(con, row)
    inserted, changed, deleted = merge(con, row)
    result.inserted += inserted
    result.changed += changed
    result.deleted += deleted
    if row.parent_column and row.name != "balance_transactions":
        complete = """
            select distinct f.account_id, f.livemode, p.parent, f.observed_at as _observed_at
            from temp.part as p join temp.file as f using (path)
        """
        result.deleted += drop_vanished(con, row, complete, "stage")
    if row.name == "events":
        history.from_events(con)
    if not absent:
        if row.history:
            history.from_rows(con, row)
        for child, path in embedded(row):
            if number := children(con, row, child, path, "lines"):
                result.children[child.name] = result.children.get(child.name, 0) + number
    result.deleted += gone.with_parents(con, row)


def _remember_parents(con: duckdb.DuckDBPyConnection, object: str, batches: Sequence[Batch]) -> None:
    """Which parents were asked for their lists, also for those that turned out empty."""
    asked = [
        (batch.account_id, batch.livemode, object, request["asked"], batch.observed_at)
        for batch in batches
        for request in batch.requests
        if "asked" in request
    ]
    if not asked:
        return
    con.execute(
        "create or replace temp table asked as select unnest(?::varchar[]) as account_id, "
        "unnest(?::boolean[]) as livemode, unnest(?::varchar[]) as object, unnest(?::varchar[]) as parent, "
        "unnest(?::timestamptz[]) as asked_at",
        [list(column) for column in zip(*asked, strict=True)],
    )
    con.execute(
        "delete from sync.asked as t using temp.asked as s where t.account_id = s.account_id "
        "and t.livemode = s.livemode and t.object = s.object and t.parent = s.parent"
    )
    con.execute(
        "insert into sync.asked select account_id, livemode, object, parent, max(asked_at) from temp.asked group by all"
    )


def _payout_batches(con: duckdb.DuckDBPyConnection) -> None:
    """Files that list the transactions of one payout also say which batch they belong to."""
    con.execute(
        """
        delete from sync.payout_transactions as t
        using (
            select distinct f.account_id, f.livemode, p.parent from temp.part as p join temp.file as f using (path)
        ) as s
        where t.account_id = s.account_id and t.livemode = s.livemode and t.payout = s.parent
        """
    )
    con.execute(
        # Every line counts: the transaction may have been listed by its time, too, in the same load.
        """
        insert into sync.payout_transactions
        select distinct account_id, livemode, _parent, id from (
            select * from temp.observed where _parent is not null
            qualify _file = max(_file) over (partition by account_id, livemode, _parent)
        )
        """
    )


__all__ = ["LoadResult", "load", "load_version", "loaded_files", "read_cursors"]
