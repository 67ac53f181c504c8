"""Subscriptions on a test clock, through Stripe's client; amounts are worked out anew from the periods."""

from __future__ import annotations

from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
import stripe
from billing_cases import DAY, HOUR, NOW, Shop, misfits

JAN_31 = int(datetime(2027, 1, 31, 9, 30, tzinfo=UTC).timestamp())


def part(amount: int, start: int, at: int, end: int) -> int:
    """What of `amount` belongs to the time from `at` to `end` of the period, in whole minor units."""
    exact = Fraction(amount * (end - at), end - start)
    whole = int(abs(exact) + Fraction(1, 2))
    return whole if exact >= 0 else -whole


def lines(invoice: Any) -> list[int]:
    return [line.amount for line in invoice.lines.data]


def newest(shop: Shop, sub: str) -> Any:
    return shop.api.invoices.list({"subscription": sub, "limit": 1}).data[0]


@pytest.fixture
def shop(account) -> Shop:
    return Shop(account)


def test_a_subscription_is_paid_and_renews_on_its_day(shop):
    customer, price = shop.customer(), shop.price(2000)
    sub = shop.api.subscriptions.create(
        {"customer": customer, "items": [{"price": price, "quantity": 3}], "metadata": {"plan": "a"}}
    )
    assert (sub.status, sub.currency, sub.start_date, sub.metadata["plan"]) == ("active", "usd", NOW, "a")
    assert (sub.test_clock, sub.billing_mode.type) == (shop.clock, "flexible")
    assert misfits(sub) == misfits(sub["items"].data[0]) == []
    first = newest(shop, sub.id)
    assert (first.status, first.total, first.billing_reason) == ("paid", 6000, "subscription_create")
    assert first.test_clock == shop.clock
    shop.advance(NOW + 62 * DAY)
    bills = shop.api.invoices.list({"subscription": sub.id}).data
    assert [(each.billing_reason, each.total, each.status) for each in bills] == [
        ("subscription_cycle", 6000, "paid"),
        ("subscription_cycle", 6000, "paid"),
        ("subscription_create", 6000, "paid"),
    ]
    starts = [datetime.fromtimestamp(each.created, UTC).strftime("%m-%d %H:%M") for each in bills]
    assert starts == ["01-15 12:00", "12-15 12:00", "11-15 12:00"]
    assert [misfits(each) for each in bills] == [[], [], []]


def test_the_last_day_of_the_month_stays_the_last_day(account):
    shop = Shop(account, at=JAN_31)
    sub = shop.api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(100)}]})
    days = []
    for month in range(1, 5):
        shop.advance(JAN_31 + month * 31 * DAY)
        item = shop.api.subscriptions.retrieve(sub.id)["items"].data[0]
        days.append(datetime.fromtimestamp(item.current_period_start, UTC).strftime("%m-%d %H:%M"))
    assert days == ["02-28 09:30", "03-31 09:30", "04-30 09:30", "05-31 09:30"]


def test_until_a_later_anchor_the_first_period_is_a_part(shop):
    price = shop.price(3000)
    anchor = NOW + 10 * DAY + 77
    sub = shop.api.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": price}], "billing_cycle_anchor": anchor}
    )
    item = sub["items"].data[0]
    assert (item.current_period_start, item.current_period_end) == (NOW, anchor)
    month_before = int(datetime(2026, 10, 25, 12, 1, 17, tzinfo=UTC).timestamp())
    assert datetime.fromtimestamp(anchor, UTC).strftime("%m-%d %H:%M:%S") == "11-25 12:01:17"
    first = newest(shop, sub.id)
    assert lines(first) == [part(3000, month_before, NOW, anchor)]
    assert first.lines.data[0].parent.subscription_item_details.proration
    shop.advance(anchor + 2 * HOUR)
    assert newest(shop, sub.id).total == 3000
    free = shop.api.subscriptions.create(
        {
            "customer": shop.customer(), "items": [{"price": price}], "billing_cycle_anchor": shop.now + 5 * DAY,
            "proration_behavior": "none",
        }
    )  # fmt: skip
    assert (free.status, newest(shop, free.id).total) == ("active", 0)
    with pytest.raises(stripe.InvalidRequestError, match="next natural billing date"):
        shop.api.subscriptions.create(
            {"customer": shop.customer(), "items": [{"price": price}], "billing_cycle_anchor": shop.now + 40 * DAY}
        )


def test_a_trial_is_free_is_announced_and_becomes_paid(shop):
    sub = shop.api.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": shop.price(900)}], "trial_period_days": 10}
    )
    assert (sub.status, sub.trial_end, sub.billing_cycle_anchor) == ("trialing", NOW + 10 * DAY, NOW + 10 * DAY)
    assert newest(shop, sub.id).total == 0
    shop.advance(NOW + 8 * DAY)
    assert [each.type for each in shop.events("customer.subscription.trial")] == [
        "customer.subscription.trial_will_end"
    ]
    shop.advance(NOW + 10 * DAY + 2 * HOUR)
    assert shop.api.subscriptions.retrieve(sub.id).status == "active"
    assert (newest(shop, sub.id).total, newest(shop, sub.id).status) == (900, "paid")


@pytest.mark.parametrize(
    ("otherwise", "status"), [("cancel", "canceled"), ("pause", "paused"), ("create_invoice", "past_due")]
)
def test_a_trial_without_a_card_ends_as_it_was_told_to(shop, otherwise, status):
    sub = shop.api.subscriptions.create(
        {
            "customer": shop.customer(card=False), "items": [{"price": shop.price(900)}], "trial_period_days": 3,
            "trial_settings": {"end_behavior": {"missing_payment_method": otherwise}},
        }
    )  # fmt: skip
    shop.advance(NOW + 3 * DAY + 2 * HOUR)
    now = shop.api.subscriptions.retrieve(sub.id)
    assert (now.status, misfits(now)) == (status, [])


def test_what_is_not_paid_at_first_is_incomplete_and_expires(shop):
    api, price = shop.api, shop.price(500)
    with pytest.raises(stripe.InvalidRequestError, match="no attached payment source"):
        api.subscriptions.create({"customer": shop.customer(card=False), "items": [{"price": price}]})
    sub = api.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": price}], "payment_behavior": "default_incomplete"}
    )
    assert (sub.status, newest(shop, sub.id).status, newest(shop, sub.id).attempt_count) == ("incomplete", "open", 0)
    with pytest.raises(stripe.InvalidRequestError):
        api.subscriptions.update(sub.id, {"cancel_at_period_end": True})
    paid = api.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": price}], "payment_behavior": "default_incomplete"}
    )
    api.invoices.pay(newest(shop, paid.id).id)
    shop.advance(NOW + 23 * HOUR)
    assert api.subscriptions.retrieve(sub.id).status == "incomplete_expired"
    assert newest(shop, sub.id).status == "void"
    assert api.subscriptions.retrieve(paid.id).status == "active"


def test_a_change_of_quantity_is_prorated_to_the_second_on_any_item(shop):
    api = shop.api
    small, large = shop.price(1000), shop.price(7000)
    sub = api.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": small}, {"price": large, "quantity": 2}]}
    )
    item = sub["items"].data[1]
    at = NOW + 11 * DAY + 3601
    shop.advance(at)
    changed = api.subscriptions.update(sub.id, {"items": [{"id": item.id, "quantity": 5}]})
    assert changed["items"].data[1].quantity == 5
    start, end = item.current_period_start, item.current_period_end
    pending = api.invoice_items.list({"customer": sub.customer, "pending": True}).data
    assert sorted(each.amount for each in pending) == [-part(14000, start, at, end), part(35000, start, at, end)]
    assert [misfits(each) for each in pending] == [[], []]
    shop.advance(end + 2 * HOUR)
    due = newest(shop, sub.id)
    assert sorted(lines(due)) == sorted([1000, 35000, -part(14000, start, at, end), part(35000, start, at, end)])
    assert (due.status, due.total) == ("paid", sum(lines(due)))
    back = next(line for line in due.lines.data if line.amount < 0)
    credited = back.parent.subscription_item_details.proration_details.credited_items
    assert back.parent.subscription_item_details.invoice_item in {each.id for each in pending}
    first = api.invoices.retrieve(credited.invoice)
    assert [line.amount for line in first.lines.data if line.id in credited.invoice_line_items] == [14000]
    assert misfits(due) == []


def test_prorations_are_of_the_discounted_amount(shop):
    api = shop.api
    coupon = api.coupons.create({"percent_off": 30, "duration": "forever"}).id
    sub = api.subscriptions.create(
        {
            "customer": shop.customer(), "items": [{"price": shop.price(2000)}, {"price": shop.price(999)}],
            "discounts": [{"coupon": coupon}],
        }
    )  # fmt: skip
    item = sub["items"].data[1]
    at = NOW + 5 * DAY + 13
    shop.advance(at)
    bill = api.subscriptions.update(
        sub.id, {"items": [{"id": item.id, "quantity": 3}], "proration_behavior": "always_invoice"}
    ).latest_invoice
    start, end = item.current_period_start, item.current_period_end
    invoice = api.invoices.retrieve(bill)
    # 30 % of 999 are 300 (299.7), of 2997 are 899 (899.1)
    assert sorted(lines(invoice)) == [-part(999 - 300, start, at, end), part(2997 - 899, start, at, end)]
    assert (invoice.billing_reason, invoice.status) == ("subscription_update", "paid")
    assert invoice.total_discount_amounts == []


def test_a_coupon_that_worked_once_is_not_given_back_in_full(shop):
    api = shop.api
    coupon = api.coupons.create({"percent_off": 50, "duration": "once"}).id
    sub = api.subscriptions.create(
        {"customer": shop.customer(), "items": [{"price": shop.price(3000)}], "discounts": [{"coupon": coupon}]}
    )
    assert newest(shop, sub.id).total == 1500
    item = sub["items"].data[0]
    shop.advance(NOW + 6 * DAY)
    api.subscriptions.update(sub.id, {"items": [{"id": item.id, "price": shop.price(1000)}]})
    pending = api.invoice_items.list({"customer": sub.customer, "pending": True}).data
    start, end = item.current_period_start, item.current_period_end
    assert sorted(each.amount for each in pending) == [
        -part(1500, start, shop.now, end),
        part(1000, start, shop.now, end),
    ]


def test_two_changes_in_one_period_give_back_what_the_first_one_cost(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(1000)}]})
    item = sub["items"].data[0]
    start, end = item.current_period_start, item.current_period_end
    first, second = NOW + 3 * DAY + 1, NOW + 9 * DAY + 2
    shop.advance(first)
    api.subscriptions.update(sub.id, {"items": [{"id": item.id, "quantity": 10}]})
    shop.advance(second)
    api.subscriptions.update(sub.id, {"items": [{"id": item.id, "quantity": 1}]})
    debit = part(10_000, start, first, end)
    pending = [each.amount for each in api.invoice_items.list({"customer": sub.customer}).data]
    assert sorted(pending) == sorted(
        [-part(1000, start, first, end), debit, -part(debit, first, second, end), part(1000, start, second, end)]
    )


def test_without_prorations_only_the_next_period_costs_more(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(1000)}]})
    shop.advance(NOW + 3 * DAY)
    api.subscriptions.update(
        sub.id, {"items": [{"id": sub["items"].data[0].id, "quantity": 4}], "proration_behavior": "none"}
    )
    assert api.invoice_items.list({"customer": sub.customer}).data == []
    shop.advance(sub["items"].data[0].current_period_end + 2 * HOUR)
    assert newest(shop, sub.id).total == 4000


def test_another_interval_begins_a_new_cycle_and_is_billed_at_once(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000)}]})
    item = sub["items"].data[0]
    at = NOW + 7 * DAY + 5
    shop.advance(at)
    yearly = api.subscriptions.update(sub.id, {"items": [{"id": item.id, "price": shop.price(30000, "year")}]})
    assert yearly.billing_cycle_anchor == at
    assert datetime.fromtimestamp(yearly["items"].data[0].current_period_end, UTC).year == 2027
    bill = api.invoices.retrieve(yearly.latest_invoice)
    back = -part(3000, item.current_period_start, at, item.current_period_end)
    assert sorted(lines(bill)) == [back, 30000]
    assert (bill.status, bill.total) == ("paid", 30000 + back)


def test_items_come_and_go(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(1000)}]})
    start, end = sub["items"].data[0].current_period_start, sub["items"].data[0].current_period_end
    shop.advance(NOW + 10 * DAY)
    added = api.subscription_items.create({"subscription": sub.id, "price": shop.price(600), "quantity": 2})
    assert (added.current_period_start, added.current_period_end, misfits(added)) == (shop.now, end, [])
    shop.advance(NOW + 20 * DAY)
    gone = api.subscription_items.delete(added.id)
    assert misfits(gone) == []
    debit = part(1200, start, NOW + 10 * DAY, end)
    pending = [each.amount for each in api.invoice_items.list({"customer": sub.customer}).data]
    assert pending == [-part(debit, NOW + 10 * DAY, NOW + 20 * DAY, end), debit]
    with pytest.raises(stripe.InvalidRequestError, match="at least one"):
        api.subscriptions.update(sub.id, {"items": [{"id": sub["items"].data[0].id, "deleted": True}]})
    events = [each for each in shop.events("customer.subscription.updated") if "items" in each.data.previous_attributes]
    assert [len(each.data.previous_attributes["items"].data) for each in events] == [1, 2]


def test_a_cycle_can_be_begun_anew(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000)}]})
    item = sub["items"].data[0]
    shop.advance(NOW + 12 * DAY)
    anew = api.subscriptions.update(sub.id, {"billing_cycle_anchor": {"type": "now"}})
    assert (anew.billing_cycle_anchor, anew["items"].data[0].current_period_start) == (shop.now, shop.now)
    back = -part(3000, item.current_period_start, shop.now, item.current_period_end)
    assert sorted(lines(newest(shop, sub.id))) == [back, 3000]


def test_a_subscription_ends_at_the_end_of_its_period_unless_its_customer_stays(shop):
    api = shop.api
    leaving, staying = (
        api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(800)}]}).id
        for _ in range(2)
    )
    shop.advance(NOW + DAY)
    for each in (leaving, staying):
        set_to_end = api.subscriptions.update(
            each, {"cancel_at_period_end": True, "cancellation_details": {"feedback": "unused"}}
        )
        assert set_to_end.cancel_at == set_to_end["items"].data[0].current_period_end
        assert (set_to_end.canceled_at, set_to_end.cancellation_details.feedback) == (shop.now, "unused")
    stays = api.subscriptions.update(staying, {"cancel_at_period_end": False})
    assert (stays.cancel_at, stays.canceled_at) == (None, None)
    shop.advance(NOW + 31 * DAY)
    assert api.subscriptions.retrieve(leaving).status == "canceled"
    assert api.subscriptions.retrieve(staying).status == "active"
    assert len(api.invoices.list({"subscription": leaving}).data) == 1
    customer = api.subscriptions.retrieve(leaving).customer
    assert api.invoice_items.list({"customer": customer, "pending": True}).data == []


def test_a_subscription_that_ends_at_a_date_pays_until_that_date(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000)}]})
    end = sub["items"].data[0].current_period_end
    last = end + 10 * DAY + 30
    api.subscriptions.update(sub.id, {"cancel_at": last})
    shop.advance(end + 2 * HOUR)
    bill = newest(shop, sub.id)
    following = int(datetime(2027, 1, 15, 12, tzinfo=UTC).timestamp())
    assert lines(bill) == [3000 - part(3000, end, last, following)]
    assert bill.lines.data[0].period.end == last
    api.subscriptions.update(sub.id, {"cancel_at": ""})
    pending = api.invoice_items.list({"customer": sub.customer, "pending": True}).data
    assert [each.amount for each in pending] == [part(3000, end, last, following)]
    api.subscriptions.update(sub.id, {"cancel_at": last, "proration_behavior": "none"})
    shop.advance(last)
    ended = api.subscriptions.retrieve(sub.id)
    assert (ended.status, ended.ended_at, ended.cancel_at) == ("canceled", last, last)


def test_a_cancellation_can_give_back_and_bill_at_once(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000)}]})
    item = sub["items"].data[0]
    shop.advance(NOW + 4 * DAY)
    gone = api.subscriptions.cancel(sub.id, {"prorate": True, "invoice_now": True})
    back = -part(3000, item.current_period_start, shop.now, item.current_period_end)
    assert (gone.status, misfits(gone)) == ("canceled", [])
    bill = api.invoices.retrieve(gone.latest_invoice)
    assert (bill.total, bill.status) == (back, "paid")
    assert api.customers.retrieve(gone.customer).balance == back
    with pytest.raises(stripe.InvalidRequestError):
        api.subscriptions.cancel(sub.id)


@pytest.mark.parametrize(
    ("behavior", "status"), [("keep_as_draft", "draft"), ("void", "void"), ("mark_uncollectible", "uncollectible")]
)
def test_while_collection_is_paused_invoices_are_made_but_not_collected(shop, behavior, status):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000)}]})
    end = sub["items"].data[0].current_period_end
    paused = api.subscriptions.update(sub.id, {"pause_collection": {"behavior": behavior, "resumes_at": end + 5 * DAY}})
    assert (paused.status, paused.pause_collection.behavior, misfits(paused)) == ("active", behavior, [])
    shop.advance(end + 2 * DAY)
    assert (newest(shop, sub.id).status, misfits(newest(shop, sub.id))) == (status, [])
    shop.advance(end + 33 * DAY)
    assert api.subscriptions.retrieve(sub.id).pause_collection is None
    assert newest(shop, sub.id).status == "paid"


def test_a_paused_subscription_bills_nothing_until_it_is_resumed(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000)}]})
    item = sub["items"].data[0]
    shop.advance(NOW + 10 * DAY)
    paused = api.subscriptions.pause(sub.id, {})
    assert (paused.status, paused.status_details.paused.subscription.type) == ("paused", "pause_requested")
    assert misfits(paused) == []
    shop.advance(NOW + 45 * DAY)
    assert len(api.invoices.list({"subscription": sub.id}).data) == 1
    with pytest.raises(stripe.InvalidRequestError, match="resumed"):
        api.subscriptions.update(sub.id, {"trial_end": NOW + 60 * DAY})
    again = api.subscriptions.resume(sub.id)
    assert (again.status, again.billing_cycle_anchor, misfits(again)) == ("active", shop.now, [])
    back = -part(3000, item.current_period_start, NOW + 10 * DAY, item.current_period_end)
    assert sorted(lines(newest(shop, sub.id))) == [back, 3000]
    types = [each.type for each in shop.events("customer.subscription.paused", "customer.subscription.resumed")]
    assert types == ["customer.subscription.paused", "customer.subscription.resumed"]


def test_a_trial_can_be_added_made_longer_and_ended(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(3000)}]})
    item = sub["items"].data[0]
    shop.advance(NOW + 10 * DAY)
    trial = api.subscriptions.update(sub.id, {"trial_end": NOW + 20 * DAY})
    assert (trial.status, trial.trial_start, trial.trial_end) == ("trialing", shop.now, NOW + 20 * DAY)
    back = -part(3000, item.current_period_start, shop.now, item.current_period_end)
    longer = api.subscriptions.update(sub.id, {"trial_end": NOW + 25 * DAY})
    assert longer["items"].data[0].current_period_end == longer.billing_cycle_anchor == NOW + 25 * DAY
    shop.advance(NOW + 22 * DAY)
    over = api.subscriptions.update(sub.id, {"trial_end": "now"})
    assert (over.status, over.trial_end, over.billing_cycle_anchor) == ("active", shop.now, shop.now)
    assert sorted(lines(newest(shop, sub.id))) == [back, 3000]


def test_bills_that_are_sent_wait_for_their_date(shop):
    api = shop.api
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.subscriptions.create(
            {"customer": shop.customer(), "items": [{"price": shop.price(1)}], "collection_method": "send_invoice"}
        )
    assert refused.value.param == "days_until_due"
    sub = api.subscriptions.create(
        {
            "customer": shop.customer(card=False), "items": [{"price": shop.price(3000)}], "days_until_due": 7,
            "collection_method": "send_invoice",
        }
    )  # fmt: skip
    assert (sub.status, newest(shop, sub.id).status) == ("active", "draft")
    shop.advance(NOW + 2 * HOUR)
    assert newest(shop, sub.id).status == "open"
    shop.advance(NOW + 8 * DAY)
    assert api.subscriptions.retrieve(sub.id).status == "past_due"


def test_one_time_things_come_with_the_first_invoice(shop):
    api = shop.api
    weekly: Any = {"currency": "usd", "product": shop.product, "unit_amount": 700, "recurring": {"interval": "week"}}
    once: Any = {"currency": "usd", "product": shop.product, "unit_amount": 250}
    sub = api.subscriptions.create(
        {
            "customer": shop.customer(), "items": [{"price_data": weekly}],
            "add_invoice_items": [{"price_data": once, "quantity": 2}],
        }
    )  # fmt: skip
    bill = newest(shop, sub.id)
    assert (sorted(lines(bill)), bill.status, sub.status) == ([500, 700], "paid", "active")
    assert not api.prices.retrieve(sub["items"].data[0].price.id).active


def test_what_does_not_fit_is_refused_with_its_parameter(shop):
    api, customer, price = shop.api, shop.customer(), shop.price(100)
    sub = api.subscriptions.create({"customer": customer, "items": [{"price": price}]})
    once = api.prices.create({"currency": "usd", "product": shop.product, "unit_amount": 5}).id
    for params, param in (
        ({"items": [{"price": once}]}, "items[0][price]"),
        ({"items": [{"price": shop.price(5, currency="eur")}]}, None),
        ({"items": []}, "items"),
        ({"items": [{"price": price}, {"price": price}]}, "items"),
        ({"items": [{"price": price}], "trial_end": NOW - 1}, "trial_end"),
        ({"items": [{"price": price}], "cancel_at": NOW - 1}, "cancel_at"),
        ({"items": [{"price": price}], "backdate_start_date": NOW - DAY}, "backdate_start_date"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            api.subscriptions.create({"customer": customer, **params})
        assert refused.value.param == param, params
    for params, param in (
        ({"items": [{"id": "si_nothing", "quantity": 2}]}, "items[0][id]"),
        ({"proration_date": NOW - 1}, "proration_date"),
        ({"items": [{"id": sub["items"].data[0].id, "price": shop.price(5, currency="eur")}]}, "items[0][price]"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            api.subscriptions.update(sub.id, params)
        assert refused.value.param == param, params


def test_numbers_beyond_all_measure_are_refused(shop):
    api, customer, price = shop.api, shop.customer(), shop.price(100)
    huge = 10**17
    for params, param in (
        ({"items": [{"price": price, "quantity": huge}]}, "items[0][quantity]"),
        ({"items": [{"price": price}], "trial_end": huge}, "trial_end"),
        ({"items": [{"price": price}], "cancel_at": huge}, "cancel_at"),
        ({"items": [{"price": price}], "billing_cycle_anchor": huge}, "billing_cycle_anchor"),
        (
            {"items": [{"price": price}], "days_until_due": huge, "collection_method": "send_invoice"},
            "days_until_due",
        ),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            api.subscriptions.create({"customer": customer, **params})
        assert refused.value.param == param
    long: Any = {"items": [{"price": price}], "duration": {"interval": "year", "interval_count": huge}}
    for params in ({"start_date": huge, "phases": [{"items": [{"price": price}]}]}, {"phases": [long]}):
        with pytest.raises(stripe.InvalidRequestError):
            api.subscription_schedules.create({"customer": customer, **params})
    with pytest.raises(stripe.InvalidRequestError):
        api.test_helpers.test_clocks.create({"frozen_time": huge})


def test_what_paid_first_can_become_the_default(shop):
    api = shop.api
    customer = shop.customer(card=False)
    sub = api.subscriptions.create(
        {
            "customer": customer, "items": [{"price": shop.price(500)}], "payment_behavior": "default_incomplete",
            "payment_settings": {"save_default_payment_method": "on_subscription"},
        }
    )  # fmt: skip
    card = api.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    api.invoices.pay(newest(shop, sub.id).id, {"payment_method": card})
    paid = api.subscriptions.retrieve(sub.id)
    assert (paid.status, paid.default_payment_method) == ("active", card)
    shop.advance(NOW + 31 * DAY)
    assert newest(shop, sub.id).status == "paid"


def test_the_secret_of_a_first_payment_can_be_expanded_and_confirmed(shop):
    api = shop.api
    customer = shop.customer(card=False)
    sub = api.subscriptions.create(
        {
            "customer": customer, "items": [{"price": shop.price(500)}], "payment_behavior": "default_incomplete",
            "expand": ["latest_invoice.confirmation_secret", "latest_invoice.payments"],
        }
    )  # fmt: skip
    secret = sub.latest_invoice.confirmation_secret.client_secret
    intent = sub.latest_invoice.payments.data[0].payment.payment_intent
    assert secret.startswith(f"{intent}_secret_")
    card = api.payment_methods.attach("pm_card_visa", {"customer": customer}).id
    assert api.payment_intents.confirm(intent, {"payment_method": card}).status == "succeeded"
    assert api.subscriptions.retrieve(sub.id).status == "active"
