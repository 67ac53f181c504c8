"""What a determined user did to the simulator, and what it must survive."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from dagster_project.simulator.engine import business
from dagster_project.simulator.engine.arrivals import weight
from dagster_project.simulator.engine.world import ACTIONS, STEP, World

DAY = 86_400


@pytest.mark.parametrize(
    "terms", [{"percent_off": 10, "duration": "forever"}, {"amount_off": 100, "currency": "usd", "duration": "forever"}]
)
def test_a_discount_outlives_its_coupon(account: Any, terms: dict[str, Any]) -> None:
    api = account.client().v1
    of = api.customers.create(
        {"payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"}}
    )
    price = api.prices.create(
        {"currency": "usd", "unit_amount": 1000, "recurring": {"interval": "month"}, "product_data": {"name": "P"}}
    )
    coupon = api.coupons.create(terms)
    sub = api.subscriptions.create(
        {"customer": of.id, "items": [{"price": price.id}], "discounts": [{"coupon": coupon.id}]}
    )
    api.coupons.delete(coupon.id)
    account.control("advance", {"days": 70})
    bills = api.invoices.list({"subscription": sub.id}).data
    assert [(bill.status, bill.total) for bill in bills] == [("paid", 900)] * 3
    item = api.subscriptions.retrieve(sub.id)["items"].data[0]
    api.subscriptions.update(sub.id, {"items": [{"id": item.id, "quantity": 2}]})
    assert {line.amount < 0 for line in api.invoice_items.list({"customer": of.id, "pending": True}).data} == {
        True,
        False,
    }


def test_a_step_of_the_clock_that_fails_did_not_happen(business: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    world: World = business.world
    before = world.now

    def trips(world: World) -> None:
        world.add("product", "prod", name="half")
        raise RuntimeError("tripped")

    monkeypatch.setitem(ACTIONS, "trips", trips)
    trips.__name__ = "trips"
    world.later(before + STEP + DAY, trips)
    world.store.flush()
    products = world.store.count("product")
    status, _, body = business.raw("/_ledgerline/advance", "POST", b'{"days": 45}')
    assert (status, body["error"]["type"]) == (500, "api_error")
    assert str(before + STEP) in body["error"]["message"]
    assert (world.now, world.store.count("product")) == (before + STEP, products)
    assert [row for row in world.due() if row[2] == "trips"], "it is still due"
    monkeypatch.setitem(ACTIONS, "trips", lambda world: None)
    assert business.control("advance", {"days": 15})["now"] == before + 45 * DAY


@pytest.mark.parametrize(
    "asked", [{"to": 253_402_300_800}, {"to": 1e300}, {"days": 1e9}, {"days": -1}, {"to": "9999-01-01"}]
)
def test_the_clock_stays_within_reason(account: Any, asked: dict[str, Any]) -> None:
    before = account.world.now
    status, _, body = account.raw("/_ledgerline/advance", "POST", msgspec.json.encode(asked))
    assert status == 400
    assert body["error"]["param"] == next(iter(asked))
    assert account.control("status")["now"] == before


def test_a_long_advance_keeps_only_a_step_in_memory(business: Any) -> None:
    business.control("advance", {"days": 200})
    store = business.store
    assert store.count("invoice") > 400
    wal = store.path.with_name(store.path.name + "-wal")
    assert wal.stat().st_size < 64_000_000
    oldest = min(event["created"] for event in store.all("event"))
    assert oldest >= business.world.now - 30 * DAY


def test_growth_ends_with_the_history() -> None:
    at = 1_767_225_600
    first, last, later = (weight(business.Saas, day, 30, at) for day in (0, 30, 395))
    assert last / first == pytest.approx(business.Saas.growth)
    assert later == last
