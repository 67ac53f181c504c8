"""dbt's own unit tests, a build on an empty warehouse (a new account before its first object), and one on a business
whose MRR is computed a second time from Stripe's objects, in fractions."""

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from fractions import Fraction
from pathlib import Path
from typing import Any

import duckdb
import pytest

from dagster_project.metrics.install import install
from dagster_project.orchestration import dbt_project
from dagster_project.settings import Settings
from dagster_project.simulator import process
from dagster_project.stripe_api.sync import sync
from dagster_project.warehouse.connection import Warehouse
from dagster_project.warehouse.schema import ensure


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    data_dir = tmp_path_factory.mktemp("dbt")
    settings = Settings.load({"LEDGERLINE_DATA_DIR": str(data_dir)}, dotenv=data_dir / "none")
    with Warehouse(data_dir).connect() as con:
        ensure(con)
        install(con, settings)
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


@pytest.fixture(scope="module")
def business(tmp_path_factory: pytest.TempPathFactory) -> Iterator[duckdb.DuckDBPyConnection]:
    """The warehouse of a simulated business, read and built; every data test passed on the way."""
    folder = tmp_path_factory.mktemp("business")
    handle = process.ensure_running(tmp_path_factory.mktemp("simulator"), customers=150, months=8)
    try:
        settings = Settings.load({"LEDGERLINE_DATA_DIR": str(folder)}, dotenv=folder / "none")
        sync(settings.replaced(STRIPE_API_BASE=handle.base_url), Warehouse(folder))
    finally:
        handle.stop()
    with Warehouse(folder).connect() as con:
        install(con, settings)
    dbt(settings, "build", "--exclude", "resource_type:unit_test")
    with duckdb.connect(str(Warehouse(folder).build), read_only=True) as con:
        con.execute("set TimeZone = 'UTC'")
        yield con


def payloads(con: duckdb.DuckDBPyConnection, name: str) -> list[dict[str, Any]]:
    rows = con.execute(f"select _payload::varchar from stripe.{name} where _deleted_at is null").fetchall()
    return [json.loads(row[0]) for row in rows]


def listed(price: dict[str, Any], quantity: int, currency: str) -> Fraction:
    """What Stripe would charge for one period, in minor units."""
    amounts = price if price["currency"] == currency else price["currency_options"][currency]
    if price["billing_scheme"] == "per_unit":
        units = quantity
        if package := price["transform_quantity"]:
            units = quantity // package["divide_by"]
            units += package["round"] == "up" and quantity % package["divide_by"] > 0
        return units * Fraction(amounts["unit_amount_decimal"])
    total, above = Fraction(0), 0
    for tier in amounts["tiers"]:
        up_to = tier["up_to"] or max(quantity, above)
        inside = min(quantity, up_to) - above
        if price["tiers_mode"] == "volume":
            inside = quantity if above < quantity <= up_to else 0
        if inside > 0:
            total += inside * Fraction(tier["unit_amount_decimal"] or 0) + Fraction(tier["flat_amount_decimal"] or 0)
        above = up_to
    return total


def mrr_of(
    subscription: dict[str, Any], items: list[dict[str, Any]], coupons: dict[str, dict[str, Any]], now: float
) -> int:
    """MRR of one subscription by DECISIONS.md; the simulator has no discounts on items or customers."""
    months = {"day": Fraction(365, 12), "week": Fraction(52, 12), "month": Fraction(1), "year": Fraction(1, 12)}
    recurring = [item for item in items if item["price"]["recurring"]["usage_type"] == "licensed"]
    prices = [listed(item["price"], item["quantity"], subscription["currency"]) for item in recurring]
    total = 0
    for item, price in zip(recurring, prices, strict=True):
        left = price
        for discount in subscription["discounts"]:
            coupon = coupons[discount["source"]["coupon"]]
            if coupon["duration"] == "once" or (discount["end"] or now + 1) <= now:
                continue
            if coupon["percent_off"]:
                left *= 1 - Fraction(str(coupon["percent_off"])) / 100
            elif coupon["currency"] == subscription["currency"] and sum(prices):
                left -= coupon["amount_off"] * price / sum(prices)
        interval = item["price"]["recurring"]
        monthly = max(left, Fraction(0)) * months[interval["interval"]] / interval["interval_count"]
        total += int(monthly + Fraction(1, 2))
    return total


def test_mrr_of_the_running_month_is_what_the_subscriptions_of_stripe_say(business: duckdb.DuckDBPyConnection) -> None:
    now: datetime = business.execute("select max(synced_until) from sync.accounts").fetchall()[0][0]
    coupons = {coupon["id"]: coupon for coupon in payloads(business, "coupons")}
    items: dict[str, list[dict[str, Any]]] = {}
    prices = {price["id"]: price for price in payloads(business, "prices")}
    for item in payloads(business, "subscription_items"):
        items.setdefault(item["subscription"], []).append(item | {"price": prices[item["price"]["id"]]})
    expected: Counter[str] = Counter()
    for subscription in payloads(business, "subscriptions"):
        if subscription["status"] in ("active", "past_due") and subscription["pause_collection"] is None:
            expected[subscription["currency"]] += mrr_of(
                subscription, items[subscription["id"]], coupons, now.timestamp()
            )
    built = business.execute(
        "select currency, closing from marts.rpt_mrr_rollforward where basis = 'local' "
        "qualify month = max(month) over ()"
    ).fetchall()
    assert set(expected) == {"usd", "eur", "jpy"} and all(expected.values())
    assert dict(built) == dict(expected)


def test_the_ledger_ties_to_stripe_in_every_currency(business: duckdb.DuckDBPyConnection) -> None:
    tied = business.execute(
        "select currency, closing, stripe_reported, difference from marts.fct_stripe_balance_daily "
        "where stripe_reported is not null"
    ).fetchall()
    assert {row[0] for row in tied} == {"usd", "eur", "jpy"}
    assert all(closing == reported and difference == 0 for _, closing, reported, difference in tied)
    clearing = business.execute(
        "select currency, sum(debit - credit)::bigint from marts.fct_journal_line "
        "where account_code = 'stripe_clearing' group by currency"
    ).fetchall()
    assert dict(clearing) == {row[0]: row[2] for row in tied}


def test_every_payout_that_stripe_has_matched_equals_its_batch(business: duckdb.DuckDBPyConnection) -> None:
    found = dict(
        business.execute("select recon_status, count(*) from marts.fct_payout group by recon_status").fetchall()
    )
    assert found["matched"] > 100 and "mismatch" not in found
