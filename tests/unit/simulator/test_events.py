"""The Events API: what is told, to whom it is shown when, and what is never told."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import stripe

from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.webhooks import EVENT_TYPES
from dagster_project.simulator.engine.world import World
from dagster_project.simulator.http.server import Options, create_app
from tests.unit.simulator.conftest import Simulator, _Thread
from tests.unit.simulator.receiver import Receiver, wait_for
from tests.unit.simulator.told import untold

DAY = 86_400


def types(simulator: Simulator, after: str | None = None) -> list[str]:
    """Oldest first."""
    params: dict[str, Any] = {"limit": 100} | ({"ending_before": after} if after else {})
    return [event.type for event in simulator.client().v1.events.list(params).data][::-1]


def newest(simulator: Simulator) -> str:
    return simulator.client().v1.events.list({"limit": 1}).data[0].id


# ---- the feed -----------------------------------------------------------------------------------------------
def test_events_are_gone_after_thirty_days(account):
    client = account.client()
    client.v1.customers.create({"name": "Ada"})
    old = newest(account)
    account.control("advance", {"days": 29.9})
    assert client.v1.events.retrieve(old).type == "customer.created"
    account.control("advance", {"days": 0.2})
    with pytest.raises(stripe.InvalidRequestError) as gone:
        client.v1.events.retrieve(old)
    assert gone.value.http_status == 404
    assert client.v1.events.list().data == []
    with pytest.raises(stripe.InvalidRequestError) as dead:
        client.v1.events.list({"ending_before": old})
    assert (dead.value.http_status, dead.value.param) == (400, "ending_before")


@pytest.mark.parametrize("path", ["data.data.object", "data.data.object.customer", "data.data.previous_attributes"])
def test_what_an_event_carries_cannot_be_expanded(business, path):
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        business.client().v1.events.list({"limit": 1, "expand": [path]})
    with pytest.raises(stripe.InvalidRequestError, match="cannot be expanded"):
        business.client().v1.events.retrieve(newest(business), {"expand": [path.removeprefix("data.")]})


def test_an_event_is_shown_late_but_delivered_at_once(account):
    receiver = Receiver()
    client = account.client()
    client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})
    account.control("faults", {"event_lag_s": 0.6})
    start = time.monotonic()
    client.v1.customers.create({"name": "Ada"})
    assert client.v1.customers.list().data[0].name == "Ada"
    assert client.v1.events.list().data == []
    receiver.wait(1)
    assert [event["type"] for event in receiver.events] == ["customer.created"]
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.events.retrieve(receiver.events[0]["id"])
    assert wait_for(lambda: types(account) == ["customer.created"])
    assert time.monotonic() - start > 0.5
    receiver.close()


def test_one_change_can_be_told_twice_with_different_ids(account):
    receiver = Receiver()
    client = account.client()
    client.v1.webhook_endpoints.create({"url": receiver.url, "enabled_events": ["*"]})
    account.control("faults", {"event_twice_rate": 1})
    client.v1.customers.create({"name": "Ada"})
    one, two = client.v1.events.list().data
    assert one.id != two.id
    assert one.data.to_dict() == two.data.to_dict() and one.request.to_dict() == two.request.to_dict()
    receiver.wait(2)
    assert {event["id"] for event in receiver.events} == {one.id, two.id}
    receiver.close()


def test_inside_a_second_events_can_stand_in_any_order(tmp_path: Path) -> None:
    store = Store(tmp_path / "state.sqlite")
    world = World(store)
    params: Any = {"name": "Ada", "balance": -500, "tax_id_data": [{"type": "eu_vat", "value": "DE123456789"}]}
    orders = []
    with _Thread(create_app(store, world, Options())) as base_url:
        account = Simulator(base_url, store, world)
        account.client().v1.customers.create({})
        for rate in (0, 0, 1, 1, 1):
            account.control("faults", {"event_shuffle_rate": rate})
            before = newest(account)
            account.client().v1.customers.create(params)
            orders.append(types(account, before))
    store.close()
    usual = ["customer.created", "customer.tax_id.created", "customer.updated", "customer.updated"]
    assert orders[0] == orders[1] == usual
    assert all(sorted(order) == usual for order in orders[2:]) and any(order != usual for order in orders[2:])


def test_embedded_lists_are_cut_in_events_as_they_are_in_objects(account):
    client = account.client()
    customer = client.v1.customers.create({"name": "Ada"})
    for number in range(12):
        client.v1.invoice_items.create({"customer": customer.id, "amount": 100 + number, "currency": "usd"})
    invoice = client.v1.invoices.create({"customer": customer.id, "pending_invoice_items_behavior": "include"})
    told = next(e for e in client.v1.events.list({"type": "invoice.created"}).data).data.object
    assert (told.id, len(told.lines.data), told.lines.has_more) == (invoice.id, 10, True)
    assert told.lines.url == f"/v1/invoices/{invoice.id}/lines"
    assert len(list(client.v1.invoices.line_items.list(invoice.id).auto_paging_iter())) == 12


# ---- what is told ---------------------------------------------------------------------------------------------
def test_a_recurring_price_is_told_as_a_plan_too(account):
    client = account.client()
    product = client.v1.products.create({"name": "Plan"})
    params = {"product": product.id, "currency": "usd", "unit_amount": 900}
    client.v1.prices.create(params)
    monthly = client.v1.prices.create({**params, "recurring": {"interval": "month"}})
    client.v1.prices.update(monthly.id, {"nickname": "Monthly"})
    told = types(account)
    assert told[0] == "product.created"
    assert sorted(told[1:]) == ["plan.created", "plan.updated", "price.created", "price.created", "price.updated"]
    plan, price = (client.v1.events.list({"type": f"{kind}.updated"}).data[0] for kind in ("plan", "price"))
    assert plan.data.object.object == "plan" and price.data.object.object == "price"
    assert plan.data.previous_attributes.to_dict() == price.data.previous_attributes.to_dict() == {"nickname": None}


def test_a_removal_is_told_with_the_last_whole_object(account):
    client = account.client()
    customer = client.v1.customers.create({"name": "Ada"})
    client.v1.customers.delete(customer.id)
    coupon = client.v1.coupons.create({"percent_off": 10})
    client.v1.coupons.delete(coupon.id)
    product = client.v1.products.create({"name": "Gone"})
    client.v1.products.delete(product.id)
    for kind, name in (("customer", "Ada"), ("product", "Gone"), ("coupon", None)):
        [event] = client.v1.events.list({"type": f"{kind}.deleted"}).data
        told = event.data.to_dict()
        assert told["object"]["name"] == name and "deleted" not in told["object"]
        assert "previous_attributes" not in told


SILENT: dict[str, Callable[[stripe.StripeClient, stripe.PaymentIntent], Any]] = {
    "payment intent metadata": lambda client, intent: client.v1.payment_intents.update(
        intent.id, {"metadata": {"a": "b"}}
    ),
    "payment intent description": lambda client, intent: client.v1.payment_intents.update(
        intent.id, {"description": "x"}
    ),
    "webhook endpoint": lambda client, intent: client.v1.webhook_endpoints.create(
        {"url": "http://127.0.0.1:1/", "enabled_events": ["charge.failed"]}
    ),
    "unchanged metadata": lambda client, intent: client.v1.customers.update(
        client.v1.customers.list({"limit": 1}).data[0].id, {"metadata": {}}
    ),
    "reading": lambda client, intent: client.v1.balance.retrieve(),
}


@pytest.mark.parametrize("call", SILENT.values(), ids=SILENT.keys())
def test_what_stripe_keeps_silent_about_is_not_told(business, call):
    client = business.client()
    [intent] = client.v1.payment_intents.list({"limit": 1}).data
    before = newest(business)
    call(client, intent)
    assert types(business, before) == []


def test_a_coupon_that_is_redeemed_and_an_item_that_changes_are_not_told(business):
    client = business.client()
    [customer] = client.v1.customers.list({"limit": 1}).data
    item = client.v1.invoice_items.create({"customer": customer.id, "amount": 100, "currency": customer.currency})
    before = newest(business)
    client.v1.invoice_items.update(item.id, {"description": "Other"})
    assert types(business, before) == []
    client.v1.coupons.create({"id": "NEW", "percent_off": 10, "duration": "forever"})
    [sub] = client.v1.subscriptions.list({"limit": 1, "status": "active"}).data
    client.v1.subscriptions.update(sub.id, {"discounts": [{"coupon": "NEW"}]})
    assert client.v1.coupons.retrieve("NEW").times_redeemed == 1
    told = types(business, before)
    assert "customer.discount.created" in told and "coupon.updated" not in told


def test_kinds_without_events_are_never_told(business):
    business.control("advance", {"days": 3})
    told = {event.data.object.object for event in business.client().v1.events.list({"limit": 100}).auto_paging_iter()}
    assert told <= {kind for kinds in EVENT_TYPES.values() for kind in kinds}
    assert told.isdisjoint({"balance_transaction", "subscription_item", "line_item", "customer_balance_transaction"})


def test_an_event_that_does_not_exist_or_tells_of_something_else_is_a_fault(account):
    customer = {"object": "customer", "id": "cus_1"}
    for type in ("customer.exploded", "charge.failed"):
        with pytest.raises(ValueError, match="does not tell of a customer"):
            account.world.emit(type, customer)


# ---- the check that all tests end with -----------------------------------------------------------------------
def test_the_business_tells_all_its_changes(business):
    before = business.store.last
    business.control("advance", {"days": 20})
    assert untold(business.world, before) == set()
    assert business.store.last > before + 500


@pytest.mark.parametrize(
    ("lie", "found"),
    [
        (lambda world, customer: customer.update(name="Eve"), "customer: nobody was told of name"),
        (
            lambda world, customer: world.emit("customer.updated", customer, {"name": "Eve"}),
            "customer.updated: changed",
        ),
        (lambda world, customer: world.add("customer", "cus"), "customer: made silently"),
    ],
)
def test_the_check_finds_what_is_not_told(account, lie, found):
    world = account.world
    with world.tentatively():
        customer = world.add("customer", "cus", name="Ada")
        world.emit("customer.created", customer)
        world.change(customer, "customer.updated", name="Bob")
        assert untold(world) == set()
        lie(world, customer)
        assert any(each.startswith(found) for each in untold(world))
