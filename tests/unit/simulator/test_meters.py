"""Usage that is reported to meters, what summaries say about it, and that exactly it is billed."""

from __future__ import annotations

import random
from typing import Any

import pytest
import stripe

from dagster_project.simulator.engine.seed import seed
from dagster_project.simulator.engine.store import Store
from dagster_project.simulator.engine.world import World
from tests.unit.simulator.billing_cases import DAY, HOUR, NOW, Shop, misfits


def meter(account, formula: str = "sum", name: str = "calls") -> Any:
    return account.client().v1.billing.meters.create(
        {"display_name": "Calls", "event_name": name, "default_aggregation": {"formula": formula}}
    )


def use(account, customer: str, value: object, *, at: int | None = None, id: str | None = None, name: str = "calls"):
    given: Any = {"event_name": name, "payload": {"stripe_customer_id": customer, "value": str(value)}}
    given |= {} if at is None else {"timestamp": at}
    given |= {} if id is None else {"identifier": id}
    return account.client().v1.billing.meter_events.create(given)


def total(account, meter: str, customer: str, start: int, end: int) -> float:
    found = account.client().v1.billing.meters.event_summaries.list(
        meter, {"customer": customer, "start_time": start, "end_time": end}
    )
    assert len(found.data) == 1 and not misfits(found.data[0])
    return found.data[0].aggregated_value


def test_a_meter_is_made_and_shut_and_opened(account):
    client = account.client()
    made = meter(account)
    assert not misfits(made) and (made.status, made.customer_mapping.event_payload_key) == (
        "active",
        "stripe_customer_id",
    )
    with pytest.raises(stripe.InvalidRequestError, match="already an active meter"):
        meter(account)
    assert client.v1.billing.meters.update(made.id, {"display_name": "API"}).display_name == "API"
    shut = client.v1.billing.meters.deactivate(made.id)
    assert shut.status == "inactive" and shut.status_transitions.deactivated_at == NOW and not misfits(shut)
    customer = client.v1.customers.create({}).id
    with pytest.raises(stripe.InvalidRequestError, match="No active meter"):
        use(account, customer, 1)
    assert client.v1.billing.meters.reactivate(made.id).status == "active"
    told = [each.type for each in client.v1.events.list({"type": "billing.meter.*"}).data[::-1]]
    assert told == [f"billing.meter.{word}" for word in ("created", "updated", "deactivated", "reactivated")]


@pytest.mark.parametrize(("formula", "expected"), [("sum", 10.5), ("count", 4), ("last", 2.5)])
def test_events_are_added_up_as_the_meter_says(account, formula, expected):
    made = meter(account, formula)
    customer = account.client().v1.customers.create({}).id
    for back, value in ((50, 2.5), (400, 1), (300, 3), (200, 4)):
        event = use(account, customer, value, at=NOW - back)
        assert not misfits(event)
    assert total(account, made.id, customer, NOW - HOUR, NOW + 60) == expected
    assert total(account, made.id, customer, NOW - 2 * HOUR, NOW - HOUR) == 0


def test_an_identifier_counts_once_and_can_be_taken_back(account):
    client = account.client()
    made = meter(account)
    customer = client.v1.customers.create({}).id
    use(account, customer, 5, id="one")
    use(account, customer, 7, id="two")
    with pytest.raises(stripe.InvalidRequestError, match="already exists with identifier one") as refused:
        use(account, customer, 5, id="one")
    assert refused.value.http_status == 400
    back = client.v1.billing.meter_event_adjustments.create(
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "one"}}
    )
    assert (back.object, back.cancel.identifier, back.status) == ("billing.meter_event_adjustment", "one", "pending")
    assert total(account, made.id, customer, NOW - 60, NOW + 60) == 7
    with pytest.raises(stripe.InvalidRequestError):
        client.v1.billing.meter_event_adjustments.create(
            {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "none"}}
        )


def test_where_the_last_value_counts_the_one_before_it_comes_back(account):
    made = meter(account, "last")
    customer = account.client().v1.customers.create({}).id
    use(account, customer, 5, at=NOW - 100, id="one")
    use(account, customer, 7, at=NOW - 50, id="two")
    account.client().v1.billing.meter_event_adjustments.create(
        {"event_name": "calls", "type": "cancel", "cancel": {"identifier": "two"}}
    )
    assert total(account, made.id, customer, NOW - 120, NOW) == 5


def test_summaries_come_per_hour_or_day_newest_first(account):
    client = account.client()
    made = meter(account)
    customer = client.v1.customers.create({}).id
    dice, today = random.Random(7), NOW // DAY * DAY
    reported: dict[int, int] = {}
    for _ in range(60):
        at, value = today - dice.randint(1, 3 * DAY), dice.randint(1, 9)
        use(account, customer, value, at=at)
        reported[at] = reported.get(at, 0) + value
    for window, step in (("day", DAY), ("hour", HOUR)):
        expected: dict[int, int] = {}
        for at, value in reported.items():
            expected[at // step * step] = expected.get(at // step * step, 0) + value
        found = client.v1.billing.meters.event_summaries.list(
            made.id,
            {"customer": customer, "start_time": today - 3 * DAY, "end_time": today, "value_grouping_window": window,
             "limit": 7},
        )  # fmt: skip
        rows = [*found.auto_paging_iter()]
        assert [(row.start_time, row.end_time, row.aggregated_value) for row in rows] == [
            (at, at + step, expected[at]) for at in sorted(expected, reverse=True)
        ]
        assert not any(misfits(row) for row in rows)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"start_time": NOW + 1}, "minute boundaries"),
        ({"value_grouping_window": "hour", "start_time": NOW - 60}, "hour boundaries"),
        ({"value_grouping_window": "week"}, "must be one of"),
        ({"end_time": NOW - HOUR}, "after start_time"),
        ({"customer": "cus_none"}, "No such customer"),
    ],
)
def test_summaries_of_odd_times_are_refused(account, fields, message):
    made = meter(account)
    customer = account.client().v1.customers.create({}).id
    given = {"customer": customer, "start_time": NOW - HOUR, "end_time": NOW + HOUR, **fields}
    with pytest.raises(stripe.InvalidRequestError, match=message):
        account.client().v1.billing.meters.event_summaries.list(made.id, given)


@pytest.mark.parametrize(
    ("back", "value", "customer", "message"),
    [
        (36 * DAY, 1, None, "35 calendar days"), (-HOUR, 1, None, "5 minutes"), (0, "many", None, "hold a number"),
        (0, 1, "cus_none", "No such customer"),
    ],
)  # fmt: skip
def test_usage_that_cannot_be_is_refused(account, back, value, customer, message):
    meter(account)
    known = account.client().v1.customers.create({}).id
    with pytest.raises(stripe.InvalidRequestError, match=message):
        use(account, customer or known, value, at=NOW - back)


def test_the_renewal_bills_the_usage_of_the_period_that_ended(account):
    shop = Shop(account)
    made = meter(account)
    tiers = [{"up_to": 100, "unit_amount": 10}, {"up_to": "inf", "unit_amount_decimal": "2.5", "flat_amount": 500}]
    price = shop.api.prices.create(
        {"currency": "usd", "product": shop.product, "billing_scheme": "tiered", "tiers_mode": "graduated",
         "tiers": tiers, "recurring": {"interval": "month", "usage_type": "metered", "meter": made.id}}
    )  # fmt: skip
    customer, other = shop.customer(), shop.customer()
    sub = shop.api.subscriptions.create({"customer": customer, "items": [{"price": price.id}]})
    first = shop.api.invoices.retrieve(sub.latest_invoice)
    assert first.total == 0
    period = sub["items"].data[0]
    for days, value in ((1, 60), (10, 71), (20, 2)):
        shop.advance(NOW + days * DAY)
        use(account, customer, value)
        use(account, other, 1000)
    shop.advance(period.current_period_end + 2 * HOUR)
    use(account, customer, 5)
    bill = shop.api.invoices.list({"customer": customer}).data[0]
    line = bill.lines.data[0]
    assert (line.quantity, line.amount) == (133, 100 * 10 + 500 + 83)  # 33 x 2.5 = 82.5
    assert (line.period.start, line.period.end) == (period.current_period_start, period.current_period_end)
    assert (bill.status, bill.amount_paid) == ("paid", 1583) and not misfits(bill)
    assert total(account, made.id, customer, line.period.start, line.period.end) == 133


def test_a_business_that_is_paid_by_use_bills_exactly_what_its_meters_counted(start, tmp_path):
    path = tmp_path / "usage.sqlite"
    store = Store(path)
    seed(World(store), seed=7, customers=12, months=3, scenario="usage", progress=lambda line: None)
    store.close()
    business = start(path)
    store = business.store
    customers = {sub["id"]: sub["customer"] for sub in store.all("subscription")}
    meters = {price["id"]: price["recurring"]["meter"] for price in store.all("price") if price["recurring"]}
    billed = 0
    for line in store.all("line_item"):
        details = line["parent"]["subscription_item_details"]
        counted = meters.get(line["pricing"]["price_details"]["price"])
        if not details or not counted or line["description"].startswith("Trial"):
            continue
        start_time, end_time = (line["period"][edge] // 60 * 60 for edge in ("start", "end"))
        used = total(business, counted, customers[details["subscription"]], start_time, end_time)
        assert used == line["quantity"] > 0
        billed += 1
    assert billed > 5
