"""Prices as callers make them, and what they cost: every amount is worked out by hand."""

from __future__ import annotations

import pytest
import stripe

from dagster_project.simulator.engine.pricing import amount_of
from tests.unit.simulator.billing_cases import misfits

TIERS = [{"up_to": 5, "unit_amount": 700}, {"up_to": 10, "unit_amount": 650, "flat_amount": 100},
         {"up_to": "inf", "unit_amount_decimal": "0.25"}]  # fmt: skip


def price(account, **fields):
    client = account.client()
    product = client.v1.products.create({"name": "Thing"})
    return client.v1.prices.create({"currency": "usd", "product": product.id, **fields})


def cost(account, made, quantity, currency=None):
    return amount_of(account.world, account.world.the(made.id, "price"), quantity, currency)


@pytest.mark.parametrize(
    ("mode", "quantity", "amount"),
    [
        ("graduated", 0, 0), ("graduated", 1, 700), ("graduated", 5, 3500), ("graduated", 6, 3500 + 100 + 650),
        ("graduated", 10, 3500 + 100 + 3250), ("graduated", 13, 6850 + 1), ("graduated", 12, 6850 + 1),
        ("volume", 0, 0), ("volume", 5, 3500), ("volume", 6, 3900 + 100), ("volume", 10, 6600), ("volume", 11, 3),
    ],
)  # fmt: skip
def test_tiers_count_each_unit_in_its_tier_or_all_in_the_one_they_reach(account, mode, quantity, amount):
    made = price(account, billing_scheme="tiered", tiers_mode=mode, tiers=TIERS, recurring={"interval": "month"})
    assert cost(account, made, quantity) == amount


def test_the_flat_fee_of_the_first_tier_is_due_without_usage(account):
    tiers = [{"up_to": 10, "flat_amount": 900}, {"up_to": "inf", "unit_amount": 50}]
    for mode in ("graduated", "volume"):
        made = price(account, billing_scheme="tiered", tiers_mode=mode, tiers=tiers)
        assert cost(account, made, 0) == cost(account, made, 10) == 900
    assert cost(account, made, 11) == 550  # volume: all units at the second tier


def test_an_amount_finer_than_a_cent_is_rounded_once_at_the_end(account):
    made = price(account, unit_amount_decimal="0.015")
    assert (made.unit_amount, str(made.unit_amount_decimal)) == (None, "0.015")
    assert [cost(account, made, units) for units in (1, 33, 34, 100, 1_000_001)] == [0, 0, 1, 2, 15_000]
    whole = price(account, unit_amount_decimal="12.0")
    assert (whole.unit_amount, str(whole.unit_amount_decimal)) == (12, "12")


def test_a_package_is_begun_or_full(account):
    for rounding, amounts in (("up", [0, 300, 300, 600]), ("down", [0, 0, 300, 300])):
        made = price(account, unit_amount=300, transform_quantity={"divide_by": 100, "round": rounding})
        assert [cost(account, made, units) for units in (0, 99, 100, 101)] == amounts


def test_a_price_costs_something_else_in_another_currency(account):
    made = price(
        account, unit_amount=1000,
        currency_options={"eur": {"unit_amount": 900}, "jpy": {"unit_amount_decimal": "1500"}},
    )  # fmt: skip
    assert [cost(account, made, 3, currency) for currency in ("usd", "eur", "jpy")] == [3000, 2700, 4500]
    with pytest.raises(ValueError, match="gbp"):
        cost(account, made, 1, "gbp")
    client = account.client()
    client.v1.prices.update(made.id, {"currency_options": {"gbp": {"unit_amount": 800}}})
    assert cost(account, made, 2, "gbp") == 1600
    shown = client.v1.prices.retrieve(made.id, {"expand": ["currency_options"]})
    assert not misfits(shown)
    assert set(shown.currency_options.to_dict()) == {"usd", "eur", "jpy", "gbp"}


def test_tiers_are_shown_only_when_asked_for(account):
    made = price(account, billing_scheme="tiered", tiers_mode="volume", tiers=TIERS, recurring={"interval": "month"})
    client = account.client()
    assert "tiers" not in made and not misfits(made) and made.unit_amount is None
    asked = [client.v1.prices.retrieve(made.id, {"expand": ["tiers"]}),
             client.v1.prices.list({"expand": ["data.tiers"]}).data[0],
             client.v1.plans.retrieve(made.id, {"expand": ["tiers"]}),
             client.v1.plans.list({"expand": ["data.tiers"]}).data[0]]  # fmt: skip
    for shown in asked:
        assert [(tier.up_to, tier.unit_amount, tier.flat_amount) for tier in shown.tiers] == [
            (5, 700, None), (10, 650, 100), (None, None, None),
        ]  # fmt: skip
        assert not misfits(shown)
    plan = client.v1.plans.retrieve(made.id)
    assert "tiers" not in plan and not misfits(plan) and (plan.billing_scheme, plan.tiers_mode) == ("tiered", "volume")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "needs a unit_amount"),
        ({"unit_amount": 1, "unit_amount_decimal": "1.5"}, "only specify one"),
        ({"billing_scheme": "tiered"}, "needs tiers"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume", "tiers": [{"up_to": 5, "unit_amount": 1}]}, "inf"),
        ({"billing_scheme": "tiered", "tiers_mode": "volume",
          "tiers": [{"up_to": up_to, "unit_amount": 1} for up_to in (5, 5, "inf")]},
         "ascending"),
        ({"unit_amount": 5, "recurring": {"interval": "month", "usage_type": "metered"}}, "meter"),
        ({"unit_amount": 5, "recurring": {"interval": "year", "interval_count": 4}}, "three years"),
        ({"unit_amount": 5, "tiers_mode": "volume"}, "belong to"),
        ({"unit_amount": 10**12}, "no more than"),
        ({"unit_amount_decimal": "-1"}, "at least 0"),
    ],
)  # fmt: skip
def test_a_price_that_makes_no_sense_is_refused(account, fields, message):
    with pytest.raises(stripe.InvalidRequestError, match=message):
        price(account, **fields)
    assert account.client().v1.prices.list().data == []


def test_a_lookup_key_belongs_to_one_price_and_can_move(account):
    client = account.client()
    first = price(account, unit_amount=100, lookup_key="standard")
    with pytest.raises(stripe.InvalidRequestError, match="already uses that lookup key"):
        price(account, unit_amount=200, lookup_key="standard")
    second = price(account, unit_amount=200, lookup_key="standard", transfer_lookup_key=True)
    assert client.v1.prices.retrieve(first.id).lookup_key is None
    assert [each.id for each in client.v1.prices.list({"lookup_keys": ["standard"]}).data] == [second.id]


def test_a_product_comes_with_its_price_and_a_price_with_its_product(account):
    client = account.client()
    product = client.v1.products.create(
        {"name": "Box", "unit_label": "box", "default_price_data": {"currency": "eur", "unit_amount": 500,
         "recurring": {"interval": "week"}, "tax_behavior": "inclusive"}}
    )  # fmt: skip
    made = client.v1.prices.retrieve(product.default_price, {"expand": ["product"]})
    assert (made.unit_amount, made.recurring.interval, made.tax_behavior) == (500, "week", "inclusive")
    assert made.product.id == product.id and not misfits(product) and not misfits(made)
    other = client.v1.prices.create({"currency": "usd", "unit_amount": 1, "product_data": {"name": "Lid", "id": "lid"}})
    assert (other.product, client.v1.products.retrieve("lid").name) == ("lid", "Lid")


def test_a_plan_is_a_price_in_older_words(account):
    client = account.client()
    plan = client.v1.plans.create({"id": "gold", "currency": "usd", "interval": "year", "amount": 9900,
                                   "product": {"name": "Gold"}, "nickname": "Gold yearly"})  # fmt: skip
    made = client.v1.prices.retrieve("gold")
    assert not misfits(plan) and not misfits(made)
    assert (made.unit_amount, made.recurring.interval, made.product) == (9900, "year", plan.product)
    client.v1.plans.update("gold", {"nickname": "G", "trial_period_days": 7})
    assert client.v1.prices.retrieve("gold").nickname == "G"
    assert client.v1.prices.retrieve("gold").recurring.trial_period_days == 7
    types = [each.type for each in client.v1.events.list().data[::-1]]
    assert types == ["product.created", "price.created", "plan.created", "price.updated", "plan.updated",
                     "price.updated", "plan.updated"]  # fmt: skip


def test_a_coupon_says_for_which_products_and_how_often(account):
    client = account.client()
    product = client.v1.products.create({"name": "Thing"})
    coupon = client.v1.coupons.create(
        {"id": "HALF", "percent_off": 50, "duration": "repeating", "duration_in_months": 3, "max_redemptions": 2,
         "applies_to": {"products": [product.id]}, "redeem_by": account.store.now + 1000}
    )  # fmt: skip
    assert "applies_to" not in coupon and not misfits(coupon)
    shown = client.v1.coupons.retrieve("HALF", {"expand": ["applies_to"]})
    assert shown.applies_to.products == [product.id] and not misfits(shown)
    account.control("advance", {"seconds": 1001})
    assert client.v1.coupons.retrieve("HALF").valid is False
    assert client.v1.coupons.update("HALF", {"name": "Half", "metadata": {"a": "b"}}).name == "Half"


def test_a_promotion_code_is_unique_among_the_active_ones(account):
    client = account.client()
    coupon = client.v1.coupons.create({"percent_off": 10, "duration": "once"})
    asked = {"promotion": {"type": "coupon", "coupon": coupon.id}, "code": "SAVE10"}
    code = client.v1.promotion_codes.create(asked)
    assert not misfits(code) and code.promotion.coupon == coupon.id
    with pytest.raises(stripe.InvalidRequestError, match="already exists"):
        client.v1.promotion_codes.create({**asked, "code": "save10"})
    client.v1.promotion_codes.update(code.id, {"active": False})
    again = client.v1.promotion_codes.create(asked)
    with pytest.raises(stripe.InvalidRequestError, match="same code"):
        client.v1.promotion_codes.update(code.id, {"active": True})
    generated = client.v1.promotion_codes.create({"promotion": asked["promotion"]})
    assert generated.code != again.code and len(generated.code) == 8


def test_a_tax_rate_is_made_and_retired(account):
    client = account.client()
    rate = client.v1.tax_rates.create(
        {"display_name": "VAT", "inclusive": True, "percentage": 19.5, "country": "DE", "tax_type": "vat"}
    )
    assert not misfits(rate) and (rate.percentage, rate.effective_percentage, rate.inclusive) == (19.5, 19.5, True)
    assert client.v1.tax_rates.update(rate.id, {"active": False}).active is False
    assert client.v1.tax_rates.list({"active": True}).data == []
