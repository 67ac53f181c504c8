"""A small business that each test changes as it likes, and a warehouse that follows it."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure
from whole.following import Following
from whole.local_stripe import LocalStripe


@pytest.fixture(scope="session")
def business(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The state file of a few customers over a few months, made once."""
    path = tmp_path_factory.mktemp("business") / "state.sqlite"
    store = Store(path)
    seed(World(store), seed=11, customers=12, months=3, progress=lambda line: None)
    store.close()
    return path


@pytest.fixture(scope="session")
def empty_warehouse(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its many tables are made once; each warehouse starts as a copy of the file."""
    made = Warehouse(tmp_path_factory.mktemp("empty"))
    with made.connect() as con:
        ensure(con)
    return made.build


@pytest.fixture
def local_stripe(business: Path, tmp_path: Path) -> Iterator[LocalStripe]:
    local = LocalStripe(Path(shutil.copy(business, tmp_path / "state.sqlite")))
    yield local
    local.stop()


@pytest.fixture
def following(local_stripe: LocalStripe, empty_warehouse: Path, tmp_path: Path) -> Following:
    return Following(local_stripe, tmp_path / "data", empty_warehouse)


@pytest.fixture(scope="session")
def read_once(business: Path, empty_warehouse: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The business and a warehouse that has read it, to begin from."""
    folder = tmp_path_factory.mktemp("read_once")
    local = LocalStripe(Path(shutil.copy(business, folder / "state.sqlite")))
    following = Following(local, folder / "data", empty_warehouse)
    assert following.refresh().problems == []
    assert following.differences() == []
    local.stop()
    return folder


@pytest.fixture
def begun(read_once: Path, empty_warehouse: Path, tmp_path: Path) -> Iterator[Following]:
    """The small business, read once, a second ago."""
    shutil.copytree(read_once, tmp_path, dirs_exist_ok=True)
    local = LocalStripe(tmp_path / "state.sqlite")
    following = Following(local, tmp_path / "data", empty_warehouse)
    following.since = local.now
    local.advance(1)
    yield following
    local.stop()
