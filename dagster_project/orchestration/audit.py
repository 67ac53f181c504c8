"""The check `matches_stripe` of every object: the warehouse compared with Stripe itself.

The comparison is in `stripe_api/audit.py`; its own job runs it, because it costs requests that a refresh does not need.
"""

from collections.abc import Iterator

import dagster as dg

from dagster_project.orchestration.extract import RunLog, stripe_key
from dagster_project.orchestration.pools import DUCKDB_WRITE
from dagster_project.orchestration.resources import Pipeline
from dagster_project.stripe_api.catalog import CATALOGUE

MATCHES = "matches_stripe"
SHOWN = 50


class AuditConfig(dg.Config):
    """`full` reads every object again; otherwise counts and a sample are compared."""

    full: bool = False


def audit_keys() -> list[dg.AssetCheckKey]:
    return [dg.AssetCheckKey(stripe_key(name), MATCHES) for name in CATALOGUE]


@dg.multi_asset_check(
    name="compare_with_stripe",
    specs=[
        dg.AssetCheckSpec(MATCHES, asset=stripe_key(name), description="Every row equals what Stripe answers now.")
        for name in CATALOGUE
    ],
    can_subset=True,
    pool=DUCKDB_WRITE,
)
def compare_with_stripe(
    context: dg.AssetCheckExecutionContext, config: AuditConfig, ledgerline: dg.ResourceParam[Pipeline]
) -> Iterator[dg.AssetCheckResult]:
    """Compares the selected objects with Stripe; a difference fails the object's check and names the rows."""
    from dagster_project.stripe_api.audit import audit
    from dagster_project.stripe_api.target import reachable

    selected = [
        name for name in CATALOGUE if dg.AssetCheckKey(stripe_key(name), MATCHES) in context.selected_asset_check_keys
    ]
    with reachable(ledgerline.settings) as settings:
        report = audit(
            settings,
            ledgerline.warehouse,
            full=config.full,
            objects=None if len(selected) == len(CATALOGUE) else selected,
            progress=ledgerline.progress or RunLog(context.log),
        )
    for name in selected:
        found = [row for row in report.differences if row.object == name]
        table = [
            dg.TableRecord({"account": row.account_id, "id": row.id, "difference": row.what}) for row in found[:SHOWN]
        ]
        yield dg.AssetCheckResult(
            asset_key=stripe_key(name),
            check_name=MATCHES,
            passed=not found,
            description=f"{len(found)} differences, first: {found[0].id} {found[0].what}" if found else None,
            metadata={"differences": len(found), **({"rows": dg.MetadataValue.table(table)} if table else {})},
        )
