"""The business that a person asked for, made from nothing."""

from __future__ import annotations

import gc
from collections.abc import Callable

from dagster_project.simulator import chaos
from dagster_project.simulator.engine import shapes
from dagster_project.simulator.engine.flat import fill
from dagster_project.simulator.engine.scenarios import FLAT, Parameters
from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.world import World

__all__ = ["chaos", "make"]  # the actions of chaos are known once it is imported


def make(world: World, parameters: Parameters, progress: Callable[[str], None] = print) -> None:
    """Fill an empty world with the business that `scenarios.completed` has named."""
    # What is made refers to no other object, so the collector would only look for cycles that are not there.
    collects = gc.isenabled()
    gc.disable()
    try:
        with world.store.hurried(), shapes.in_mode(world.livemode):
            (fill if parameters["scenario"] == FLAT else seed)(world, **parameters, progress=progress)
    finally:
        if collects:
            gc.enable()
