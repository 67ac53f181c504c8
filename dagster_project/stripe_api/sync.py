"""One synchronisation: what changed at Stripe is landed and loaded, object by object.

The order that makes it safe: land, then load rows and cursors in one transaction. A file that was landed but not loaded
is loaded by the next run, with the cursor that it carries; a cursor moves only over what is durable.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Literal

import duckdb

from dagster_project.settings import Settings
from dagster_project.stripe_api.account import AccountReader, Announced
from dagster_project.stripe_api.catalog import CATALOGUE, get
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.stripe_api.loading import Loader, count
from dagster_project.stripe_api.report import ObjectReport, Progress, SyncReport
from dagster_project.stripe_api.scheduling import Reading, read_all
from dagster_project.warehouse import days
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.load import load
from dagster_project.warehouse.schema import ensure
from dagster_project.warehouse.state import load_version, loaded_files, read_until


def sync(
    settings: Settings,
    warehouse: Warehouse,
    *,
    objects: Sequence[str] | None = None,
    mode: Literal["incremental", "full"] = "incremental",
    created: tuple[int, int] | None = None,
    announced: Sequence[Announced] = (),
    progress: Progress | None = None,
) -> SyncReport:
    """Read from every account what changed (or everything) and load it.

    `objects` limits it to some, which are then read in full; `created` to a range of Unix seconds (the end excluded),
    which moves no cursor. `announced` are events that webhooks brought. Accounts are read at the same time (see
    `scheduling`); one account's failure, or one object's missing permission, is reported and does not stop the rest.

    Raises StripeAuthError or StripeUnreachable when no account could be read, UsageError for an unknown object.
    """
    began = time.monotonic()
    names = _with_parents([get(name).name for name in objects]) if objects else list(CATALOGUE)
    report = SyncReport({name: ObjectReport(name) for name in names})
    landing = Landing(settings.data_dir / "landing")
    full = mode == "full" or objects is not None or created is not None
    accounts = settings.accounts()
    several = len(accounts) > 1 or any(account.connected or account.all_connected for account in accounts)
    with warehouse.connect() as con:
        ensure(con)
        before = load_version(con)
        waiting = _load_leftovers(con, landing, report, progress)
        last_read = read_until(con)
    with Loader(warehouse, report, progress) as loader:
        taken = set[tuple[str, bool]]()

        async def run(which: Reading) -> None:
            reader = AccountReader(
                settings, landing, loader, which, report, progress, waiting=waiting, announced=announced, taken=taken,
                several=several,
            )  # fmt: skip
            await reader.run(names, full=full, created=created)

        asyncio.run(read_all(settings, accounts, report, run, last_read, progress))
    with warehouse.connect() as con:
        days.update(con)
        report.load_version = load_version(con)
    report.changed = report.load_version != before
    report.seconds = time.monotonic() - began
    return report


def _with_parents(names: list[str]) -> list[str]:
    """Children come with their parents, so those are read too."""
    wanted = set(names)
    for name in names:
        row = CATALOGUE[name]
        while row.strategy == "children":
            parent = row.parent or next(iter(row.embedded_in or {}), None)
            if parent is None:
                break
            wanted.add(parent)
            row = CATALOGUE[parent]
    return [name for name in CATALOGUE if name in wanted]


def _load_leftovers(
    con: duckdb.DuckDBPyConnection, landing: Landing, report: SyncReport, progress: Progress | None
) -> list[Batch]:
    """Load files that a run landed and did not live to load.

    Returns those of events, which are loaded together with what they announce.
    """
    waiting: dict[str, list[Batch]] = {}
    for batch in landing.batches(known=loaded_files(con)):
        waiting.setdefault(batch.object, []).append(batch)
    events = waiting.pop("events", [])
    for name in CATALOGUE:
        if waiting.get(name):
            result = load(con, name, waiting[name])
            count(report.objects.setdefault(name, ObjectReport(name)), result)
            if progress:
                progress.done(name, f"{result.received:,} rows that an interrupted run had landed")
    return events


__all__ = ["ObjectReport", "Progress", "SyncReport", "sync"]
