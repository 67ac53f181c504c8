"""What lands in the balance: conversion, Stripe's fees and their tax, and that everything adds up."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_UP, Decimal
from itertools import pairwise
from pathlib import Path
from typing import ClassVar

import pytest

from dagster_project.simulator.engine import accounts, business, settlement
from dagster_project.simulator.engine.ledger import book
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from tests.unit.simulator.money import batches, kept, summed

NOW = 1_794_744_000
DECIMALS = {"jpy": 0, "krw": 0, "kwd": 3}


class Taxed(business.Saas):
    tax_on_fees: ClassVar = {"IE": (23.0, "VAT")}
    fees: ClassVar = {"eur": (0.015, 25)}


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """An account in Ireland that is paid in euro and in pounds, and taxed on fees."""
    monkeypatch.setitem(business.SCENARIOS, "taxed", Taxed)
    store = Store(tmp_path / "state.sqlite")
    store.now = NOW
    store.meta["scenario"] = "taxed"
    world = World(store)
    account = accounts.new_account(world, "standard", "IE", currencies=("eur", "gbp"))
    store.meta["account"] = account["id"]
    store.insert(account)
    yield world
    store.close()


def minor(amount: int, source: str, target: str, rate: float) -> int:
    whole = Decimal(amount) / 10 ** DECIMALS.get(source, 2) * Decimal(repr(rate))
    return int((whole * 10 ** DECIMALS.get(target, 2)).quantize(Decimal(1), ROUND_HALF_UP))


def test_money_in_a_currency_with_a_bank_account_is_not_converted(world: World) -> None:
    row = book(world, "charge", "charge", "ch_1", 5_000, "gbp", fee=100)
    assert (row["currency"], row["amount"], row["fee"], row["net"]) == ("gbp", 5_000, 123, 4_877)  # 23 are tax
    assert row["exchange_rate"] is None


@pytest.mark.parametrize(("amount", "currency"), [(120_000, "jpy"), (9_990, "kwd"), (1_999, "usd"), (450_000, "huf")])
def test_money_in_another_currency_arrives_in_the_default_one_at_the_day_s_rate(
    world: World, amount: int, currency: str
) -> None:
    row = book(world, "charge", "charge", "ch_1", amount, currency, processing="card")
    assert row["currency"] == "eur"
    assert row["amount"] == minor(amount, currency, "eur", row["exchange_rate"])
    assert row["exchange_rate"] == float(settlement.rate(world, currency, "eur"))
    processing = int((row["amount"] * Decimal("0.015")).quantize(Decimal(1), ROUND_HALF_UP)) + 25
    conversion = int((row["amount"] * Decimal("0.01")).quantize(Decimal(1), ROUND_HALF_UP))
    tax = int(((processing + conversion) * Decimal("0.23")).quantize(Decimal(1), ROUND_HALF_UP))
    assert [(part["type"], part["amount"]) for part in row["fee_details"]] == [
        ("stripe_fee", processing), ("stripe_fee", conversion), ("tax", tax),
    ]  # fmt: skip
    assert summed(world) == kept(world)


def test_a_refund_is_converted_at_the_rate_of_its_own_day(world: World) -> None:
    taken = book(world, "charge", "charge", "ch_1", 10_000, "usd")
    world.store.now += 40 * business.DAY
    back = book(world, "refund", "refund", "re_1", -10_000, "usd")
    assert back["exchange_rate"] != taken["exchange_rate"]
    assert back["amount"] == -minor(10_000, "usd", "eur", back["exchange_rate"]) != -taken["amount"]
    assert summed(world) == kept(world)


def test_rates_vary_by_the_day_and_stay_near_the_table(world: World) -> None:
    days = [settlement.rate(world, "usd", "eur", NOW + day * business.DAY) for day in range(400)]
    assert len(set(days)) > 300
    assert all(abs(rate / settlement.PER_DOLLAR["eur"] - 1) < Decimal("0.05") for rate in days)
    assert max(abs(after / before - 1) for before, after in pairwise(days)) < Decimal("0.012")
    assert days == [settlement.rate(world, "usd", "eur", NOW + day * business.DAY) for day in range(400)]


def test_a_separate_conversion_fee_is_a_row_of_its_own(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Taxed, "fx_fee_separate", True)
    row = book(world, "charge", "charge", "ch_1", 10_000, "usd", processing="card", available_on=NOW + 3 * 86_400)
    fee = world.store.all("balance_transaction")[-1]
    assert (fee["type"], fee["reporting_category"], fee["source"]) == ("stripe_fx_fee", "fee", "ch_1")
    assert fee["net"] == -int((row["amount"] * Decimal("0.01")).quantize(Decimal(1), ROUND_HALF_UP))
    assert fee["status"] == row["status"] == "pending"
    assert summed(world) == kept(world)


def test_a_bank_debit_costs_what_bank_debits_cost(world: World) -> None:
    row = book(world, "charge", "charge", "ch_1", 100_000, "eur", processing="sepa_debit")
    assert [part["amount"] for part in row["fee_details"]] == [35, 8]


def test_a_rolling_reserve_holds_a_share_back_and_returns_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Taxed, "reserve", (0.1, 30))
    day = NOW // business.DAY * business.DAY
    taken = book(world, "charge", "charge", "ch_1", 10_000, "eur", available_on=day + business.DAY)
    world.advance(day + business.DAY + business.HOUR)
    held = [row for row in world.store.all("balance_transaction") if row["type"] == "reserve_hold"]
    assert [(row["net"], row["reporting_category"]) for row in held] == [(-taken["net"] // 10, "risk_reserved_funds")]
    assert [row["amount"] for row in world.store.all("payout")] == [taken["net"] * 9 // 10]
    world.advance(day + 33 * business.DAY)
    assert world.store.all("payout")[-1]["amount"] == taken["net"] // 10
    assert batches(world) == {row["id"]: row["amount"] for row in world.store.all("payout")}
    assert not summed(world) and not kept(world)
