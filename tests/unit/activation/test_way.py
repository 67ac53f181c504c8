"""The whole way with the routes that are shipped: outcomes, effects, outbox, copies in the warehouse."""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest
from activation_world import World, dispute

from dagster_project.activation.copy import copy_to_warehouse
from dagster_project.activation.deliver import deliver
from dagster_project.activation.overview import effects, overview
from dagster_project.activation.plan import plan
from dagster_project.warehouse.connection import Warehouse


def bean_check(journal: Path) -> subprocess.CompletedProcess[str]:
    """beancount is GPL: a tool that is run, never a dependency."""
    beside = Path(sys.executable).parent / "bean-check"
    program = shutil.which("bean-check") or (str(beside) if beside.exists() else None)
    if program is None:
        pytest.skip("bean-check is not on PATH: `pip install beancount` in an environment of its own brings it")
    env = {"PATH": os.environ["PATH"], "HOME": str(journal.parent)}
    return subprocess.run([program, "-C", str(journal)], capture_output=True, text=True, env=env, check=False)


def test_disputes_and_paid_invoices_of_the_past_reach_the_outbox(shipped: World) -> None:
    shipped.publish([dispute("dp_1"), dispute("dp_2", customer_name=None)], invoices="where i <= 40")
    report = plan(shipped.settings, shipped.engine)
    assert {row.route: row.new for row in report.routes} == {"dispute_alert": 2, "paid_invoices": 40}
    assert deliver(shipped.settings, shipped.engine).delivered == 42
    slack = shipped.settings.data_dir / "outbox" / "slack"
    texts = {path.name: path.read_text() for path in slack.glob("*.txt")}
    assert len(texts) == 2
    assert all(name.startswith("20250301T123000Z-") for name in texts)
    [named] = [text for text in texts.values() if "Ada" in text]
    assert "Ada <!channel> & Co disputes 1,234.50 EUR" in named
    assert "answer due by 2025-03-09 00:00 UTC" in named
    [kit] = [json.loads(path.read_text()) for path in slack.glob("*.json") if "Ada" in path.read_text()]
    assert "&lt;!channel&gt; &amp; Co" in kit["blocks"][0]["text"]["text"]
    assert kit["metadata"]["event_payload"]["effect_id"] in {row["id"] for row in effects(shipped.engine)}
    with (shipped.settings.data_dir / "outbox" / "erp" / "journal.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 120
    assert {row["debit"] for row in rows if row["reference"] == "in_2" and row["debit"].strip("0.")} == {"10.02"}
    assert {row["debit"] for row in rows if row["reference"] == "in_3" and row["debit"] != "0"} == {"1003"}
    assert all(row["narration"].startswith("'=Company") for row in rows)


def test_a_second_run_plans_and_sends_nothing(shipped: World) -> None:
    shipped.publish([dispute("dp_1")], invoices="where i <= 10")
    plan(shipped.settings, shipped.engine)
    deliver(shipped.settings, shipped.engine)
    journal = shipped.settings.data_dir / "outbox" / "erp" / "journal.beancount"
    before = journal.read_text()
    shipped.publish([dispute("dp_1")], invoices="where i <= 10")
    assert plan(shipped.settings, shipped.engine).new == 0
    assert deliver(shipped.settings, shipped.engine).delivered == 0
    assert journal.read_text() == before


@pytest.mark.integration
def test_the_journal_is_accepted_by_beancount_and_an_unbalanced_one_is_not(shipped: World) -> None:
    shipped.publish([], invoices="where i <= 50")
    plan(shipped.settings, shipped.engine)
    deliver(shipped.settings, shipped.engine)
    journal = shipped.settings.data_dir / "outbox" / "erp" / "journal.beancount"
    accepted = bean_check(journal)
    assert (accepted.returncode, accepted.stderr) == (0, "")
    assert "Assets:Stripe-Receipts  10.02 EUR" in journal.read_text()
    wrong = journal.with_name("wrong.beancount")
    wrong.write_text(journal.read_text().replace("Receipts  10.02 EUR", "Receipts  10.03 EUR"))
    assert bean_check(wrong).returncode == 1


def test_fifteen_thousand_invoices_are_planned_and_delivered_in_ten_seconds_of_work(shipped: World) -> None:
    shipped.publish([], invoices="where i <= 15000")
    began = time.process_time()
    assert plan(shipped.settings, shipped.engine).new == 15_000
    planned = time.process_time() - began
    assert deliver(shipped.settings, shipped.engine).delivered == 15_000
    took = time.process_time() - began
    assert took < 10, f"{planned:.1f} s to plan, {took - planned:.1f} s to deliver"


def test_effects_and_attempts_are_copied_to_the_warehouse_with_comments(shipped: World) -> None:
    shipped.publish([dispute("dp_1")], invoices="where i <= 3")
    plan(shipped.settings, shipped.engine)
    deliver(shipped.settings, shipped.engine)
    with Warehouse(shipped.settings.data_dir).connect() as con:
        copy_to_warehouse(con, shipped.engine)
        copy_to_warehouse(con, shipped.engine)
        found = con.execute(
            "select dest, state, count(*), min(typeof(done_at)), bool_and(done_at >= created_at) "
            "from ops.effects group by all order by dest"
        ).fetchall()
        assert found == [
            ("erp", "delivered", 3, "TIMESTAMP WITH TIME ZONE", True),
            ("slack", "delivered", 1, "TIMESTAMP WITH TIME ZONE", True),
        ]
        assert con.execute("select count(*), min(outcome) from ops.attempts").fetchone() == (4, "delivered")
        assert con.execute("select count(*) from ops.approvals").fetchone() == (0,)
        bare = con.execute(
            "select table_name, column_name from duckdb_columns() where schema_name = 'ops' "
            "and table_name in ('effects', 'attempts', 'approvals') and comment is null"
        ).fetchall()
        assert bare == []


def test_the_overview_counts_per_destination_and_lists_the_four_times(shipped: World) -> None:
    shipped.publish([dispute("dp_1")], invoices="where i <= 3")
    plan(shipped.settings, shipped.engine)
    before = {row["destination"]: row for row in overview(shipped.engine)}
    assert (before["erp"]["ready"], before["erp"]["due"], before["erp"]["delivered"]) == (3, 3, 0)
    assert before["slack"]["oldest_age"].endswith(" s")
    deliver(shipped.settings, shipped.engine, destination="slack")
    after = {row["destination"]: row for row in overview(shipped.engine)}
    assert (after["slack"]["ready"], after["slack"]["delivered"], after["slack"]["oldest_age"]) == (0, 1, None)
    assert after["erp"]["ready"] == 3
    [row] = effects(shipped.engine, state="delivered")
    assert row["happened"] < row["planned"] <= row["sent"] <= row["acknowledged"]
