"""The one thread that has the warehouse: it loads what was landed while Stripe is read, and answers what is asked.

Rows may be loaded long before the rest of their object is read; the files say what remains. The warehouse has one
writer, and its file is open only while something is done with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from threading import Lock
from typing import TypeVar

import duckdb

from dagster_project.stripe_api.landing import Batch
from dagster_project.stripe_api.report import ObjectReport, Progress, SyncReport
from dagster_project.stripe_api.sink import Sink
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.load import LoadResult, load
from dagster_project.warehouse.state import Cursor

# Rows of one object that are loaded ahead. DuckDB appends fewer than 61,440 new rows to the row group before, and so
# compresses that again; some of these may not be new. More leave too much for the end.
AHEAD = 70_000
_LAST = 5_000

Part = tuple[str, Sequence[Batch], Mapping[tuple[str, bool], Cursor]]  # object, files, cursors
T = TypeVar("T")


class Loader:
    """Use as a context manager: at its end everything that was handed over is loaded."""

    def __init__(self, warehouse: Warehouse, report: SyncReport, progress: Progress | None) -> None:
        self._warehouse, self._report, self._progress = warehouse, report, progress
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._running: dict[tuple[str, bool], list[Future[None]]] = {}
        self._waiting = 0  # jobs that have not begun
        self._counting = Lock()
        self._open = ExitStack()
        self._con: duckdb.DuckDBPyConnection | None = None

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)
        self._close()  # what was given up before it began closes nothing

    async def ask(self, what: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do something with the open warehouse. Raises what it raises."""
        return await asyncio.wrap_future(self._submit(what))

    def _submit(self, what: Callable[[duckdb.DuckDBPyConnection], T]) -> Future[T]:
        with self._counting:
            self._waiting += 1
        return self._thread.submit(self._with_warehouse, what)

    def _with_warehouse(self, what: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Opening and closing cost more than most of what is done in between, so that the file stays open while several
        accounts want something of it."""
        with self._counting:
            self._waiting -= 1
        try:
            if self._con is None:
                self._con = self._open.enter_context(self._warehouse.connect())
            result = what(self._con)
        except BaseException as error:
            self._con = None
            self._open.__exit__(type(error), error, error.__traceback__)  # says what a full disk or a damaged file is
            raise
        if not self._waiting:
            self._close()
        return result

    def _close(self) -> None:
        self._con = None
        self._open.close()

    def ahead(self, sink: Sink, *, last: bool = False) -> None:
        """Take the files of a sink when they are worth a load; of the `last` ones fewer are."""
        if sum(batch.rows for batch in sink.batches) < (_LAST if last else AHEAD):
            return
        batches, sink.batches = sink.batches, []
        job = self._submit(lambda con: self._count(con, load(con, sink.row.name, batches)))
        self._running.setdefault((sink.account_id, sink.livemode), []).append(job)

    async def load(
        self, name: str, batches: Sequence[Batch], cursors: Mapping[tuple[str, bool], Cursor],
        also: Sequence[tuple[str, tuple[str, bool], Cursor]],
    ) -> None:  # fmt: skip
        """Load files of one object now, and move its cursors and those of others in the same transaction."""
        if batches or cursors or also:
            await self.ask(lambda con: self._count(con, load(con, name, batches, cursors, also=also)))

    async def finish(
        self, key: tuple[str, bool], parts: Iterable[Part], then: Callable[[duckdb.DuckDBPyConnection], T]
    ) -> T:
        """Wait for what of an account is being loaded, load the rest, and do something more. Raises what any of the
        loads raised."""
        for one in self._running.pop(key, []):
            await asyncio.wrap_future(one)

        def rest(con: duckdb.DuckDBPyConnection) -> T:
            for name, batches, cursors in parts:
                if self._progress and batches:
                    self._progress.start(f"load {name}", sum(batch.rows for batch in batches))
                self._count(con, load(con, name, batches, cursors))
                if self._progress and batches:
                    self._progress.done(f"load {name}", "")
            return then(con)

        return await self.ask(rest)

    def _count(self, con: duckdb.DuckDBPyConnection, result: LoadResult) -> None:
        count(self.of(result.object), result)
        for child, number in result.children.items():
            row = self.of(child)
            row.received += number
            row.changed += number
            row.state = "ok" if row.state == "unchanged" else row.state
            found = con.execute(f"select count(*) from stripe.{child}").fetchone()
            row.total = int(found[0]) if found else 0

    def of(self, name: str) -> ObjectReport:
        """The report on an object."""
        return self._report.objects.setdefault(name, ObjectReport(name))


def count(row: ObjectReport, result: LoadResult) -> None:
    """Add what a load did to an object's report."""
    row.received += result.received
    row.inserted += result.inserted
    row.changed += result.changed
    row.deleted += result.deleted
    row.total = result.total
    # Another account may have failed there already, which must stay visible.
    if row.state == "unchanged" and (result.changes or result.received):
        row.state = "ok"
