"""All cases of some files in one build, in a data directory of its own."""

from __future__ import annotations

import os
import subprocess
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC
from decimal import Decimal
from pathlib import Path

import duckdb

from dagster_project.errors import LedgerlineError
from dagster_project.golden.compare import differences
from dagster_project.golden.feeds import land
from dagster_project.golden.format import MetricRun, Run, read
from dagster_project.golden.formulas import formula_differences
from dagster_project.golden.stripe_objects import Facts
from dagster_project.metrics.install import write_policies, write_rates
from dagster_project.metrics.rates import Rate, last_day
from dagster_project.orchestration.dbt_project import DBT, DBT_FOLDER, environment
from dagster_project.settings import Settings
from dagster_project.stripe_api.catalog import CATALOGUE
from dagster_project.stripe_api.landing import Batch, Landing
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.load import load
from dagster_project.warehouse.schema import ensure

# What the comparison reads; everything that it needs is built with it.
_MARTS = ("rpt_mrr_rollforward", "fct_mrr_customer_event")


@dataclass(frozen=True)
class Outcome:
    """How a case or variant came out; no `differences` means that it passed."""

    label: str
    differences: tuple[str, ...]


def outcomes(files: Sequence[Path], feed: str, folder: Path) -> Iterator[Outcome]:
    """Run the cases of all files in `folder`, which is empty. Raises UsageError for files, LedgerlineError for dbt."""
    runs: list[Run] = []
    formulas: list[MetricRun] = []
    for file in files:
        cases, metrics = read(file)
        runs += cases
        formulas += metrics
    settings = Settings.load({"LEDGERLINE_DATA_DIR": str(folder)}, dotenv=folder / "none")
    with Warehouse(folder).connect() as con:
        ensure(con)
        _load(con, Landing(folder / "landing"), runs, feed)
    _build(settings)
    with Warehouse(folder).connect(read_only=True) as con:
        con.execute("set TimeZone = 'UTC'")
        for run in runs:
            yield Outcome(run.label, tuple(differences(con, run)))
        for formula in formulas:
            yield Outcome(formula.label, tuple(formula_differences(con, formula)))


def _load(con: duckdb.DuckDBPyConnection, landing: Landing, runs: Sequence[Run], feed: str) -> None:
    landed: dict[str, list[Batch]] = defaultdict(list)
    for run in runs:
        for batch in land(landing, Facts(run), feed):
            landed[batch.object].append(batch)
    for name in ("events", *CATALOGUE):
        if batches := landed.pop(name, None):
            load(con, name, batches, {})
    for run in runs:
        currency = run.facts["reporting_currency"]
        for livemode in (True, False):
            con.execute(
                "insert into sync.accounts (account_id, livemode, name, default_currency, synced_until) "
                "values (?, ?, ?, ?, ?)",
                [run.account_id, livemode, run.label, currency, run.until.astimezone(UTC)],
            )
        write_policies(con, run.account_id, [run.policy], currency)
        write_rates(
            con, run.account_id, "file",
            [
                Rate("file", last_day(month), other, currency, Decimal(rate))
                for month, rates in (run.facts.get("fx_rates") or {}).items()
                for other, rate in rates.items()
            ],
        )  # fmt: skip


def _build(settings: Settings) -> None:
    chosen = [f"+{mart}" for mart in _MARTS]
    left_out = ["resource_type:unit_test", "resource_type:test"]
    done = subprocess.run(
        [str(DBT), "--quiet", "build", "--select", *chosen, "--exclude", *left_out],
        env={**os.environ, **environment(settings)}, cwd=DBT_FOLDER, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode:
        raise LedgerlineError(
            f"The models could not be built: {(done.stdout + done.stderr).strip()[-2000:]}", "Correct what dbt names."
        )
