"""Disputes, as callers answer or accept them."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine import disputes
from dagster_project.simulator.engine.world import Object, World
from dagster_project.simulator.http.api_errors import ApiError
from dagster_project.simulator.http.parameters import merged

Params = dict[str, Any]


def update(world: World, params: Params, dispute: Object) -> Object:
    """Evidence goes to the bank at once, unless `submit` is false: then it is kept until it is submitted."""
    given = {name: value["id"] if isinstance(value, dict) else value
             for name, value in (params.get("evidence") or {}).items()}  # fmt: skip
    changes: Object = {}
    if "metadata" in params:
        changes["metadata"] = merged(dispute["metadata"], params["metadata"])
    if given or params.get("submit"):
        if dispute["status"] not in disputes.OPEN:
            raise ApiError(
                400, f"This dispute has a status of {dispute['status']}: no evidence can be submitted any more.",
                param="evidence",
            )  # fmt: skip
        if params.get("submit", True):
            return disputes.submit(world, dispute, given, **changes)
        changes["evidence"] = dispute["evidence"] | given
        changes["evidence_details"] = dispute["evidence_details"] | {"has_evidence": True}
    return world.change(dispute, "charge.dispute.updated", **changes)


def close(world: World, params: Params, dispute: Object) -> Object:
    """Accept the dispute, which cannot be undone."""
    if dispute["status"] not in disputes.OPEN:
        raise ApiError(400, f"This dispute is already closed or under review: it has a status of {dispute['status']}.")
    return disputes.accept(world, dispute)
