"""The one thread that has the warehouse: it loads what was landed while Stripe is read, and answers what is asked.

Rows may be loaded long before the rest of their object is read; the files say what remains. The warehouse has one
writer, and its file is open only while something is done with it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import duckdb

from dagster_project.stripe_api.landing import Batch
from dagster_project.stripe_api.report import ObjectReport, Progress, SyncReport
from dagster_project.stripe_api.sink import Sink
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.load import LoadResult, load
from dagster_project.warehouse.state import Cursor

# Rows of one object that are loaded ahead. Two loads must not fit into one of DuckDB's row groups of 122,880 rows, even
# when some of their rows were replaced: it would merge them, and compress all of them again.
AHEAD = 70_000
_LAST = 5_000

Part = tuple[str, Sequence[Batch], Mapping[tuple[str, bool], Cursor]]  # object, files, cursors
T = TypeVar("T")


class Loader:
    """Use as a context manager: at its end everything that was handed over is loaded."""

    def __init__(self, warehouse: Warehouse, report: SyncReport, progress: Progress | None) -> None:
        self._warehouse, self._report, self._progress = warehouse, report, progress
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="load")
        self._running: list[Future[None]] = []

    def __enter__(self) -> Loader:
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.shutdown(wait=True)

    async def ask(self, what: Callable[[duckdb.DuckDBPyConnection], T]) -> T:
        """Do something with the open warehouse. Raises what it raises."""

        def answer() -> T:
            with self._warehouse.connect() as con:
                return what(con)

        return await asyncio.wrap_future(self._thread.submit(answer))

    def ahead(self, sink: Sink, *, last: bool = False) -> None:
        """Take the files of a sink when they are worth a load; of the `last` ones fewer are."""
        if sum(batch.rows for batch in sink.batches) < (_LAST if last else AHEAD):
            return
        batches, sink.batches = sink.batches, []
        self._running.append(self._thread.submit(self._load_one, sink.row.name, batches))

    def _load_one(self, name: str, batches: list[Batch]) -> None:
        with self._warehouse.connect() as con:
            self._count(con, load(con, name, batches))

    async def load(
        self, name: str, batches: Sequence[Batch], cursors: Mapping[tuple[str, bool], Cursor],
        also: Sequence[tuple[str, tuple[str, bool], Cursor]],
    ) -> None:  # fmt: skip
        """Load files of one object now, and move its cursors and those of others in the same transaction."""
        await self._settle()
        await self.ask(lambda con: self._count(con, load(con, name, batches, cursors, also=also)))

    async def _settle(self) -> None:
        running, self._running = self._running, []
        for one in running:
            await asyncio.wrap_future(one)

    async def finish(self, parts: Iterable[Part]) -> None:
        """Wait for what runs, then load the rest. Raises what any of the loads raised."""
        await self._settle()

        def rest(con: duckdb.DuckDBPyConnection) -> None:
            for name, batches, cursors in parts:
                if self._progress and batches:
                    self._progress.start(f"load {name}", sum(batch.rows for batch in batches))
                self._count(con, load(con, name, batches, cursors))
                if self._progress and batches:
                    self._progress.done(f"load {name}", "")

        await self.ask(rest)

    def _count(self, con: duckdb.DuckDBPyConnection, result: LoadResult) -> None:
        count(self.of(result.object), result)
        for child, number in result.children.items():
            row = self.of(child)
            row.received += number
            row.changed += number
            row.state = "ok"
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
    if result.changes or result.received:
        row.state = "ok"
