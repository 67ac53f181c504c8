from __future__ import annotations

import pytest
import stripe
from billing_cases import DAY, NOW, Shop, misfits


def test_a_clock_is_made_moved_and_removed(account):
    api = account.client().v1
    clocks = api.test_helpers.test_clocks
    made = clocks.create({"frozen_time": 1_700_000_000, "name": "Winter"})
    assert (made.frozen_time, made.name, made.status, made.created) == (1_700_000_000, "Winter", "ready", NOW)
    moving = clocks.advance(made.id, {"frozen_time": 1_700_000_000 + 30 * DAY})
    assert moving.status == "advancing"
    assert moving.status_details.advancing.target_frozen_time == 1_700_000_000 + 30 * DAY
    ready = clocks.retrieve(made.id)
    assert (ready.status, ready.frozen_time) == ("ready", 1_700_000_000 + 30 * DAY)
    assert [each.id for each in clocks.list().data] == [made.id]
    gone = clocks.delete(made.id)
    assert misfits(made) == misfits(moving) == misfits(ready) == misfits(gone) == []
    assert clocks.list().data == []
    types = [each.type.rpartition(".")[2] for each in api.events.list().data]
    assert types[::-1] == ["created", "advancing", "ready", "deleted"]


def test_a_clock_only_goes_forward_and_not_too_far(account):
    clocks = account.client().v1.test_helpers.test_clocks
    made = clocks.create({"frozen_time": NOW})
    for wrong in (NOW, NOW - 1, NOW + 3 * 366 * DAY):
        with pytest.raises(stripe.InvalidRequestError) as refused:
            clocks.advance(made.id, {"frozen_time": wrong})
        assert refused.value.param == "frozen_time"
    clocks.advance(made.id, {"frozen_time": NOW + 730 * DAY})


def test_customers_on_a_clock_are_made_in_its_time_and_hidden_from_the_list(account):
    shop = Shop(account, at=NOW - 400 * DAY)
    mine, other = shop.customer(card=False), shop.api.customers.create({"name": "Ben"})
    assert shop.api.customers.retrieve(mine).created == NOW - 400 * DAY
    assert misfits(shop.api.customers.retrieve(mine)) == []
    assert [each.id for each in shop.api.customers.list().data] == [other.id]
    assert [each.id for each in shop.api.customers.list({"test_clock": shop.clock}).data] == [mine]


def test_a_customer_without_billing_can_be_put_on_a_clock(account):
    api = account.client().v1
    customer = api.customers.create({"name": "Ada"})
    clock = api.test_helpers.test_clocks.create({"frozen_time": NOW + 5, "customer": customer.id})
    assert api.customers.retrieve(customer.id).test_clock == clock.id
    with pytest.raises(stripe.InvalidRequestError) as refused:
        api.test_helpers.test_clocks.create({"frozen_time": NOW, "customer": customer.id})
    assert refused.value.param == "customer"


def test_a_clock_takes_its_customers_along_when_it_goes(account):
    shop = Shop(account)
    customer = shop.customer(card=False)
    shop.api.test_helpers.test_clocks.delete(shop.clock)
    assert shop.api.customers.retrieve(customer).deleted
    with pytest.raises(stripe.InvalidRequestError):
        shop.api.customers.create({"test_clock": shop.clock})


def test_what_lived_on_a_clock_stays_out_of_the_lists_when_the_clock_is_gone(account):
    shop = Shop(account)
    customer = shop.customer()
    sub = shop.api.subscriptions.create({"customer": customer, "items": [{"price": shop.price(500)}]})
    shop.api.test_helpers.test_clocks.delete(shop.clock)
    assert shop.api.subscriptions.retrieve(sub.id).status == "canceled"
    assert shop.api.subscriptions.list({"status": "all"}).data == []
    assert shop.api.invoices.list().data == shop.api.charges.list().data == []
    assert len(shop.api.invoices.list({"customer": customer}).data) == 1


def test_a_forgotten_clock_goes_after_thirty_days(account):
    shop = Shop(account)
    account.control("advance", {"seconds": 30 * DAY - 1})
    assert len(shop.api.test_helpers.test_clocks.list().data) == 1
    account.control("advance", {"seconds": 2})
    assert shop.api.test_helpers.test_clocks.list().data == []
