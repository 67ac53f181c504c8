"""Loading what one account's reading landed: the bulk while the rest is still being read, the cursors at the end.

Rows may be loaded long before the cursor that covers them; a run that dies in between reads them again. One thread
loads, because the warehouse has one writer; the file is open only while it does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import duckdb

from dagster_project.stripe_api.landing import Batch
from dagster_project.stripe_api.reading import Sink
from dagster_project.stripe_api.report import ObjectReport, Progress, SyncReport
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.load import LoadResult, load
from dagster_project.warehouse.state import Cursor

# Rows of one object that are loaded ahead. Fewer are compressed again too often when the next rows come, because DuckDB
# works in row groups of 122,880; more leave too much for the end.
AHEAD = 61_440


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

    def ahead(self, sink: Sink) -> None:
        """Take the files of a sink when they are worth a load. Not those of events: until what they announce has been
        read, an event must not count as seen."""
        if sink.row.name == "events" or sum(batch.rows for batch in sink.batches) < AHEAD:
            return
        batches, sink.batches = sink.batches, []
        self._running.append(self._thread.submit(self._load_one, sink.row.name, batches))

    def _load_one(self, name: str, batches: list[Batch]) -> None:
        with self._warehouse.connect() as con:
            self._count(con, load(con, name, batches))

    def finish(self, parts: Iterable[tuple[str, Sequence[Batch], Mapping[tuple[str, bool], Cursor]]]) -> None:
        """Wait for what runs, then load the rest: (object, files, cursors). Raises what any of the loads raised."""
        for running in self._running:
            running.result()
        self._running.clear()
        with self._warehouse.connect() as con:
            for name, batches, cursors in parts:
                if self._progress and batches:
                    self._progress.start(f"load {name}", sum(batch.rows for batch in batches))
                self._count(con, load(con, name, batches, cursors))
                if self._progress and batches:
                    self._progress.done(f"load {name}", "")

    def _count(self, con: duckdb.DuckDBPyConnection, result: LoadResult) -> None:
        count(self._of(result.object), result)
        for child, number in result.children.items():
            row = self._of(child)
            row.received += number
            row.changed += number
            row.state = "ok"
            found = con.execute(f"select count(*) from stripe.{child}").fetchone()
            row.total = int(found[0]) if found else 0

    def _of(self, name: str) -> ObjectReport:
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
