"""The check `matches_stripe` of every object: the warehouse compared with Stripe itself.

The comparison is in `stripe_api/audit.py`; its own job runs it, because it costs requests that a refresh does not need.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import dagster as dg

from dagster_project.orchestration.extract import RunLog
from dagster_project.orchestration.pools import DUCKDB_WRITE
from dagster_project.orchestration.resources import Pipeline
from dagster_project.orchestration.tables import stripe_key
from dagster_project.stripe_api.catalog import CATALOGUE

if TYPE_CHECKING:
    from dagster_project.stripe_api.audit import Difference

MATCHES = "matches_stripe"
SHOWN = 50


class AuditConfig(dg.Config):
    """`full` reads every object again; otherwise the days whose proof is oldest, as many as `requests` per account
    reach. `repair` reads what differs again, loads it and compares it once more."""

    full: bool = False
    repair: bool = False
    requests: int = 500


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
    """Compares the selected objects with Stripe; a difference fails the object's check and names the rows. One that was
    repaired still shows, as a warning."""
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
            mend=config.repair,
            budget=config.requests,
            progress=ledgerline.progress or RunLog(context.log),
        )
    share = f"{report.proven:,} of {report.days:,} days (of all objects) are proven by a second reading"
    context.log.info(f"{report.compared:,} rows compared in {report.requests:,} requests. {share}.")
    for name in selected:
        yield _result(name, [row for row in report.differences if row.object == name], report.open.get(name, 0))


def _result(name: str, found: "list[Difference]", unproven: int) -> dg.AssetCheckResult:
    remaining = [row for row in found if not row.repaired]
    for row in found:
        words = "was repaired" if row.repaired else "differs"
        dg.get_dagster_logger().warning(f"{name} {row.id} {words}: {row.what}")
    table = [
        dg.TableRecord(
            {"account": row.account_id, "id": row.id, "difference": row.what, "repaired": str(row.repaired).lower()}
        )
        for row in found[:SHOWN]
    ]
    counts = f"{len(found)} differences, {len(found) - len(remaining)} repaired"
    return dg.AssetCheckResult(
        asset_key=stripe_key(name),
        check_name=MATCHES,
        passed=not found,
        severity=dg.AssetCheckSeverity.ERROR if remaining else dg.AssetCheckSeverity.WARN,
        description=f"{counts}; first: {(remaining or found)[0].id} {(remaining or found)[0].what}" if found else None,
        metadata={
            "differences": len(found),
            "repaired": len(found) - len(remaining),
            "days not proven": unproven,
            **({"rows": dg.MetadataValue.table(table)} if table else {}),
        },
    )
