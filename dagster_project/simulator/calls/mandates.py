"""Mandates: customers' permissions to debit their accounts, made with `mandate_data` of an intent."""

from __future__ import annotations

from typing import Any

from dagster_project.simulator.engine.world import Object, World


def retrieve(world: World, params: dict[str, Any], mandate: Object) -> Object:
    return mandate
