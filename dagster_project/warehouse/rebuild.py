"""The warehouse again from landing, without Stripe."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import duckdb

from dagster_project.errors import WarehouseError, WarehouseLocked
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.warehouse import days
from dagster_project.warehouse.connection import Warehouse, open_file
from dagster_project.warehouse.load import load
from dagster_project.warehouse.schema import ensure

if TYPE_CHECKING:
    from dagster_project.stripe_api.sync import Progress

_FILES_AT_ONCE = 100


def rebuild(warehouse: Warehouse, landing: Landing, *, progress: Progress | None = None) -> None:
    """Load every landed file into a new build file, which then takes the place of the old one with its cursors.

    Raises WarehouseError when nothing was landed, WarehouseLocked when another process writes, LandingError for a
    damaged file; the old build stays then. A build that is damaged itself has no cursors to give: the next refresh
    reads everything.
    """
    batches = list(landing.batches())
    if not batches:
        raise WarehouseError("There is nothing in landing to rebuild from.", "Run `ledgerline backfill`.")
    sound = _is_sound(warehouse)
    fresh = warehouse.build.with_name("rebuild.duckdb")
    _forget(fresh)
    if progress:
        progress.start("rebuild", len(batches))
    try:
        with open_file(fresh, read_only=False) as con:
            ensure(con)
            for name, group in _in_load_order(batches):
                load(con, name, group, {})
                if progress:
                    progress.advance("rebuild", len(group))
            if sound:
                _keep_sync_state(con, warehouse)
            days.update(con)
        if not sound:
            _forget(warehouse.build)
        with warehouse.connect():  # nobody else may be writing the file that is replaced
            fresh.replace(warehouse.build)
    finally:
        _forget(fresh)
    if progress:
        progress.done("rebuild", f"{len(batches):,} landed files")


def _in_load_order(batches: list[Batch]) -> Iterator[tuple[str, list[Batch]]]:
    """Files of one object at a time, in landed order; history needs events first, as a sync loads them."""
    order = {name: place for place, name in enumerate(["events", *(n for n in CATALOGUE if n != "events")])}
    ordered = sorted(batches, key=lambda batch: order[batch.object])
    for name, group in groupby(ordered, key=lambda batch: batch.object):
        files = list(group)
        # The order of events inside one second is only known while they are together.
        step = len(files) if name == "events" else _FILES_AT_ONCE
        for start in range(0, len(files), step):
            yield name, files[start : start + step]


def _is_sound(warehouse: Warehouse) -> bool:
    """Whether there is a build that can be opened. Raises WarehouseLocked, StorageError."""
    if not warehouse.build.exists():
        return False
    try:
        with warehouse.connect():
            return True
    except WarehouseLocked:
        raise
    except WarehouseError:
        return False


def _keep_sync_state(con: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """What no landed file tells is taken over from the old build, as far as its version had it."""
    con.execute(f"attach '{str(warehouse.build).replace(chr(39), chr(39) * 2)}' as previous (read_only)")
    there = con.execute(
        "select table_name from duckdb_tables() where database_name = 'previous' and schema_name = 'sync'"
    ).fetchall()
    wanted = {f"cursor_{name}" for name in CATALOGUE} | {"accounts", "object_state", "requests", "proofs", "gaps"}
    for table in sorted(wanted.intersection(name for (name,) in there)):
        con.execute(f"insert into sync.{table} by name select * from previous.sync.{table}")
    con.execute("update sync.version set version = (select max(version) + 1 from previous.sync.version)")
    con.execute("detach previous")


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
    path.with_name(path.name + ".wal").unlink(missing_ok=True)
    shutil.rmtree(path.with_name(path.name + ".tmp"), ignore_errors=True)
