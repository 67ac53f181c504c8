"""Which business is asked for, what cannot be simulated, and what each scenario is for."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from dagster_project.errors import UsageError
from dagster_project.simulator.engine import scenarios
from dagster_project.simulator.engine.business import SCENARIOS
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.history import make
from dagster_project.simulator.http.server import serve


def test_what_is_left_open_is_the_demo() -> None:
    assert scenarios.completed({"seed": None}) == {"scenario": "saas", "seed": 7, "customers": 1500, "months": 24}
    assert scenarios.completed({"scenario": "flat", "seed": 3}) == {
        "scenario": "flat", "seed": 3, "objects": 1_000_000, "months": 24,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("asked", "cause", "next_step"),
    [
        ({"scenario": "bank"}, "no scenario 'bank'", "saas, .*flat"),
        ({"customers": 9}, "customers 9 cannot", "at least 10 and at most 20,000"),
        ({"customers": 20_001}, "customers 20,001 cannot", "at most 20,000"),
        ({"months": 0}, "months 0 cannot", "at least 1 and at most 120"),
        ({"seed": -1}, "seed -1 cannot", "at least 0"),
        ({"scenario": "flat", "objects": 10}, "objects 10 cannot", "at least 1,000"),
        ({"scenario": "flat", "customers": 50}, "sized by objects", "--objects"),
        ({"objects": 5000}, "sized by customers", "--customers.*--scenario flat"),
    ],
)
def test_what_cannot_be_simulated_is_refused_before_anything_is_made(
    tmp_path: Any, asked: dict[str, Any], cause: str, next_step: str
) -> None:
    with pytest.raises(UsageError, match=cause) as refused:
        serve(tmp_path, port=0, business=asked)
    assert re.search(next_step, refused.value.next_step)
    assert refused.value.exit_code == 2
    assert not list(tmp_path.iterdir())


def test_only_what_was_said_can_differ() -> None:
    has = scenarios.completed({"customers": 20})
    assert not scenarios.differs({}, has)
    assert not scenarios.differs({"customers": 20, "scenario": "saas"}, has)
    assert scenarios.differs({"customers": 21}, has)
    assert scenarios.differs({"scenario": "flat"}, has)


# ---- what each of them shows --------------------------------------------------------------------------------
def world_of(path: Path, scenario: str, customers: int = 60) -> World:
    world = World(Store(path))
    make(world, {"scenario": scenario, "seed": 7, "customers": customers, "months": 8}, progress=lambda line: None)
    return world


@pytest.mark.parametrize("scenario", [name for name in SCENARIOS if name not in ("saas", "flat")])
def test_the_same_seed_makes_the_same_business_byte_for_byte(tmp_path: Path, scenario: str) -> None:
    digests = set()
    for name in ("one", "two"):
        world = world_of(tmp_path / f"{name}.sqlite", scenario, 20)
        hashed = hashlib.sha256()
        for account in world.accounts():
            for kind in account.store.counts():
                for body in account.store.page(kind, limit=10**6)[0]:
                    hashed.update(body)
        digests.add(hashed.hexdigest())
        world.store.close()
    assert len(digests) == 1


def test_usage_is_billed_by_volume_by_tiers_and_by_packages(tmp_path: Path) -> None:
    world = world_of(tmp_path / "state.sqlite", "usage")
    prices = {price["id"]: price for price in world.store.all("price")}
    billed = Counter(
        (prices[line["pricing"]["price_details"]["price"]]["tiers_mode"], bool(prices[id]["transform_quantity"]))
        for line in world.store.all("line_item")
        if (id := line["pricing"]["price_details"]["price"])
        and prices[id]["recurring"]
        and prices[id]["recurring"]["usage_type"] == "metered"
        and line["amount"] > 0
    )
    assert all(billed[how] > 20 for how in (("volume", False), ("graduated", False), (None, True))), billed
    formulas = {meter["default_aggregation"]["formula"] for meter in world.store.all("billing.meter")}
    assert formulas == {"sum", "last", "count"}


def test_global_charges_in_ten_currencies_and_settles_in_three_with_tax_inside(tmp_path: Path) -> None:
    world = world_of(tmp_path / "state.sqlite", "global", 120)
    charged = {charge["currency"] for charge in world.store.all("charge")}
    assert charged == {"usd", "eur", "gbp", "jpy", "kwd", "isk", "huf", "twd", "chf", "aud"}
    rows = world.store.all("balance_transaction")
    assert {row["currency"] for row in rows} == {"eur", "usd", "gbp"}
    assert sum(row["exchange_rate"] is not None for row in rows) > 50
    taxes = [tax for invoice in world.store.all("invoice") for tax in invoice["total_taxes"]]
    assert {tax["tax_behavior"] for tax in taxes} == {"inclusive"} and len(taxes) > 50
    assert any(part["type"] == "tax" for row in rows for part in row["fee_details"])


def test_the_marketplace_has_direct_and_destination_charges_and_transfers_that_come_back(tmp_path: Path) -> None:
    world = world_of(tmp_path / "state.sqlite", "marketplace", 120)
    platform, sellers = world.store, world.accounts()[1:]
    assert {account["type"] for account in platform.all("account")} == {"standard", "express", "custom"}
    assert any(charge["transfer_data"] for charge in platform.all("charge"))
    assert any(charge["application_fee_amount"] for seller in sellers for charge in seller.store.all("charge"))
    sent = platform.all("transfer")
    assert {bool(transfer["source_transaction"]) for transfer in sent} == {True}
    assert any(transfer["amount_reversed"] for transfer in sent)
    assert any(fee["amount_refunded"] for fee in platform.all("application_fee"))
    assert sum(seller.store.count("payout") for seller in sellers) > 50


def test_chaos_shows_what_is_rare(tmp_path: Path) -> None:
    world = world_of(tmp_path / "state.sqlite", "chaos", 150)
    world.advance(world.now + 20 * 86_400)
    store = world.store

    def some(kind: str, suits: Callable[[dict[str, Any]], Any]) -> bool:
        return any(suits(obj) for obj in store.all(kind))

    disputes = Counter(dispute["charge"] for dispute in store.all("dispute"))
    shown = {
        "a refund failed": some("refund", lambda refund: refund["status"] == "failed"),
        "a payout failed after it was paid": some("payout", lambda payout: payout["status"] == "failed"),
        "a payout was asked for": some("payout", lambda payout: not payout["automatic"]),
        "an instant payout": some("payout", lambda payout: payout["method"] == "instant"),
        "a dispute was won": some("dispute", lambda dispute: dispute["status"] == "won"),
        "a dispute was lost": some("dispute", lambda dispute: dispute["status"] == "lost"),
        "an inquiry": some("dispute", lambda dispute: dispute["status"].startswith("warning_")),
        "two disputes of one charge": max(disputes.values()) > 1,
        "a bank debit failed": some(
            "charge", lambda charge: charge["id"].startswith("py_") and charge["status"] == "failed"
        ),
        "a part was captured": some(
            "charge", lambda charge: charge["captured"] and charge["amount_captured"] < charge["amount"]
        ),
        "3-D Secure": some(
            "charge", lambda charge: (charge["payment_method_details"].get("card") or {}).get("three_d_secure")
        ),
        "paid out of band": store.count("payment_record") > 0,
        "several payments of an invoice": max(Counter(
            payment["invoice"] for payment in store.all("invoice_payment") if payment["status"] == "paid"
        ).values()) > 1,
        "a credit note before payment": some("credit_note", lambda note: note["pre_payment_amount"]),
        "a credit note after payment": some("credit_note", lambda note: note["post_payment_amount"]),
        "collection paused": some("subscription", lambda sub: sub["pause_collection"]),
        "paused": some("event", lambda event: event["type"] == "customer.subscription.paused"),
        "a schedule with phases": some("subscription_schedule", lambda schedule: len(schedule["phases"]) > 1),
        "a coupon of an item": some("discount", lambda discount: discount["subscription_item"]),
        "a prorated change": some("invoiceitem", lambda item: item["proration"]),
        "an invoice voided": some("invoice", lambda invoice: invoice["status"] == "void"),
        "an invoice uncollectible": some("invoice", lambda invoice: invoice["status"] == "uncollectible"),
        "a test clock": store.count("test_helpers.test_clock") > 0,
        "a customer deleted": some("event", lambda event: event["type"] == "customer.deleted"),
        "money reserved": some("balance_transaction", lambda row: row["type"] == "reserve_hold"),
        "tax exempt": some("customer", lambda customer: customer["tax_exempt"] != "none"),
    }  # fmt: skip
    assert [name for name, there in shown.items() if not there] == []
