"""dbt's own unit tests, and a whole build on an empty warehouse: what a new account has before its first object."""

import os
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from dagster_project.orchestration import dbt_project
from dagster_project.settings import Settings
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data_dir = tmp_path_factory.mktemp("dbt")
    settings = Settings.load({"LEDGERLINE_DATA_DIR": str(data_dir)}, dotenv=data_dir / "none")
    with Warehouse(data_dir).connect() as con:
        ensure(con)
    return settings


def dbt(settings: Settings, *arguments: str) -> str:
    done = subprocess.run(
        [str(Path(sys.executable).with_name("dbt")), *arguments],
        env={**os.environ, **dbt_project.environment(settings)},
        cwd=dbt_project.DBT_FOLDER,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout


def test_an_empty_warehouse_builds_and_every_unit_test_passes(settings: Settings) -> None:
    output = dbt(settings, "build")
    assert "unit tests" in output and "ERROR=0" in output
    with duckdb.connect(str(Warehouse(settings.data_dir).build), read_only=True) as con:
        marts = {
            row[0]
            for row in con.execute("select table_name from duckdb_tables() where schema_name = 'marts'").fetchall()
        }
    assert {"rpt_mrr_rollforward", "fct_stripe_balance_daily", "fct_payout", "fct_invoice_settlement"} <= marts


def test_every_model_and_column_is_described(settings: Settings) -> None:
    dbt(settings, "build", "--exclude", "resource_type:unit_test")
    with duckdb.connect(str(Warehouse(settings.data_dir).build), read_only=True) as con:
        silent = con.execute(
            "select schema_name, table_name, column_name from duckdb_columns() "
            "where schema_name in ('stripe', 'staging', 'intermediate', 'marts', 'outcomes') and comment is null"
        ).fetchall()
    assert silent == []
