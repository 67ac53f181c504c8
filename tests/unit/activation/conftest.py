"""The world of the tests here; what they import is in activation_world.py, since several folders have a conftest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from activation_world import World

from dagster_project.ops.database import open_ops
from dagster_project.settings import PROJECT_ROOT, Settings


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    routes = tmp_path / "routes"
    routes.mkdir()
    environ = {"LEDGERLINE_DATA_DIR": str(tmp_path / "data"), "LEDGERLINE_ROUTES": str(routes)}
    settings = Settings.load(environ, dotenv=tmp_path / "no.env")
    engine = open_ops(settings)
    yield World(settings, engine, routes)
    engine.dispose()


@pytest.fixture
def shipped(world: World) -> World:
    """With the routes that Ledgerline brings."""
    world.settings = world.settings.replaced(LEDGERLINE_ROUTES=str(PROJECT_ROOT / "dagster_project" / "routes"))
    return world
