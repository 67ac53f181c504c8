from __future__ import annotations

from typing import Any

import pytest
import stripe

from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World

DAY = 86_400


def events_since(business, before: str) -> list[Any]:
    """Oldest first."""
    return list(business.client().v1.events.list({"ending_before": before, "limit": 100}).data)[::-1]


def newest_event(business) -> str:
    return business.client().v1.events.list({"limit": 1}).data[0].id


def drafts(business) -> list[Any]:
    """Draft invoices; an invoice stays one for an hour, so the clock moves until there is one."""
    for _ in range(200):
        if found := business.client().v1.invoices.list({"status": "draft"}).data:
            return list(found)
        business.control("advance", {"seconds": 1800})
    raise AssertionError("nobody was billed")


# ---- customers -----------------------------------------------------------------------------------------------
def test_a_customer_is_created_changed_and_deleted(business):
    client = business.client()
    before = newest_event(business)
    made = client.v1.customers.create(
        {"name": "Ada", "metadata": {"tier": "gold", "team": "1"}, "address": {"city": "Bonn"}}
    )
    assert (made.name, made.address.city, made.address.country, made.created) == (
        "Ada",
        "Bonn",
        None,
        business.store.now,
    )
    assert client.v1.customers.list({"limit": 1}).data[0].id == made.id
    changed = client.v1.customers.update(
        made.id, {"metadata": {"tier": "", "region": "eu"}, "email": "ada@example.com"}
    )
    assert changed.metadata.to_dict() == {"team": "1", "region": "eu"}
    gone = client.v1.customers.delete(made.id)
    assert (gone.id, gone.deleted) == (made.id, True)
    assert client.v1.customers.retrieve(made.id).deleted
    assert made.id not in [each.id for each in client.v1.customers.list({"limit": 100}).auto_paging_iter()]
    created, updated, deleted = events_since(business, before)
    assert (created.type, updated.type, deleted.type) == ("customer.created", "customer.updated", "customer.deleted")
    assert updated.data.previous_attributes.to_dict() == {"email": None, "metadata": {"tier": "gold", "region": None}}
    assert "deleted" not in deleted.data.object
    assert created.request.id.startswith("req_")
    assert created.request.idempotency_key


def test_a_change_that_changes_nothing_is_silent(business):
    client = business.client()
    customer = client.v1.customers.list({"limit": 1}).data[0]
    before = newest_event(business)
    client.v1.customers.update(customer.id, {"name": customer.name})
    assert events_since(business, before) == []


def test_deleting_a_customer_cancels_its_subscriptions_and_the_clock_still_runs(business):
    client = business.client()
    unpaid = [each.id for each in drafts(business)]
    for customer in client.v1.customers.list({"limit": 100}).auto_paging_iter():
        client.v1.customers.delete(customer.id)
    assert client.v1.subscriptions.list().data == []
    business.control("advance", {"days": 40})
    assert client.v1.subscriptions.list({"status": "canceled", "limit": 100}).data
    assert {client.v1.invoices.retrieve(id).status for id in unpaid} == {"draft"}
    with pytest.raises(stripe.InvalidRequestError, match="was deleted"):
        client.v1.invoices.pay(unpaid[0])


# ---- money ---------------------------------------------------------------------------------------------------
def refundable(business) -> Any:
    rows = business.client().v1.charges.list({"limit": 100}).data
    return next(each for each in rows if each.paid and not each.amount_refunded and not each.disputed)


def test_a_refund_moves_money_and_is_bounded_by_the_charge(business):
    client = business.client()
    charge = refundable(business)
    before = newest_event(business)
    refund = client.v1.refunds.create({"charge": charge.id, "amount": charge.amount - 1, "reason": "duplicate"})
    assert client.v1.balance_transactions.retrieve(refund.balance_transaction).amount == 1 - charge.amount
    assert client.v1.charges.retrieve(charge.id).amount_refunded == charge.amount - 1
    assert [each.type for each in events_since(business, before)] == ["refund.created", "charge.refunded"]
    with pytest.raises(stripe.InvalidRequestError, match="greater than unrefunded") as refused:
        client.v1.refunds.create({"charge": charge.id, "amount": 2})
    assert refused.value.param == "amount"
    client.v1.refunds.create({"payment_intent": charge.payment_intent})
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.refunds.create({"charge": charge.id})
    assert refused.value.code == "charge_already_refunded"


def test_an_unknown_charge_in_a_parameter_is_400(business):
    with pytest.raises(stripe.InvalidRequestError) as refused:
        business.client().v1.refunds.create({"charge": "ch_none"})
    assert (refused.value.http_status, refused.value.code, refused.value.param) == (400, "resource_missing", "charge")


def test_a_dispute_can_be_ordered(business):
    charge = refundable(business)
    made = business.control("dispute", {"charge": charge.id})
    client = business.client()
    assert client.v1.disputes.retrieve(made["id"]).charge == charge.id
    assert client.v1.charges.retrieve(charge.id).disputed


# ---- subscriptions -------------------------------------------------------------------------------------------
def active(business) -> Any:
    rows = business.client().v1.subscriptions.list({"status": "active", "limit": 100}).data
    return next(each for each in rows if not each.cancel_at_period_end and each["items"].data[0].quantity)


def test_a_subscription_ends_with_its_period_or_now(business):
    client = business.client()
    subscription = active(business)
    ending = client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": True})
    assert ending.cancel_at == subscription["items"].data[0].current_period_end
    assert client.v1.subscriptions.update(subscription.id, {"cancel_at_period_end": False}).cancel_at is None
    before = newest_event(business)
    canceled = client.v1.subscriptions.cancel(subscription.id)
    assert (canceled.status, canceled.ended_at) == ("canceled", business.store.now)
    assert [each.type for each in events_since(business, before)] == ["customer.subscription.deleted"]
    assert client.v1.subscriptions.retrieve(subscription.id).status == "canceled"
    with pytest.raises(stripe.InvalidRequestError, match="No such subscription"):
        client.v1.subscriptions.cancel(subscription.id)


def test_a_changed_quantity_is_prorated(business):
    client = business.client()
    subscription = active(business)
    item = subscription["items"].data[0]
    more = {"id": item.id, "quantity": item.quantity + 3}
    changed = client.v1.subscriptions.update(subscription.id, {"items": [more]})
    assert changed["items"].data[0].quantity == item.quantity + 3
    assert client.v1.subscription_items.retrieve(item.id).quantity == item.quantity + 3
    pending = client.v1.invoice_items.list({"customer": subscription.customer, "limit": 2}).data
    assert sorted(each.amount > 0 for each in pending) == [False, True]


def test_a_draft_invoice_is_paid_on_request_and_only_once(business):
    client = business.client()
    try:
        invoice = client.v1.invoices.pay(drafts(business)[0].id)
    except stripe.CardError as declined:
        assert declined.decline_code == "insufficient_funds"
        return
    assert invoice.status == "paid"
    with pytest.raises(stripe.InvalidRequestError, match="already paid"):
        client.v1.invoices.pay(invoice.id)


# ---- the catalogue -------------------------------------------------------------------------------------------
def test_products_prices_and_coupons_are_made(account):
    client = account.client()
    product = client.v1.products.create({"name": "Desk", "id": "desk"})
    price = client.v1.prices.create(
        {"product": "desk", "currency": "EUR", "unit_amount": 1500, "recurring": {"interval": "month"}}
    )
    assert (price.currency, price.recurring.interval) == ("eur", "month")
    assert client.v1.plans.retrieve(price.id).amount == 1500
    assert not client.v1.prices.update(price.id, {"active": False}).active
    coupon = client.v1.coupons.create({"percent_off": 12.5, "duration": "repeating", "duration_in_months": 3})
    assert (coupon.percent_off, coupon.duration_in_months) == (12.5, 3)
    client.v1.coupons.delete(coupon.id)
    with pytest.raises(stripe.InvalidRequestError) as refused:
        client.v1.coupons.retrieve(coupon.id)
    assert refused.value.http_status == 404
    with pytest.raises(stripe.InvalidRequestError, match="cannot be deleted"):
        client.v1.products.delete(product.id)


# ---- idempotency ---------------------------------------------------------------------------------------------
def test_a_repeated_idempotency_key_changes_nothing_twice(account):
    client = account.client()
    first = client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    again = client.v1.customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    assert again.id == first.id
    assert again.last_response.headers["idempotent-replayed"] == "true"
    assert again.last_response.headers["original-request"] == first.last_response.headers["request-id"]
    assert account.store.count("customer") == 1
    with pytest.raises(stripe.IdempotencyError):
        client.v1.customers.create({"name": "Bob"}, {"idempotency_key": "k1"})


def test_a_refused_call_does_not_use_up_its_idempotency_key(account):
    client = account.client()
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.customers.create({"balance": "x"}, {"idempotency_key": "k1"})
    assert client.v1.customers.create({"balance": 5}, {"idempotency_key": "k1"}).balance == 5


# ---- time ----------------------------------------------------------------------------------------------------
def test_advance_moves_the_clock_and_what_is_due_happens(business):
    before, event = business.store.now, newest_event(business)
    answer = business.control("advance", {"days": 3})
    assert answer["now"] == business.control("status")["now"] == before + 3 * DAY
    assert answer["events"] == len(events_since(business, event)) > 0
    assert business.control("advance", {"to": before + 4 * DAY})["now"] == before + 4 * DAY


def test_the_clock_does_not_go_back(business):
    with pytest.raises(Exception, match="400"):
        business.control("advance", {"to": business.store.now - 1})


def test_a_restart_continues_as_if_there_had_been_none(tmp_path, start):
    path = tmp_path / "restarted.sqlite"
    store = Store(path)
    seed(World(store), seed=3, customers=8, months=2, progress=lambda line: None)
    store.close()
    first = start(path)
    made = first.client().v1.customers.create({"name": "Ada"}, {"idempotency_key": "k1"})
    first.control("advance", {"days": 2})
    second = start(path)
    assert second.store.now == first.store.now
    assert second.client().v1.customers.create({"name": "Ada"}, {"idempotency_key": "k1"}).id == made.id
