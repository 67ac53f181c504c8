"""The jobs, by the names that the contract keeps.

https://docs.dagster.io/guides/build/jobs
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import dagster as dg

from dagster_project.orchestration.audit import audit_keys
from dagster_project.orchestration.effects import DESTINATIONS, effects_key
from dagster_project.orchestration.pools import WRITER
from dagster_project.orchestration.resources import Pipeline
from dagster_project.orchestration.tables import stripe_key
from dagster_project.settings import Settings
from dagster_project.stripe_api.catalog import CATALOGUE

EARLIEST_MONTH = "2011-09-01"  # Stripe's launch: no account is older

_AUDIT = dg.AssetSelection.checks(*audit_keys())
_STRIPE = dg.AssetSelection.assets(*(stripe_key(name) for name in CATALOGUE)) - _AUDIT
_EFFECTS = dg.AssetSelection.assets(*(effects_key(name) for name in DESTINATIONS))

backfill = dg.define_asset_job(
    "backfill",
    selection=_STRIPE,
    description="Full history of all objects, or of the selected ones, into the build warehouse.",
    config={"ops": {"extract": {"config": {"mode": "full"}}}},
    # The first load of a large account takes longer than the limit that guards against hung workers.
    tags={**WRITER, "dagster/max_runtime": str(48 * 3600)},
)
refresh = dg.define_asset_job(
    "refresh",
    selection=dg.AssetSelection.all() - _AUDIT,
    description="What changed since the last time: load, model, check, publish, send. Ends early when nothing changed.",
    tags=WRITER,
)
audit = dg.define_asset_job(
    "audit", selection=_AUDIT, description="Compares the warehouse with Stripe, object by object.", tags=WRITER
)
deliver = dg.define_asset_job(
    "deliver", selection=_EFFECTS, description="Sends what is due, without reading Stripe or building models."
)


def close_job(settings: Settings) -> dg.JobDefinition:
    """`close_month`, a partition per calendar month of the reporting time zone."""

    @dg.op(description="Writes the close package of the month from the published warehouse.")
    def write_close_package(context: dg.OpExecutionContext, ledgerline: dg.ResourceParam[Pipeline]) -> None:
        from dagster_project.close import close_month as write

        month = datetime.strptime(context.partition_key, "%Y-%m-%d").replace(tzinfo=UTC).date()
        folder = write(ledgerline.settings, month)
        context.add_output_metadata(
            {"folder": dg.MetadataValue.path(str(folder)), "files": len(list(folder.iterdir()))}
        )

    @dg.job(
        partitions_def=dg.MonthlyPartitionsDefinition(start_date=EARLIEST_MONTH, timezone=settings.timezone),
        description="The close package of a month: roll-forward, balances, payouts, journal, with hashes.",
    )
    def close_month() -> None:
        write_close_package()

    return close_month


def asset_jobs() -> Sequence[Any]:
    return [backfill, refresh, audit, deliver]
