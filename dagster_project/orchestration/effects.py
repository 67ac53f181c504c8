"""["effects", <destination>]: what is to leave, planned from the published outcomes and delivered.

Planning and sending are in `activation`; this says what a run shows of it.
"""

from typing import Any

import dagster as dg

from dagster_project.orchestration.extract import OWNERS
from dagster_project.orchestration.published import PUBLISHED
from dagster_project.orchestration.resources import Pipeline

DESTINATIONS = {
    "slack": "Messages about money that needs a person, to Slack or, without a token, to the outbox folder.",
    "erp": "Journal entries for the ERP, as files in the outbox folder.",
}
NO_DEAD, NO_UNSURE = "no_dead_effects", "no_unsure_effects"


def effects_key(destination: str) -> dg.AssetKey:
    return dg.AssetKey(["effects", destination])


def build_effects(destination: str) -> dg.AssetsDefinition:
    """The effects of one destination."""
    key = effects_key(destination)

    @dg.asset(
        key=key,
        deps=[PUBLISHED],
        group_name="effects",
        owners=OWNERS,
        kinds={"sqlite"},
        description=DESTINATIONS[destination],
        check_specs=[
            dg.AssetCheckSpec(NO_DEAD, asset=key, description="No effect was given up."),
            dg.AssetCheckSpec(NO_UNSURE, asset=key, description="No effect is parked because it may have arrived."),
        ],
    )
    def effects(ledgerline: dg.ResourceParam[Pipeline]) -> dg.MaterializeResult:
        state = send(ledgerline, destination)
        return dg.MaterializeResult(
            metadata=state,
            check_results=[_none(NO_DEAD, int(state["dead"] or 0)), _none(NO_UNSURE, int(state["unsure"] or 0))],
        )

    return effects


def send(ledgerline: Pipeline, destination: str) -> dict[str, Any]:
    """Plans and delivers for one destination; returns how many effects are in which state."""
    from dagster_project.activation.deliver import deliver
    from dagster_project.activation.overview import overview
    from dagster_project.activation.plan import plan
    from dagster_project.activation.routes import load_routes

    routes = [row for row in load_routes(ledgerline.settings.routes_dir) if row.destination == destination]
    with ledgerline.ops() as engine:
        plan(ledgerline.settings, engine, routes=routes)
        deliver(ledgerline.settings, engine, destination=destination)
        found: dict[str, Any] = next((row for row in overview(engine) if row["destination"] == destination), {})
    shown = {name: found.get(name, 0) for name in ("ready", "held", "unsure", "dead", "delivered")}
    return shown | {"oldest age": str(found.get("oldest_age") or "–")}


def _none(name: str, count: int) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name, passed=count == 0, severity=dg.AssetCheckSeverity.WARN, metadata={"effects": count}
    )
