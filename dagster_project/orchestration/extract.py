"""One asset per object of Stripe's catalogue, all made by one step, because one change feed tells what changed.

Belongs here: how a sync report becomes materializations and checks. How Stripe is read is in `stripe_api`.
"""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.errors import UsageError, WarehouseError
from dagster_project.orchestration.pools import DUCKDB_WRITE
from dagster_project.orchestration.resources import Pipeline
from dagster_project.orchestration.tables import (
    READABLE,
    UNIQUE_KEY,
    look,
    materialized,
    readable,
    stripe_key,
    unreadable,
    whole_run,
)
from dagster_project.progress import Lines, duration
from dagster_project.stripe_api.catalog import CATALOGUE, StripeObject, columns
from dagster_project.stripe_api.report import refusals

if TYPE_CHECKING:
    from dagster_project.stripe_api.report import SyncReport

OWNERS = ["team:data"]
LOG_EVERY = 15.0  # seconds


class ExtractConfig(dg.Config):
    """`mode` is incremental (what changed since the last time) or full (everything, within `created_from` and
    `created_to` where given: ISO dates, UTC, the second one excluded)."""

    mode: str = "incremental"
    created_from: str | None = None
    created_to: str | None = None

    def created(self) -> tuple[int, int] | None:
        """The range of `created` in Unix seconds, or None for all. Raises UsageError for a date that is none."""
        if self.created_from is None and self.created_to is None:
            return None
        start = _unix(self.created_from) if self.created_from else 0
        end = _unix(self.created_to) if self.created_to else int(datetime.now(UTC).timestamp())
        if start >= end:
            raise UsageError(f"{self.created_from} is not before {self.created_to}.", "Swap the two dates.")
        return start, end


def _spec(row: StripeObject) -> dg.AssetSpec:
    hidden = f"\n\nNo list shows: {row.hidden_note}." if row.hidden_note else ""
    return dg.AssetSpec(
        key=stripe_key(row.name),
        description=f"{row.description}{hidden}",
        group_name=row.group,
        owners=OWNERS,
        kinds={"stripe", "duckdb"},
        tags={"ledgerline/strategy": row.strategy, "ledgerline/history": str(row.history).lower()},
        metadata={
            "dagster/table_name": f"stripe.{row.name}",
            "dagster/column_schema": dg.TableSchema(
                columns=[
                    dg.TableColumn(name=column.name, type=column.duckdb_type, description=column.description)
                    for column in columns(row.name)
                ]
            ),
        },
        skippable=True,
    )


def _check_specs(name: str) -> list[dg.AssetCheckSpec]:
    return [
        dg.AssetCheckSpec(READABLE, asset=stripe_key(name), description="The key may read it, and Stripe answered."),
        dg.AssetCheckSpec(UNIQUE_KEY, asset=stripe_key(name), description="(account_id, livemode, id) is unique."),
    ]


@dg.multi_asset(
    name="extract",
    specs=[_spec(row) for row in CATALOGUE.values()],
    check_specs=[spec for name in CATALOGUE for spec in _check_specs(name)],
    can_subset=True,
    pool=DUCKDB_WRITE,
)
def extract(
    context: dg.AssetExecutionContext, config: ExtractConfig, ledgerline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.MaterializeResult | dg.AssetCheckResult]:
    """Reads from Stripe what changed, lands it and loads it. When the published warehouse already holds everything,
    it materializes nothing, which skips the models and the publication."""
    selected = [name for name in CATALOGUE if stripe_key(name) in context.selected_asset_keys]
    report = _sync(context, config, ledgerline, selected)
    for problem in report.problems:
        context.log.warning(problem)
    _blame_accounts(report, selected[0])
    in_all = whole_run(report)
    context.log.info(_summary(report))
    if not report.changed and _already_published(ledgerline, report.load_version):
        context.log.info("Nothing changed at Stripe; the published version has it all.")
        context.log_event(dg.AssetObservation(asset_key=stripe_key(selected[0]), metadata=in_all))
        for name in selected:
            if unreadable(row := report.objects.get(name)):
                yield readable(name, row)
        return
    with ledgerline.warehouse.connect(read_only=True) as con:
        tables = look(con, selected, report)
    # Every selected object, also an unreadable one: a table that is not yielded skips the models without a word.
    for name, table in tables.items():
        yield materialized(name, report.objects.get(name), table, in_all if name == selected[0] else {})


def _summary(report: "SyncReport") -> str:
    received = sum(row.received for row in report.objects.values())
    share = "" if report.share is None else f", {report.share * 100:.0f} % of Stripe's limit"
    refused = refusals(report.refused) or "no 429"
    return (
        f"{received:,} objects read with {report.requests:,} requests in {duration(report.seconds)}{share}; {refused}."
    )


def _sync(
    context: dg.AssetExecutionContext, config: ExtractConfig, ledgerline: Pipeline, selected: list[str]
) -> "SyncReport":
    from dagster_project.receiver.inbox import bodies, mark_loaded, pending
    from dagster_project.stripe_api.sync import sync
    from dagster_project.stripe_api.target import reachable

    if config.mode not in ("incremental", "full"):
        raise UsageError(f"Unknown mode {config.mode!r}.", "Use incremental or full.")
    with ledgerline.ops() as engine:
        announced = [row["id"] for row in pending(engine)]
        with reachable(ledgerline.settings) as settings:
            report = sync(
                settings,
                ledgerline.warehouse,
                objects=None if len(selected) == len(CATALOGUE) else selected,
                mode="full" if config.mode == "full" else "incremental",
                created=config.created(),
                announced=bodies(engine, announced),
                progress=ledgerline.progress or RunLog(context.log),
            )
        # Also when an object could not be read: its own cursor stayed, so the next refresh asks for it again.
        if announced and len(selected) == len(CATALOGUE):
            mark_loaded(engine, announced)
    return report


def _blame_accounts(report: "SyncReport", name: str) -> None:
    """An account that could not be read at all fails the check of the first object, since no object of it was tried."""
    failed = [f"account {label}: {why}" for label, why in report.failed_accounts.items()]
    if failed and name in report.objects:
        report.objects[name].state, report.objects[name].message = "failed", "; ".join(failed)


def _already_published(ledgerline: Pipeline, version: int) -> bool:
    """Whether readers see models of this load already; a run that died after dbt has built but not published."""
    from dagster_project.orchestration.dbt_project import built_as_now
    from dagster_project.warehouse.connection import open_file
    from dagster_project.warehouse.publish import current, untouched
    from dagster_project.warehouse.state import built_version

    with ledgerline.warehouse.connect(read_only=True) as con:
        if built_version(con) != version:
            return False
    if not built_as_now(ledgerline.settings):
        return False
    try:
        publication = current(ledgerline.warehouse)
        if publication is None or not untouched(publication):
            return False
        with open_file(Path(publication.path), read_only=True, wait=0) as con:
            return built_version(con) == version
    except WarehouseError:  # somebody holds it open for writing: a new version frees the readers
        return False


def _unix(text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise UsageError(f"{text!r} is no date.", "Use an ISO date such as 2024-01-01.") from error
    return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())


class RunLog(Lines):
    """Progress as lines in the run's log: seldom, since every line is an event that is stored."""

    def __init__(self, log: dg.DagsterLogManager) -> None:
        super().__init__(log.info, every=LOG_EVERY)
