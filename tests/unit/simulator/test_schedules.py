from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
import stripe
from billing_cases import DAY, HOUR, NOW, Shop, misfits

DEC_15, JAN_15, FEB_15, MAR_15 = (
    int(datetime(year, month, 15, 12, tzinfo=UTC).timestamp())
    for year, month in ((2026, 12), (2027, 1), (2027, 2), (2027, 3))
)


@pytest.fixture
def shop(account) -> Shop:
    return Shop(account)


def bills(shop: Shop, sub: str) -> list[Any]:
    """Oldest first."""
    return [each for each in shop.api.invoices.list({"subscription": sub, "limit": 100}).data][::-1]


def test_a_schedule_starts_later_and_leads_through_its_phases(shop):
    api = shop.api
    cheap, dear = shop.price(1000), shop.price(5000)
    coupon = api.coupons.create({"percent_off": 10, "duration": "forever"}).id
    made = api.subscription_schedules.create(
        {
            "customer": shop.customer(), "start_date": DEC_15, "metadata": {"deal": "7"},
            "phases": [
                {"items": [{"price": cheap, "quantity": 2}], "duration": {"interval": "month", "interval_count": 2}},
                {"items": [{"price": dear}], "discounts": [{"coupon": coupon}], "metadata": {"step": "2"}},
            ],
        }
    )  # fmt: skip
    assert (made.status, made.subscription, made.end_behavior) == ("not_started", None, "release")
    assert [(each.start_date, each.end_date) for each in made.phases] == [(DEC_15, FEB_15), (FEB_15, MAR_15)]
    assert misfits(made) == []
    assert [each.id for each in api.subscription_schedules.list({"customer": made.customer}).data] == [made.id]
    shop.advance(DEC_15)
    running = api.subscription_schedules.retrieve(made.id)
    assert (running.status, running.current_phase.end_date, misfits(running)) == ("active", FEB_15, [])
    sub = api.subscriptions.retrieve(running.subscription)
    assert (sub.status, sub.schedule, sub.start_date) == ("active", made.id, DEC_15)
    shop.advance(MAR_15 + 2 * HOUR)
    assert [each.total for each in bills(shop, sub.id)] == [2000, 2000, 4500, 4500]
    assert api.subscriptions.retrieve(sub.id).metadata["step"] == "2"
    over = api.subscription_schedules.retrieve(made.id)
    assert (over.status, over.released_subscription, over.subscription, misfits(over)) == (
        "released",
        sub.id,
        None,
        [],
    )
    assert api.subscriptions.retrieve(sub.id).schedule is None
    types = [each.type.rpartition(".")[2] for each in shop.events("subscription_schedule")]
    assert types == ["created", "updated", "updated", "expiring", "released"]
    assert api.invoice_items.list({"customer": sub.customer}).data == []


def test_a_phase_that_begins_within_a_period_is_prorated_as_it_says(shop):
    api = shop.api
    end = NOW + 10 * DAY
    made = api.subscription_schedules.create(
        {
            "customer": shop.customer(), "start_date": "now", "end_behavior": "cancel",
            "phases": [
                {"items": [{"price": shop.price(3000)}], "end_date": end},
                {"items": [{"price": shop.price(6000)}], "proration_behavior": "always_invoice", "end_date": DEC_15},
            ],
        }
    )  # fmt: skip
    shop.advance(end)
    change = bills(shop, made.subscription)[-1]
    assert (change.billing_reason, sorted(line.amount for line in change.lines.data)) == (
        "subscription_update",
        [-2000, 4000],
    )
    shop.advance(DEC_15)
    over = api.subscription_schedules.retrieve(made.id)
    assert (over.status, over.completed_at, misfits(over)) == ("completed", DEC_15, [])
    assert api.subscriptions.retrieve(made.subscription).status == "canceled"
    assert len(bills(shop, made.subscription)) == 2


def test_a_running_subscription_is_taken_over_and_changes_at_its_next_period(shop):
    api = shop.api
    sub = api.subscriptions.create({"customer": shop.customer(), "items": [{"price": shop.price(1000)}]})
    made = api.subscription_schedules.create({"from_subscription": sub.id})
    assert (made.status, made.phases[0].end_date, misfits(made)) == ("active", DEC_15, [])
    assert api.subscriptions.retrieve(sub.id).schedule == made.id
    first = made.phases[0]
    now: Any = {
        "items": [{"price": first["items"][0].price, "quantity": 1}], "start_date": first.start_date,
        "end_date": first.end_date,
    }  # fmt: skip
    api.subscription_schedules.update(
        made.id, {"phases": [now, {"items": [{"price": shop.price(400, "week"), "quantity": 2}]}]}
    )
    shop.advance(DEC_15 + 15 * DAY)
    assert [each.total for each in bills(shop, sub.id)] == [1000, 800, 800, 800]
    assert api.invoice_items.list({"customer": sub.customer}).data == []
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule|status"):
        api.subscription_schedules.release(made.id)


def test_a_trial_can_be_the_first_phase(shop):
    api = shop.api
    price = shop.price(1000)
    made = api.subscription_schedules.create(
        {
            "customer": shop.customer(), "start_date": "now",
            "phases": [
                {"items": [{"price": price}], "trial": True, "duration": {"interval": "week"}},
                {"items": [{"price": price}]},
            ],
        }
    )  # fmt: skip
    assert api.subscriptions.retrieve(made.subscription).status == "trialing"
    shop.advance(NOW + 7 * DAY + 2 * HOUR)
    assert api.subscriptions.retrieve(made.subscription).status == "active"
    assert [each.total for each in bills(shop, made.subscription)] == [0, 1000]


def test_a_schedule_is_released_or_canceled_on_request(shop):
    api, price = shop.api, shop.price(3100)
    one, two, three = (
        api.subscription_schedules.create(
            {"customer": shop.customer(), "start_date": start, "phases": [{"items": [{"price": price}]}]}
        )
        for start in ("now", "now", JAN_15)
    )
    with pytest.raises(stripe.InvalidRequestError, match="managed by the subscription schedule"):
        api.subscriptions.update(one.subscription, {"cancel_at_period_end": True})
    freed = api.subscription_schedules.release(one.id)
    assert (freed.status, freed.released_subscription) == ("released", one.subscription)
    assert api.subscriptions.retrieve(one.subscription).status == "active"
    shop.advance(NOW + 10 * DAY)
    ended = api.subscription_schedules.cancel(two.id)
    assert (ended.status, ended.canceled_at, misfits(ended)) == ("canceled", shop.now, [])
    assert api.subscriptions.retrieve(two.subscription).status == "canceled"
    assert bills(shop, two.subscription)[-1].total < 0
    api.subscription_schedules.cancel(three.id)
    shop.advance(JAN_15 + DAY)
    assert api.subscription_schedules.retrieve(three.id).subscription is None
    with pytest.raises(stripe.InvalidRequestError, match="canceled"):
        api.subscription_schedules.update(three.id, {"metadata": {"a": "b"}})


def test_a_schedule_goes_with_its_subscription(shop):
    api = shop.api
    made = api.subscription_schedules.create(
        {"customer": shop.customer(), "start_date": "now", "phases": [{"items": [{"price": shop.price(5)}]}]}
    )
    api.subscriptions.cancel(made.subscription)
    assert api.subscription_schedules.retrieve(made.id).status == "canceled"


def test_what_a_schedule_cannot_be_is_refused(shop):
    api, customer, price = shop.api, shop.customer(), shop.price(5)
    phase: Any = {"items": [{"price": price}]}
    for params, param in (
        ({"start_date": "now", "phases": [phase]}, "customer"),
        ({"customer": customer, "start_date": "now"}, "phases"),
        ({"customer": customer, "phases": [phase | {"end_date": NOW - 5}]}, "phases[0][end_date]"),
        ({"customer": customer, "phases": [phase | {"iterations": 2}]}, "phases[0][iterations]"),
        ({"customer": customer, "phases": [phase, phase | {"start_date": NOW}]}, "phases[1][start_date]"),
    ):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            api.subscription_schedules.create(params)
        assert refused.value.param == param
