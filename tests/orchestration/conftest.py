"""Settings and definitions in a data directory of the test session; dbt parses its project once for all tests here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

with warnings.catch_warnings():
    # dagster-dbt requires sqlglot[rs], whose Rust half announces its successor when it is imported.
    warnings.filterwarnings("ignore", "sqlglotrs is deprecated", DeprecationWarning)
    import dagster_dbt  # noqa: F401

from dagster_project.settings import Settings


def settings_in(folder: Path, **values: str) -> Settings:
    """Settings that see neither the environment nor a `.env` of whoever runs the tests."""
    return Settings.load({"LEDGERLINE_DATA_DIR": str(folder), **values}, dotenv=folder / "no.env")


@pytest.fixture(scope="session")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return settings_in(tmp_path_factory.mktemp("definitions"))


@pytest.fixture(scope="session")
def defs(settings: Settings) -> dg.Definitions:
    from dagster_project.definitions import build_defs

    return build_defs(settings)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as found:
        yield found
