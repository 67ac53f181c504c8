"""Whole refreshes through the command line: what readers see meanwhile, and what stands in the end."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import duckdb

from dagster_project.simulator import process
from tests.end_to_end.conftest import Ledgerline


def published(run: Ledgerline) -> duckdb.DuckDBPyConnection:
    return duckdb.connect(str((run.data_dir / "warehouse.duckdb").resolve()), read_only=True)


def version(run: Ledgerline) -> int:
    with published(run) as con:
        return con.execute("select number from ops.publication").fetchone()[0]


def test_a_refresh_with_nothing_new_publishes_nothing(business: Ledgerline) -> None:
    before = version(business)
    done = business("refresh")
    assert done.returncode == 0, done.stderr
    assert "Nothing changed" in done.stdout
    assert version(business) == before


def test_readers_never_see_an_error_a_half_built_table_or_a_mix_of_versions(business: Ledgerline) -> None:
    """One reader opens the file anew every 50 ms, another keeps its first connection, during a whole refresh."""
    seen: list[tuple[int, int, int, int]] = []
    errors: list[str] = []
    stop = threading.Event()
    question = (
        "select (select number from ops.publication), (select count(*) from stripe.charges), "
        "(select count(*) from marts.fct_charge), (select count(*) from marts.fct_balance_transaction)"
    )

    def poll() -> None:
        while not stop.is_set():
            try:
                with published(business) as con:
                    seen.append(con.execute(question).fetchone())
            except Exception as error:
                errors.append(str(error))
            time.sleep(0.05)

    before = version(business)
    kept = published(business)
    first = kept.execute(question).fetchone()
    reader = threading.Thread(target=poll)
    reader.start()
    try:
        process.advance(business.base_url, days=1)
        done = business("refresh")
    finally:
        stop.set()
        reader.join()
    assert done.returncode == 0, done.stdout + done.stderr
    assert version(business) == before + 1
    assert errors == []
    assert len(seen) > 50
    assert {row[0] for row in seen} == {before, before + 1}
    assert len(set(seen)) == 2, "each version shows one state only"
    assert all(charges == modelled for _, charges, modelled, _ in seen)
    assert kept.execute(question).fetchone() == first, "an open connection stays on its version"
    kept.close()


def test_money_ties_and_mrr_is_there(business: Ledgerline) -> None:
    with published(business) as con:
        ties = con.execute(
            "select currency, difference from marts.fct_stripe_balance_daily where stripe_reported is not null"
        ).fetchall()
        payouts = con.execute("select distinct recon_status from marts.fct_payout").fetchall()
        mrr = con.execute("select sum(closing) from marts.rpt_mrr_rollforward").fetchone()[0]
    assert ties and all(difference == 0 for _, difference in ties)
    assert ("matched",) in payouts and ("mismatch",) not in payouts
    assert mrr > 0


def test_outcomes_arrive_in_the_outbox_once(business: Ledgerline) -> None:
    slack = sorted((business.data_dir / "outbox" / "slack").glob("*.json"))
    assert slack and all("blocks" in json.loads(file.read_text()) for file in slack)
    assert len(list((business.data_dir / "outbox" / "slack").glob("*.txt"))) == len(slack)
    journal = (business.data_dir / "outbox" / "erp" / "journal.csv").read_text()
    with published(business) as con:
        invoices = [row[0] for row in con.execute("select invoice_id from outcomes.invoices_paid").fetchall()]
    assert invoices and all(invoice in journal for invoice in invoices)
    effects = json.loads(business("effects", "--json", "--limit", "10000").stdout)
    assert len({(row["route"], row["key"]) for row in effects}) == len(effects)
    assert {row["state"] for row in effects} == {"delivered"}


def test_the_warehouse_equals_stripe(business: Ledgerline) -> None:
    done = business("audit", "--full")
    assert done.returncode == 0, done.stdout
    assert " 0 differences" in done.stdout


def test_rebuilding_from_landing_gives_the_same_rows(business: Ledgerline) -> None:
    def rows() -> dict[str, list[tuple]]:
        with duckdb.connect(str(business.data_dir / "build" / "warehouse.duckdb"), read_only=True) as con:
            tables = [
                row[0]
                for row in con.execute(
                    "select table_name from information_schema.tables where table_schema = 'stripe' order by 1"
                ).fetchall()
            ]
            return {
                table: con.execute(
                    f'select * exclude (_observed_at, _source) from stripe."{table}" order by all'
                ).fetchall()
                for table in tables
            }

    before = rows()
    done = business("rebuild")
    assert done.returncode == 0, done.stderr
    after = rows()
    assert {table for table in before if before[table] != after.get(table)} == set()
    assert sum(map(len, before.values())) > 1000


def test_status_shows_age_ties_and_exits_zero(business: Ledgerline) -> None:
    done = business("status", "--json")
    report = json.loads(done.stdout)
    assert done.returncode == 0
    assert report["publication"]["number"] == version(business)
    assert report["balance"] and all(row["difference"] == 0 for row in report["balance"])
    assert Path(report["publication"]["path"]).is_file()


def test_status_exits_one_when_a_day_differs_from_stripe(business: Ledgerline, tmp_path: Path) -> None:
    copy = tmp_path / "data"
    shutil.copytree(business.data_dir, copy, symlinks=True, ignore=shutil.ignore_patterns("simulator*", "landing"))
    file = (copy / "warehouse.duckdb").resolve()
    assert copy in file.parents
    file.chmod(0o644)
    with duckdb.connect(str(file)) as con:
        con.execute("update marts.mon_completeness set state = 'different' where object = 'charges'")
    done = business("status", "--json", LEDGERLINE_DATA_DIR=str(copy))
    assert done.returncode == 1, done.stderr
    different = {row["object"]: row["different"] for row in json.loads(done.stdout)["completeness"]}
    assert {name for name, days in different.items() if days} == {"charges"}


def test_another_time_zone_builds_and_publishes_again_without_news_from_stripe(business: Ledgerline) -> None:
    before = version(business)
    done = business("refresh", LEDGERLINE_TIMEZONE="Asia/Tokyo")
    assert done.returncode == 0, done.stderr
    assert version(business) == before + 1
    assert business("refresh").returncode == 0
    assert version(business) == before + 2


def test_a_client_that_forgot_read_only_does_not_hold_up_the_next_version(business: Ledgerline) -> None:
    before = version(business)
    held = duckdb.connect(str((business.data_dir / "warehouse.duckdb").resolve()))
    try:
        process.advance(business.base_url, days=1)
        done = business("refresh")
        assert done.returncode == 0, done.stdout + done.stderr
        assert version(business) == before + 1
    finally:
        held.close()
    assert (business.data_dir / "warehouse.duckdb").resolve().stat().st_mode & 0o222 == 0
